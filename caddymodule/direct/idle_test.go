//go:build unix

package direct

import (
	"io"
	"testing"
)

func TestAtMost32ConnectionsIdle(t *testing.T) {
	a := newApp(t, answering(hello, false))
	tr := newDirect(t)
	var bodies []io.ReadCloser
	for range maxIdlePerHost + 3 {
		resp, err := tr.RoundTrip(a.request(t.Context(), "{}"))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	for _, b := range bodies {
		io.ReadAll(b)
		b.Close()
	}
	if n := len(tr.idle[upstream{a.network, a.address}]); n != maxIdlePerHost {
		t.Errorf("%d are idle", n)
	}
}

func TestIdleConnectionExpires(t *testing.T) {
	closed := make(chan bool)
	a := newApp(t, func(v *visit) {
		for v.request() != "" {
			io.WriteString(v, hello)
		}
		closed <- true
	})
	tr := newDirect(t)
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	c := tr.idle[upstream{a.network, a.address}][0]
	if !c.expiry.Reset(0) {
		t.Error("no timer ran")
	}
	<-closed
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.idle) != 0 {
		t.Errorf("idle: %v", tr.idle)
	}
}

// TestConnectionInUseDoesNotExpire: the timer may fire while it is taken.
func TestConnectionInUseDoesNotExpire(t *testing.T) {
	a := newApp(t, answering(hello, false))
	tr := newDirect(t)
	resp, err := tr.RoundTrip(a.request(t.Context(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	tr.expire(resp.Body.(*body).c)
	if text, err := io.ReadAll(resp.Body); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestCleanupClosesConnections(t *testing.T) {
	closed := make(chan int, 3)
	a := newApp(t, func(v *visit) {
		for v.request() != "" {
			io.WriteString(v, hello)
		}
		closed <- v.n
	})
	tr := newDirect(t)
	inFlight, err := tr.RoundTrip(a.request(t.Context(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Fatalf("%+v", o)
	}
	if err := tr.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if n := <-closed; n != 2 {
		t.Errorf("connection %d is closed, want the idle one", n)
	}
	if text, err := io.ReadAll(inFlight.Body); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	<-closed
	if o := try(tr, a.request(t.Context(), "{}")); o.Body != "hello" {
		t.Errorf("afterwards: %+v", o)
	}
	<-closed
}
