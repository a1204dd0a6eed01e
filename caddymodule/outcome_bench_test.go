//go:build unix

package caddymodule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkBookkeeping sends deliveries through a whole Caddy, its reverse_proxy
// included, with and without metrics, timing and reports, in turns of one run.
// cpu_ratio is the median over the turns of the processor time with to that
// without; client and app, in the same process, write and read bytes and no more.
//
//	go test ./caddymodule -run=- -bench=Bookkeeping -benchtime=20000x
func BenchmarkBookkeeping(b *testing.B) {
	b.Run("accepted", func(b *testing.B) { bookkeeping(b, sign("topsecret", body), http.StatusOK) })
	b.Run("rejected", func(b *testing.B) { bookkeeping(b, sign("another", body), http.StatusUnauthorized) })
}

func bookkeeping(b *testing.B, signature string, status int) {
	server := freePort(b)
	config := fmt.Sprintf(`{"admin":{"disabled":true},"logging":{"logs":{"default":{"writer":{"output":"discard"}}}},
		"apps":{"http":{"servers":{"bench":{"listen":[%q],"automatic_https":{"disable":true},"routes":[{"handle":[
			{"handler":"verify_webhook","name":"bench","signature":{"header":"X-Signature"},"delivery_id":{"header":"X-Id"},"secret":["topsecret"]},
			{"handler":"reverse_proxy","upstreams":[{"dial":%q}]}]}]}}}}}`, server, rawApp(b))
	var cfg caddy.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		b.Fatal(err)
	}
	if err := caddy.Run(&cfg); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			b.Error(err)
		}
	}()
	h := current().handlers[0]
	on, keep := h.metrics, h.app.KeepRejected
	conn, err := net.Dial("tcp", server)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	in, id := bufio.NewReader(conn), 0
	turn := func(n int) time.Duration {
		before := processorTime(b)
		for range n {
			id++
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: bench\r\nX-Signature: %s\r\nX-Id: %08d\r\nContent-Length: %d\r\n\r\n%s", signature, id, len(body), body)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != status {
				b.Fatalf("answered %d", resp.StatusCode)
			}
		}
		return processorTime(b) - before
	}
	turn(500) // connections are made and pools filled
	const each = 100
	silent := func() time.Duration {
		h.metrics, h.app.KeepRejected = nil, new(0)
		return turn(each)
	}
	noted := func() time.Duration {
		h.metrics, h.app.KeepRejected = on, keep
		return turn(each)
	}
	var ratios []float64
	var with, without time.Duration
	b.ResetTimer()
	for done := 0; done < b.N; done += 2 * each { // there and back: what grows meanwhile counts for both
		w0, w1, w2, w3 := silent(), noted(), noted(), silent()
		with, without = with+w1+w2, without+w0+w3
		ratios = append(ratios, float64(w1+w2)/float64(w0+w3))
	}
	b.StopTimer()
	slices.Sort(ratios)
	turns := time.Duration(2 * len(ratios) * each)
	b.ReportMetric(float64(without/turns), "cpu_ns_without/op")
	b.ReportMetric(float64(with/turns), "cpu_ns_with/op")
	b.ReportMetric(ratios[len(ratios)/2], "cpu_ratio")
	b.ReportMetric(0, "ns/op")
}

// processorTime is what the process has used.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func freePort(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// rawApp answers 200 to whatever ends with the body.
func rawApp(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf, n := make([]byte, 64<<10), 0
				for {
					more, err := conn.Read(buf[n:])
					if err != nil {
						return
					}
					if n += more; bytes.HasSuffix(buf[:n], []byte(body)) {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")
						n = 0
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkBookkeepingAlone is the same without a network, which on a busy machine
// drowns the difference: added_ns/op is to be held against cpu_ns_without/op.
func BenchmarkBookkeepingAlone(b *testing.B) {
	for _, tc := range []struct{ name, signature, app string }{
		{"accepted", sign("topsecret", body), ""},
		{"rejected", sign("another", body), ""},
		{"rejected, none kept", sign("another", body), `{"keep_rejected":0}`},
	} {
		b.Run(tc.name, func(b *testing.B) {
			g := mustProvision(b, tc.app, acme(topsecret, `"dedupe":{"key":"content"}`))
			g.start(b)
			h := g.handlers[0]
			on, keep := h.metrics, h.app.KeepRejected
			next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusBadGateway); return nil })
			server := new(caddyhttp.Server)
			turn := func(n int) time.Duration {
				before := processorTime(b)
				for range n {
					r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
					r.Header.Set("X-Signature", tc.signature)
					w := httptest.NewRecorder()
					_ = h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server), next)
				}
				return processorTime(b) - before
			}
			const each = 1000
			turn(each)
			var added []float64
			for done := 0; done < b.N; done += 4 * each {
				h.metrics, h.app.KeepRejected = nil, new(0)
				without := turn(each)
				h.metrics, h.app.KeepRejected = on, keep
				with := turn(2 * each)
				h.metrics, h.app.KeepRejected = nil, new(0)
				without += turn(each)
				added = append(added, float64(with-without)/(2*each))
			}
			h.metrics, h.app.KeepRejected = on, keep
			slices.Sort(added)
			b.ReportMetric(added[len(added)/2], "added_ns/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}
