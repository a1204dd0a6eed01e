//go:build unix

package direct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestSecondAnswerNeverAnswersAnotherRequest: it comes with the first, or before the
// next request.
func TestSecondAnswerNeverAnswersAnotherRequest(t *testing.T) {
	right := func(v *visit) string { return strings.Replace(hello, "hello", fmt.Sprintf("no. %d", v.n), 1) }
	wrong := strings.Replace(hello, "hello", "wrong", 1)
	t.Run("with the first", func(t *testing.T) {
		a := newApp(t, func(v *visit) {
			for v.request() != "" {
				io.WriteString(v, right(v)+wrong)
			}
		})
		tr := newDirect(t)
		for n := 1; n <= 9; n++ {
			if o := try(tr, a.request(t.Context(), "{}")); o.Body != fmt.Sprintf("no. %d", n) {
				t.Fatalf("request %d: %+v", n, o)
			}
		}
	})
	t.Run("before the next request", func(t *testing.T) {
		second := make(chan bool)
		a := newApp(t, func(v *visit) {
			for v.request() != "" {
				io.WriteString(v, right(v))
				if <-second {
					io.WriteString(v, wrong)
				}
			}
		})
		tr := newDirect(t)
		for n := 1; n <= 3; n++ {
			if o := try(tr, a.request(t.Context(), "{}")); o.Body != fmt.Sprintf("no. %d", n) {
				t.Fatalf("request %d: %+v", n, o)
			}
			second <- true
			awaitTouched(t, tr, a)
		}
		close(second)
	})
}

// awaitTouched returns when what the app did has reached the idle connection. It peeks,
// so that the transport itself finds it.
func awaitTouched(t *testing.T, tr *Transport, a *app) {
	t.Helper()
	conns := tr.idle[upstream{a.network, a.address}]
	if len(conns) != 1 {
		t.Fatalf("%d idle connections", len(conns))
	}
	if err := conns[0].raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN && err != syscall.EWOULDBLOCK
	}); err != nil {
		t.Fatal(err)
	}
}

// TestConnectionThatTheAppClosedFailsNoDelivery holds for a reset, too.
func TestConnectionThatTheAppClosedFailsNoDelivery(t *testing.T) {
	for _, linger := range []int{-1, 0} {
		end := make(chan bool)
		a := newApp(t, func(v *visit) {
			v.request()
			io.WriteString(v, hello)
			<-end
			v.Conn.(*net.TCPConn).SetLinger(linger)
		})
		tr := newDirect(t)
		for n := int32(1); n <= 3; n++ {
			if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" || a.conns.Load() != n {
				t.Fatalf("request %d of %d connections: %+v", n, a.conns.Load(), o)
			}
			end <- true
			awaitTouched(t, tr, a)
		}
	}
}

