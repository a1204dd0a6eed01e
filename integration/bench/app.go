package main

import (
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
)

// answered is what the app says to a delivery: few candidates have a body of this
// length of their own.
const answered = "taken"

// runApp is the app behind every gateway, as a process of its own. It accepts whatever
// it gets, and tells how many it got to whoever asks with GET.
func runApp(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	var taken atomic.Int64
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serveApp(newWire(c), &taken)
	}
}

func serveApp(w *wire, taken *atomic.Int64) {
	defer w.Close()
	to := []byte("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(answered)) + "\r\n\r\n" + answered)
	for {
		m, err := w.read()
		if err != nil {
			return // the gateway has closed it
		}
		if m.get {
			count := strconv.FormatInt(taken.Load(), 10)
			_, err = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(count), count)
		} else {
			taken.Add(1)
			_, err = w.Write(to)
		}
		if err != nil {
			return
		}
	}
}
