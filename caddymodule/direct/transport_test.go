//go:build unix

package direct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// TestAnswersAreThoseOfTheStockTransport makes two requests through each.
func TestAnswersAreThoseOfTheStockTransport(t *testing.T) {
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name   string
		method string
		script func(*visit)
		conns  int32 // for both
		want   outcome
	}{
		{name: "Content-Length", script: answering(hello, false), conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "a failure with a body", script: answering("HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 5\r\n\r\nlater", false), conns: 1, want: outcome{Status: 503, Body: "later"}},
		{name: "chunked", script: answering(chunked+"\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", false), conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "trailers", script: answering(chunked+"Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n", false), conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "no body", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false), conns: 1, want: outcome{Status: 200}},
		{name: "HEAD with a body", method: "HEAD", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false), conns: 1, want: outcome{Status: 200}},
		{name: "204", script: answering("HTTP/1.1 204 No Content\r\n\r\n", false), conns: 1, want: outcome{Status: 204}},
		{name: "304 with a length", script: answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false), conns: 1, want: outcome{Status: 304}},
		{name: "until close", script: answering("HTTP/1.1 200 OK\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello"}},
		{name: "HTTP/1.0", script: answering("HTTP/1.0 200 OK\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello"}},
		{name: "Connection: close", script: answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello"}},
		{name: "1xx", script: answering("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+hello, false), conns: 1, want: outcome{Status: 200, Body: "hello", Informational: []int{102, 103}}},
		{name: "one byte at a time", script: byBytes, conns: 1, want: outcome{Status: 200, Body: "hello"}},
		{name: "an early answer with close", script: early, conns: 2, want: outcome{Status: 413}},
		{name: "close after the request", script: answering("", true), conns: 2, want: outcome{Err: "EOF"}},
		{name: "close in the head", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", true), conns: 2, want: outcome{Err: "unexpected EOF"}},
		{name: "close in the body", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello", BodyErr: "unexpected EOF"}},
		{name: "close in a chunk", script: answering(chunked+"\r\n9\r\nhello", true), conns: 2, want: outcome{Status: 200, Body: "hello", BodyErr: "unexpected EOF"}},
		{name: "garbage", script: answering("SSH-2.0-OpenSSH\r\n\r\n", true), conns: 2, want: outcome{Err: "other"}},
		{name: "a broken length", script: answering("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", true), conns: 2, want: outcome{Err: "other"}},
		{name: "two lengths", script: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", true), conns: 2, want: outcome{Err: "other"}},
		{name: "an unknown coding", script: answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: xor\r\n\r\nhello", true), conns: 2, want: outcome{Err: "other"}},
		{name: "a broken chunk", script: answering(chunked+"\r\nz\r\nhello\r\n0\r\n\r\n", true), conns: 2, want: outcome{Status: 200, BodyErr: "other"}},
		{name: "an endless head", script: endless, conns: 2, want: outcome{Err: "other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := func(a *app) *http.Request {
				req := a.request(t.Context(), `{"a":1}`)
				req.Method = cmp.Or(c.method, req.Method)
				return req
			}
			for name, tr := range map[string]http.RoundTripper{"stock": newStock(t), "direct": newDirect(t)} {
				a := newApp(t, c.script)
				for range 2 {
					req := request(a)
					if !direct(req, upstream{a.network, a.address}) {
						t.Fatal("the request is not direct")
					}
					got := try(tr, req)
					want := c.want
					want.Header, want.Trailer, want.Length = got.Header, got.Trailer, got.Length
					if !reflect.DeepEqual(got, want) {
						t.Errorf("%s: got %+v, want %+v", name, got, want)
					}
				}
				if n := a.conns.Load(); n != c.conns {
					t.Errorf("%s: %d connections, want %d", name, n, c.conns)
				}
			}
			// What the table does not spell out is the same.
			a := newApp(t, c.script)
			stock, ours := try(newStock(t), request(a)), try(newDirect(t), request(a))
			if !reflect.DeepEqual(stock, ours) {
				t.Errorf("stock %+v, direct %+v", stock, ours)
			}
		})
	}
}

func byBytes(v *visit) {
	for v.request() != "" {
		for i := range hello {
			io.WriteString(v, hello[i:i+1])
		}
	}
}

// early answers after the head, and reads the rest so that its close is no reset.
func early(v *visit) {
	if _, err := v.r.ReadString('\n'); err != nil {
		return
	}
	io.WriteString(v, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	v.Conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, v.r)
}

func endless(v *visit) {
	if v.request() == "" {
		return
	}
	io.WriteString(v, "HTTP/1.1 200 OK\r\n")
	line := []byte("X: " + strings.Repeat("x", 64<<10) + "\r\n")
	for range 2 * maxHead / len(line) {
		if _, err := v.Write(line); err != nil {
			return
		}
	}
}

// TestAppReceivesTheSameBytes: the stock transport adds Accept-Encoding: gzip by itself
// where the request has none, and decompresses the answer. This one does not.
func TestAppReceivesTheSameBytes(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"as it is":      func(*http.Request) {},
		"no encoding":   func(r *http.Request) { r.Header.Del("Accept-Encoding") },
		"a user agent":  func(r *http.Request) { r.Header.Set("User-Agent", "Sender/1.0") },
		"no user agent": func(r *http.Request) { r.Header.Del("User-Agent") },
		"many headers": func(r *http.Request) {
			r.Header["X-A"], r.Header["x-lower"], r.Header["Te"] = []string{"1", "2", "", " a "}, []string{"é\xff\t"}, []string{"trailers"}
		},
		"another length": func(r *http.Request) { r.Header["Content-Length"] = []string{"999"} },
		"a coding":       func(r *http.Request) { r.Header["Transfer-Encoding"] = []string{"chunked"} },
		"PUT":            func(r *http.Request) { r.Method = "PUT" },
		"a path": func(r *http.Request) {
			r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/a/b ü", "/a%2Fb%20%C3%BC", "x=%0a&y"
		},
		"a host":  func(r *http.Request) { r.Host = "a b" },
		"no host": func(r *http.Request) { r.Host = "" },
	} {
		t.Run(name, func(t *testing.T) {
			var sent [2]string
			for i, tr := range []http.RoundTripper{newStock(t), newDirect(t)} {
				got := make(chan string, 1)
				a := newApp(t, func(v *visit) {
					got <- v.request()
					io.WriteString(v, hello)
				})
				req := a.request(t.Context(), `{"a":1}`)
				change(req)
				if !direct(req, upstream{a.network, a.address}) {
					t.Fatal("the request is not direct")
				}
				if o := try(tr, req); o.Body != "hello" {
					t.Fatalf("%+v", o)
				}
				sent[i] = strings.ReplaceAll(<-got, a.address, "APP")
			}
			if stock := strings.Replace(sent[0], "Accept-Encoding: gzip\r\n", "", 1); stock != sent[1] {
				t.Errorf("stock  %q\ndirect %q", stock, sent[1])
			}
		})
	}
}

func TestOnlySmallPlainRequestsAreDirect(t *testing.T) {
	tcp := upstream{"tcp", "127.0.0.1:3000"}
	a := &app{network: tcp.network, address: tcp.address}
	for name, change := range map[string]func(*http.Request, *upstream){
		"https":              func(r *http.Request, _ *upstream) { r.URL.Scheme = "https" },
		"no address":         func(r *http.Request, _ *upstream) { r.URL.Host = "" },
		"another network":    func(_ *http.Request, to *upstream) { to.network = "udp" },
		"an upgrade":         func(r *http.Request, _ *upstream) { r.Header.Set("Upgrade", "websocket") },
		"Connection":         func(r *http.Request, _ *upstream) { r.Header.Set("Connection", "close") },
		"Close":              func(r *http.Request, _ *upstream) { r.Close = true },
		"Expect":             func(r *http.Request, _ *upstream) { r.Header.Set("Expect", "100-continue") },
		"trailers":           func(r *http.Request, _ *upstream) { r.Trailer = http.Header{"X-Sum": nil} },
		"no body":            func(r *http.Request, _ *upstream) { r.Body, r.ContentLength = nil, 0 },
		"unknown length":     func(r *http.Request, _ *upstream) { r.ContentLength = -1 },
		"chunked":            func(r *http.Request, _ *upstream) { r.TransferEncoding = []string{"chunked"} },
		"repeatable":         func(r *http.Request, _ *upstream) { r.GetBody = func() (io.ReadCloser, error) { return nil, nil } },
		"a large body":       func(r *http.Request, _ *upstream) { r.ContentLength = maxMessage },
		"a large head":       func(r *http.Request, _ *upstream) { r.Header.Set("X-A", strings.Repeat("a", maxMessage)) },
		"a long query":       func(r *http.Request, _ *upstream) { r.URL.RawQuery = strings.Repeat("a", maxMessage) },
		"an invalid method":  func(r *http.Request, _ *upstream) { r.Method = "PO ST" },
		"an invalid name":    func(r *http.Request, _ *upstream) { r.Header["X A"] = []string{"1"} },
		"a value of 2 lines": func(r *http.Request, _ *upstream) { r.Header["X-A"] = []string{"1\r\nX-B: 2"} },
	} {
		req, to := a.request(t.Context(), "{}"), tcp
		if !direct(req, to) {
			t.Fatal("the plain request is not direct")
		}
		if change(req, &to); direct(req, to) {
			t.Errorf("%s: direct", name)
		}
	}
}

// TestOtherRequestsTakeTheStockTransport: what it answers is reverse_proxy's business.
func TestOtherRequestsTakeTheStockTransport(t *testing.T) {
	tr := newDirect(t)
	big := strings.Repeat("b", 1<<20)
	a := newApp(t, answering(hello, false))
	for name, change := range map[string]func(*http.Request){
		"GET": func(r *http.Request) { r.Method, r.Body, r.ContentLength = "GET", nil, 0 },
		"a big body": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(big)), int64(len(big))
		},
		"chunked": func(r *http.Request) { r.ContentLength = -1 },
	} {
		req := a.request(t.Context(), "{}")
		change(req)
		if o := try(tr, req); o.Status != 200 || o.Body != "hello" {
			t.Errorf("%s: %+v", name, o)
		}
	}
	req := a.request(t.Context(), "{}")
	req.Header["X-A"] = []string{"1\r\nX-B: 2"}
	if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "X-A") {
		t.Errorf("a header of two lines: %v", err)
	}
	if len(tr.idle) != 0 {
		t.Error("one was sent directly")
	}

	switching := newApp(t, answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", false))
	req = switching.request(t.Context(), "{}")
	req.Header["Connection"], req.Header["Upgrade"] = []string{"Upgrade"}, []string{"x"}
	resp, err := tr.RoundTrip(req)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("an upgrade: %v, %v", resp, err)
	}
	if _, both := resp.Body.(io.ReadWriteCloser); !both {
		t.Error("an upgrade's body cannot be written")
	}
	resp.Body.Close()
}

