package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// A wire is one HTTP/1.1 connection. It reads what this program's two ends send each
// other through a gateway, and little else: net/http would cost more CPU than most of
// what is measured.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, r: bufio.NewReaderSize(c, 64<<10)} }

// A message is what was read of a request or a response.
type message struct {
	get    bool // a request with GET
	status int  // of a response
	length int  // of the body, which is discarded
	close  bool // no message follows
}

// read reads one message with its body.
func (w *wire) read() (m message, err error) {
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return m, err
	}
	m.get = bytes.HasPrefix(line, []byte("GET "))
	if version, rest, _ := bytes.Cut(line, []byte(" ")); bytes.Equal(version, []byte("HTTP/1.1")) && len(rest) > 3 {
		if m.status, err = strconv.Atoi(string(rest[:3])); err != nil {
			return m, fmt.Errorf("the status line %q: %w", line, err)
		}
	}
	for {
		if line, err = w.r.ReadSlice('\n'); err != nil {
			return m, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "Content-Length"):
			if m.length, err = strconv.Atoi(string(value)); err != nil {
				return m, fmt.Errorf("the line %q: %w", line, err)
			}
		case is(name, "Connection"):
			m.close = is(value, "close")
		case is(name, "Transfer-Encoding"):
			return m, fmt.Errorf("%s: only bodies of a known length are read", line)
		}
	}
	_, err = w.r.Discard(m.length)
	return m, err
}

func is(text []byte, want string) bool {
	return len(text) == len(want) && bytes.EqualFold(text, []byte(want))
}