// TestAppThatIsGoneIsADialError: the body is unread then, so that reverse_proxy can send
// it to another upstream, also when an idle connection was left.
func TestAppThatIsGoneIsADialError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan bool)
	a := serve(t, l, func(v *visit) {
		v.request()
		io.WriteString(v, hello)
		<-end
	})
	tr := newDirect(t)
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	l.Close()
	end <- true
	awaitTouched(t, tr, a)
	for range 2 {
		body := &closing{Reader: strings.NewReader("whole")}
		req := a.request(t.Context(), "whole")
		req.Body = body
		if o := try(tr, req); o.Err != "dial" {
			t.Errorf("%+v", o)
		}
		if rest, _ := io.ReadAll(body.Reader); string(rest) != "whole" || !body.closed {
			t.Errorf("body %q is left, closed: %v", rest, body.closed)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestErrorOfTheBodyIsReturnedAsItIs: Caddy looks at its type. The app sees nothing of
// such a request.
func TestErrorOfTheBodyIsReturnedAsItIs(t *testing.T) {
	broken := errors.New("the sender hung up")
	for name, c := range map[string]struct {
		body io.Reader
		want func(error) bool
	}{
		"broken": {io.MultiReader(strings.NewReader("who"), &failing{broken}), func(err error) bool { return err == broken }},
		"short":  {strings.NewReader("who"), func(err error) bool { return err != nil }},
		"long":   {strings.NewReader("whole and more"), func(err error) bool { return err != nil }},
	} {
		a := newApp(t, func(v *visit) {
			if got := v.request(); got != "" {
				t.Errorf("%s: the app received %q", name, got)
			}
		})
		tr, body := newDirect(t), &closing{Reader: c.body}
		req := a.request(t.Context(), "whole")
		req.Body = body
		if _, err := tr.RoundTrip(req); !c.want(err) || !body.closed {
			t.Errorf("%s: %v, closed: %v", name, err, body.closed)
		}
		tr.Cleanup()
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestCancellationEndsTheWaitWithItsCause(t *testing.T) {
	cause := errors.New("upstream_timeout")
	for _, head := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nhello"} {
		for name, tr := range map[string]http.RoundTripper{"stock": newStock(t), "direct": newDirect(t)} {
			for _, cause := range []error{context.Canceled, context.DeadlineExceeded, cause} {
				waiting, end := make(chan bool), make(chan bool)
				a := newApp(t, func(v *visit) {
					if v.request() == "" {
						return
					}
					io.WriteString(v, head)
					waiting <- true
					<-end
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				stopped := make(chan bool)
				go func() {
					defer close(stopped)
					<-waiting
					if !strings.HasSuffix(head, "hello") {
						cancel(cause)
					}
				}()
				resp, err := tr.RoundTrip(a.request(ctx, "{}"))
				if err == nil {
					_, err = io.ReadFull(resp.Body, make([]byte, len("hello")))
					if err == nil {
						<-stopped
						cancel(cause)
						_, err = io.ReadAll(resp.Body)
					}
					resp.Body.Close()
				}
				if err != cause {
					t.Errorf("%s after %q: %v, want %v", name, head, err, cause)
				}
				<-stopped
				close(end)
				if ours, ok := tr.(*Transport); ok && len(ours.idle) != 0 {
					t.Errorf("after %q its connection is kept", head)
				}
				cancel(nil)
			}
		}
	}
}

func TestCanceledRequestIsNotSent(t *testing.T) {
	a := newApp(t, func(v *visit) { t.Error("connected") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closing{Reader: strings.NewReader("{}")}
	req := a.request(ctx, "{}")
	req.Body = body
	if o := try(newDirect(t), req); o.Err != "canceled" || !body.closed {
		t.Errorf("%+v, closed: %v", o, body.closed)
	}
}

// TestAnswerThatIsNotReadToItsEndClosesTheConnection, and so does one that is read later
// than its request is canceled.
func TestAnswerThatIsNotReadToItsEndClosesTheConnection(t *testing.T) {
	closed := make(chan bool, 2)
	a := newApp(t, func(v *visit) {
		v.request()
		io.WriteString(v, hello)
		v.request()
		closed <- true
	})
	tr := newDirect(t)
	resp, err := tr.RoundTrip(a.request(t.Context(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-closed

	ctx, cancel := context.WithCancel(t.Context())
	if resp, err = tr.RoundTrip(a.request(ctx, "{}")); err != nil {
		t.Fatal(err)
	}
	cancel()
	io.ReadAll(resp.Body)
	<-closed
	resp.Body.Close()
	if len(tr.idle) != 0 {
		t.Error("it is kept")
	}
}

// TestBrokenAnswerClosesTheConnection, also if the app keeps it open.
func TestBrokenAnswerClosesTheConnection(t *testing.T) {
	a := newApp(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", false))
	tr := newDirect(t)
	if o := try(tr, a.request(t.Context(), "{}")); o.BodyErr != "other" || len(tr.idle) != 0 {
		t.Errorf("%+v, idle: %v", o, tr.idle)
	}
}

// TestAnswerIsReadAlthoughTheWriteFailed: such a connection is not used again.
func TestAnswerIsReadAlthoughTheWriteFailed(t *testing.T) {
	broken := &net.OpError{Op: "write", Err: syscall.EPIPE}
	for answer, want := range map[string]outcome{
		"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n": {Status: 413},
		"": {Err: "other"},
	} {
		tr := newDirect(t)
		a := &app{network: "tcp", address: "127.0.0.1:1"}
		c := newConn(tr, upstream{a.network, a.address}, &brokenPipe{in: strings.NewReader(answer), err: broken})
		resp, err := c.roundTrip(a.request(t.Context(), "{}"))
		if want.Err != "" {
			if err != broken {
				t.Errorf("%v", err)
			}
		} else if err != nil || resp.StatusCode != want.Status {
			t.Errorf("%v, %v", resp, err)
		}
		if len(tr.idle) != 0 {
			t.Error("it is kept")
		}
	}
}

type brokenPipe struct {
	net.Conn
	in  io.Reader
	err error
}

func (b *brokenPipe) Read(p []byte) (int, error) { return b.in.Read(p) }

func (b *brokenPipe) Write(p []byte) (int, error) { return 0, b.err }

func (b *brokenPipe) Close() error { return nil }