func TestSwitchedProtocolsAndStatusesBelow100AreErrors(t *testing.T) {
	for _, head := range []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 099 Odd\r\n\r\n"} {
		tr, a := newDirect(t), newApp(t, answering(head, false))
		if o := try(tr, a.request(t.Context(), "{}")); o.Err != "other" || len(tr.idle) != 0 {
			t.Errorf("%q: %+v, idle %v", head, o, tr.idle)
		}
	}
}

func TestErrorsHoldNothingOfTheAnswer(t *testing.T) {
	for _, text := range []string{"s3cret\r\n\r\n", "HTTP/1.1 s3cret\r\n\r\n", "HTTP/1.1 200 OK\r\ns3cret\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: s3cret\r\n\r\n", "s3cret"} {
		a := newApp(t, answering(text, true))
		_, err := newDirect(t).RoundTrip(a.request(t.Context(), "{}"))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "direct")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	a := serve(t, l, answering(hello, false))
	tr := newDirect(t)
	for range 2 {
		if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
			t.Errorf("%+v", o)
		}
	}
	if a.conns.Load() != 1 || len(tr.idle) != 1 {
		t.Errorf("%d connections, idle %v", a.conns.Load(), tr.idle)
	}
}

func TestTraceHooks(t *testing.T) {
	a := newApp(t, answering(hello, false))
	for name, tr := range map[string]http.RoundTripper{"stock": newStock(t), "direct": newDirect(t)} {
		var called []string
		var mu sync.Mutex
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			called = append(called, what)
		}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:              func(at string) { note("get") },
			GotConn:              func(i httptrace.GotConnInfo) { note(fmt.Sprint("got, reused: ", i.Reused)) },
			ConnectStart:         func(string, string) { note("dial") },
			WroteHeaders:         func() { note("headers") },
			WroteRequest:         func(i httptrace.WroteRequestInfo) { note(fmt.Sprint("request: ", i.Err)) },
			GotFirstResponseByte: func() { note("answer") },
		})
		for range 2 {
			if o := try(tr, a.request(ctx, "{}")); o.Body != "hello" {
				t.Fatalf("%+v", o)
			}
		}
		want := []string{"get", "dial", "got, reused: false", "headers", "request: <nil>", "answer", "get", "got, reused: true", "headers", "request: <nil>", "answer"}
		if !slices.Equal(called, want) {
			t.Errorf("%s: %q", name, called)
		}
	}
}

