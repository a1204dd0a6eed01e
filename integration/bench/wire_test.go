package main

import (
	"net"
	"strings"
	"testing"
)

func TestWireReadsAMessage(t *testing.T) {
	for text, want := range map[string]message{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken":                 {status: 200, length: 5},
		"HTTP/1.1 401 Unauthorized\r\nconnection: Close\r\n\r\n":            {status: 401, close: true},
		"GET /count HTTP/1.1\r\nHost: x\r\n\r\n":                            {get: true},
		"POST /hooks/shop HTTP/1.1\r\ncontent-length: 3\r\nA: b\r\n\r\nabc": {length: 3},
	} {
		m, err := wireOf(t, text).read()
		if err != nil || m != want {
			t.Errorf("%q: %+v, %v; want %+v", text, m, err, want)
		}
	}
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 2xx OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntake",
	} {
		if m, err := wireOf(t, text).read(); err == nil {
			t.Errorf("%q: %+v, want an error", text, m)
		}
	}
}

// wireOf is a connection on which a text arrives, and then its end.
func wireOf(t *testing.T, text string) *wire {
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close() })
	go func() {
		_, _ = strings.NewReader(text).WriteTo(there)
		there.Close()
	}()
	return newWire(here)
}
