package command

import (
	"net"
	"strings"
	"testing"
)

// TestPageIsForThisMachine: it listens on loopback addresses alone.
func TestPageIsForThisMachine(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:0":     "",
		"localhost:0":     "",
		":0":              "loopback",
		"0.0.0.0:0":       "loopback",
		"[::]:0":          "loopback",
		"192.0.2.1:0":     "loopback",
		"example.com:0":   "loopback",
		"8090":            "write an address and port",
		"127.0.0.1:http2": "choose another address",
	} {
		l, err := listenHere("--addr", addr)
		if l != nil {
			if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
				t.Errorf("%s: listens on %s", addr, ip)
			}
			_ = l.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
}