// TestHookThatFailsEndsTheRequest is what net/http says of Got1xxResponse.
func TestHookThatFailsEndsTheRequest(t *testing.T) {
	failed := errors.New("no")
	a := newApp(t, answering("HTTP/1.1 103 Early Hints\r\n\r\n"+hello, false))
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return failed }})
	if _, err := newDirect(t).RoundTrip(a.request(ctx, "{}")); err != failed {
		t.Error(err)
	}
}

// TestRequestIsLeftAsItWas: reverse_proxy may send it again.
func TestRequestIsLeftAsItWas(t *testing.T) {
	a := newApp(t, answering(hello, false))
	req := a.request(t.Context(), "{}")
	body, header, url := req.Body, req.Header.Clone(), *req.URL
	if o := try(newDirect(t), req); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	if req.Body != body || !maps.EqualFunc(req.Header, header, slices.Equal) || *req.URL != url {
		t.Errorf("%+v", req)
	}
}

// TestConcurrentRequestsGetTheirOwnAnswers ends some of them early.
func TestConcurrentRequestsGetTheirOwnAnswers(t *testing.T) {
	a := newApp(t, func(v *visit) {
		for {
			text := v.request()
			if text == "" {
				return
			}
			_, body, _ := strings.Cut(text, "\r\n\r\n")
			fmt.Fprintf(v, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	tr := newDirect(t)
	var wg sync.WaitGroup
	for worker := range 4 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				want := fmt.Sprintf(`{"worker":%d,"n":%d}`, worker, n)
				resp, err := tr.RoundTrip(a.request(ctx, want))
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				switch n % 5 {
				case 0:
					cancel()
				case 1:
					resp.Body.Close()
				}
				if got, err := io.ReadAll(resp.Body); err == nil && string(got) != want {
					t.Errorf("got %s, want %s", got, want)
				}
				resp.Body.Close()
				cancel()
			}
		})
	}
	wg.Wait()
}

func BenchmarkDirect(b *testing.B) { benchmark(b, newDirect(b)) }

func BenchmarkStock(b *testing.B) { benchmark(b, newStock(b)) }

func benchmark(b *testing.B, tr http.RoundTripper) {
	buf := strings.Repeat("b", 1024)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })}
	go server.Serve(l)
	b.Cleanup(func() { server.Close() })
	a := &app{network: "tcp", address: l.Addr().String()}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(context.Background())
		resp, err := tr.RoundTrip(a.request(ctx, buf))
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		cancel()
	}
}
