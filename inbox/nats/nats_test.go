package nats

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// What the tests of all engines share.
var (
	shop        = enginetest.Shop
	key         = enginetest.Key
	delivery    = enginetest.Delivery
	until       = enginetest.Until
	closeEngine = enginetest.Close
)

// open returns an engine that has read its stream.
func open(tb inboxtest.TB, o Options) *Engine {
	tb.Helper()
	e, err := Open(o)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(e.halt)
	until(tb, "the stream does not open", func() bool { return e.Status().Health == nil })
	return e
}

// streams returns an operator's access to the server.
func streams(tb inboxtest.TB, url string) jetstream.JetStream {
	tb.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return js
}

// lapse removes the beats of gateways, as time does after a kill.
func lapse(tb inboxtest.TB, js jetstream.JetStream, stream string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the client's default is too short for a busy machine
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(stream+"."+gatewayToken+".*"))
	}
	if err != nil {
		tb.Fatalf("purge: %v", err)
	}
}

func TestNATS(t *testing.T) {
	s := start(t)
	n := 0
	inboxtest.Run(t, func(tb inboxtest.TB, maxSize int64) inboxtest.Subject {
		n++
		c := enginetest.NewClock()
		o := Options{Servers: []string{s.url()}, Stream: fmt.Sprint("suite", n), MaxSize: maxSize, Now: c.Now}
		if maxSize == 0 {
			o.MaxSize = 64 << 20 // the server reserves it
		}
		js := streams(tb, s.url())
		tb.Cleanup(func() { js.DeleteStream(context.Background(), o.Stream) })
		e := open(tb, o)
		return inboxtest.Subject{
			Engine: e, Now: c.Now, Advance: c.Advance,
			Reopen: func() inbox.Engine {
				closeEngine(tb, e)
				e = open(tb, o)
				return e
			},
			Crash: func() inbox.Engine {
				e.halt()
				lapse(tb, js, o.Stream)
				e = open(tb, o)
				return e
			},
			Break: func(ail bool) {
				if ail {
					s.kill()
				} else {
					s.run()
				}
				until(tb, "the engine does not notice", func() bool { return (e.Status().Health != nil) == ail })
			},
		}
	})
}
