package integration

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// startFastCGI starts an app that gives its first answer once, and then takes what it
// gets. It ends a request, unless cut: then the connection closes, as if it had died.
func startFastCGI(t testing.TB, first string, cut bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	calls := new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if !readFastCGI(c) {
					return
				}
				text, ends := "Status: 200 OK\r\n\r\ntaken", true
				if calls.Add(1) == 1 {
					text, ends = first, !cut
				}
				const stdout, endRequest = 6, 3
				answer := appendFastCGI(nil, stdout, text)
				if ends {
					answer = appendFastCGI(answer, endRequest, "\x00\x00\x00\x00\x00\x00\x00\x00")
				}
				_, _ = c.Write(answer)
			}()
		}
	}()
	return l.Addr().String()
}

// appendFastCGI appends a record of request 1, the only one that Caddy makes on a
// connection.
func appendFastCGI(to []byte, kind byte, content string) []byte {
	to = append(to, 1, kind, 0, 1)
	to = binary.BigEndian.AppendUint16(to, uint16(len(content)))
	return append(append(to, 0, 0), content...)
}

// readFastCGI reads a request up to the end of its body.
func readFastCGI(c net.Conn) (whole bool) {
	const stdin = 5
	r := bufio.NewReader(c)
	var head [8]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return false
		}
		length := int64(binary.BigEndian.Uint16(head[4:]))
		if _, err := io.CopyN(io.Discard, r, length+int64(head[6])); err != nil {
			return false
		}
		if head[1] == stdin && length == 0 {
			return true
		}
	}
}

// TestFastCGI: Caddy passes on any status of a FastCGI app, such as an exit code, and
// takes the end of the connection for that of the answer unless that says how long it is.
func TestFastCGI(t *testing.T) {
	t.Parallel()
	says := func(status int) string {
		return fmt.Sprintf("Status: %d Oops\r\nContent-Type: text/plain\r\n\r\nSQLSTATE: failed", status)
	}
	const long = "Content-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf"
	const buffers = "templates {\nmime text/plain\n}"
	const intercepts = "intercept {\n@none status 599\nhandle_response @none {\nrespond 500\n}\n}"
	cases := []struct {
		below string // between the handler and the app
		first string
		cut   bool
		done  bool
	}{
		{first: "Content-Type: text/plain\r\n\r\ntaken", done: true},
		{first: says(201), done: true},
		{first: says(500)},
		{first: says(600)},
		{first: says(-1)},
		{first: says(0)},
		{first: says(42)},
		{first: says(101)},
		{first: says(103)},
		{first: says(190)},
		{first: says(1045)},
		{first: "Status: 190\r\n\r\n"},
		{below: "encode gzip", first: says(0)},
		{below: "encode gzip", first: says(42)},
		{below: "encode gzip", first: says(190)},
		{below: intercepts, first: says(0)},
		{below: intercepts, first: says(190)},
		{below: buffers, first: says(0)},
		{below: buffers, first: says(42)},
		{below: buffers, first: says(190)},
		{first: long, cut: true},
		{first: "X-Powered-By: PHP\r\n", cut: true},
		// docs/operating.md
		{first: "Content-Type: text/plain\r\n\r\nhalf", cut: true, done: true},
		{first: "Status: 200 OK\r\n", cut: true, done: true},
	}
	for mode, option := range map[string]string{"no inbox": "", "inbox": "inbox {\nafter 10s\n}"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			var site strings.Builder
			for i, c := range cases {
				for _, protocol := range protocols {
					fmt.Fprintf(&site, "route %s {\nverify_webhook github {env.GITHUB_KEY} {\nname %s\n%s\n}\n%s\nreverse_proxy %s {\ntransport fastcgi {\nenv SCRIPT_FILENAME /app.php\nread_timeout 10s\nwrite_timeout 10s\n}\n}\n}\n",
						way(i, protocol), strings.ReplaceAll(way(i, protocol)[1:], "/", "-"), option, c.below, startFastCGI(t, c.first, c.cut))
				}
			}
			g := start(t, setup{site: site.String(), level: "INFO"}) // its transport logs all headers at DEBUG
			for i, c := range cases {
				for _, protocol := range protocols {
					what := fmt.Sprintf("%q behind %q over %s", c.first, c.below, protocol)
					m, id := at(way(i, protocol)).message(t), newCase()
					a, err := g.post(t.Context(), g.client(protocol), id, m)
					stored := a.header.Get("Webhook-Stored") != ""
					switch {
					case c.done && (err != nil || stored || a.status >= 300):
						t.Errorf("%s: answered %d, %v, stored %t", what, a.status, err, stored)
					case !c.done && option != "" && !stored:
						t.Errorf("%s: answered %d, %v, and not stored", what, a.status, err)
					case !c.done && option == "" && err == nil && a.status < 500:
						t.Errorf("%s: answered %d", what, a.status)
					}
					next := g.do(t, g.client(protocol), g.request(t, id, m))
					if is := next.header.Get("Webhook-Duplicate") != ""; is != (c.done || option != "") || next.status != http.StatusOK {
						t.Errorf("%s: the next copy is answered %d, duplicate %t", what, next.status, is)
					}
				}
			}
		})
	}
}

// way is the path of a case over a protocol.
func way(i int, protocol string) string { return fmt.Sprint("/", strings.ToLower(protocol), "/", i) }
