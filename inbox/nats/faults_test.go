package nats

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// refused accepts a delivery that must be refused, and returns the error's text.
func refused(t *testing.T, e *Engine, d *inbox.Delivery, want inbox.Why) string {
	t.Helper()
	_, err := e.Accept(t.Context(), d, false)
	var why *inbox.NotStoredError
	if !errors.As(err, &why) || why.Why != want {
		t.Fatalf("accept: %v, want %q", err, want)
	}
	return err.Error()
}

func TestAServerThatIsDownAtStart(t *testing.T) {
	s := prepare(t, freeAddr(t), "")
	e, err := Open(Options{Servers: []string{"nats://user:hunter2@" + s.addr}, MaxSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.halt)
	began := time.Now()
	refused(t, e, delivery(1), inbox.WhyUnavailable)
	if took := time.Since(began); took > defaultPatience/2 {
		t.Errorf("it takes %v to refuse", took)
	}
	if _, _, err := e.Find(t.Context(), key(1)); !errors.Is(err, inbox.ErrUnavailable) {
		t.Errorf("find: %v", err)
	}
	until(t, "the health does not say what is wrong", func() bool { return e.Status().Health.Error() == "no NATS server answers" })
	if text := refused(t, e, delivery(1), inbox.WhyUnavailable); strings.Contains(text, "hunter2") {
		t.Errorf("the password is shown: %s", text)
	}
	s.run()
	until(t, "it does not recover", func() bool { return e.Status().Health == nil })
	put(t, e, 1, false)
}

func TestAFullStream(t *testing.T) {
	s := start(t)
	e := open(t, Options{Servers: []string{s.url()}, MaxSize: 64 << 20})
	js := streams(t, s.url())
	stream := must(js.Stream(t.Context(), e.o.Stream))
	config := stream.CachedInfo().Config
	config.MaxBytes = 64 << 10
	must(js.UpdateStream(t.Context(), config))
	n := 0
	for ; ; n++ {
		d := delivery(n)
		d.Body = make([]byte, 4<<10)
		if _, err := e.Accept(t.Context(), d, false); err != nil {
			if text := refused(t, e, d, inbox.WhyFull); !strings.Contains(text, "maximum bytes") {
				t.Errorf("the cause is not named: %s", text)
			}
			break
		}
		if n > 100 {
			t.Fatal("it does not fill up")
		}
	}
	if e.Status().Health != nil || n < 5 {
		t.Errorf("%d stored, health %v", n, e.Status().Health)
	}
	// What the app accepts makes room, although its mark is a message too.
	config.MaxBytes = 128 << 10
	must(js.UpdateStream(t.Context(), config))
	for range n {
		e.Settle(taken(t, e), inbox.Settlement{To: inbox.Delivered, Status: 200})
	}
	until(t, "the marks are not written", func() bool { return e.Status().Unwritten == 0 })
	put(t, e, 1000, false)
}

// The limits change while the engine is in use, and the stream follows; what the server
// refuses changes nothing else.
func TestLimitsChange(t *testing.T) {
	s := start(t)
	e := open(t, Options{Servers: []string{s.url()}, MaxSize: 64 << 20})
	js := streams(t, s.url())
	for _, size := range []int64{32 << 20, 64 << 20} {
		e.Adjust(size, 0)
		until(t, "the stream does not follow", func() bool {
			return must(js.Stream(t.Context(), e.o.Stream)).CachedInfo().Config.MaxBytes == int64(marksShare*float64(size))+marksRoom
		})
		if got := e.Status(); got.Health != nil || got.Limit != size {
			t.Errorf("with %d: %+v", size, got)
		}
	}
	e.Adjust(64<<20, 3) // one server cannot
	put(t, e, 1, false)
}

func TestADeliveryThatIsLargerThanMaxPayload(t *testing.T) {
	s := start(t, "max_payload: 100000")
	var l enginetest.Log
	e := open(t, Options{Servers: []string{s.url()}, MaxSize: 64 << 20, Logger: slog.New(slog.NewTextHandler(&l, nil))})
	d := delivery(1)
	d.Body = make([]byte, 200_000)
	if text := refused(t, e, d, inbox.WhyTooLarge); !strings.Contains(text, "the NATS server's max_payload is 100000") {
		t.Errorf("the cause is not named: %s", text)
	}
	if got := e.Status().LargestBody; got != 100_000-bodyHeadroom {
		t.Errorf("the largest body has %d bytes", got)
	}
	for _, want := range []string{"one replica", "sync_interval"} {
		if !strings.Contains(l.String(), want) {
			t.Errorf("the log does not say %q: %s", want, l.String())
		}
	}
	d.Body = bytes.Repeat([]byte{0xff}, 90_000)
	if _, err := e.Accept(t.Context(), d, false); err != nil {
		t.Fatal(err)
	}
	if a := taken(t, e); !bytes.Equal(a.Delivery.Body, d.Body) {
		t.Error("the body is not what was received")
	}
}

func TestAStreamThatBelongsToSomethingElse(t *testing.T) {
	s := start(t)
	js := streams(t, s.url())
	must(js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders.>"}}))
	e := must(Open(Options{Servers: []string{s.url()}, Stream: "orders"}))
	t.Cleanup(e.halt)
	until(t, "the health does not say so", func() bool { return strings.Contains(e.Status().Health.Error(), "belongs to something else") })
	refused(t, e, delivery(1), inbox.WhyUnavailable)
}

// Three replicas are configured, and there is one server.
func TestReplicasThatAServerCannotHave(t *testing.T) {
	s := start(t)
	e := must(Open(Options{Servers: []string{s.url()}, Replicas: 3, MaxSize: 64 << 20}))
	t.Cleanup(e.halt)
	until(t, "the health does not say so", func() bool { return strings.Contains(e.Status().Health.Error(), "refuses the stream: replicas > 1") })
}

func TestAStreamThatIsDeleted(t *testing.T) {
	s := start(t)
	e := open(t, Options{Servers: []string{s.url()}, MaxSize: 64 << 20, lease: time.Second, patience: time.Second})
	put(t, e, 1, false)
	id := e.Status().ID
	js := streams(t, s.url())
	if err := js.DeleteStream(t.Context(), e.o.Stream); err != nil {
		t.Fatal(err)
	}
	until(t, "it is not created again", func() bool { st := e.Status(); return st.Health == nil && st.ID != id })
	has(t, e, 1, 0)
	put(t, e, 1, false)
}

func TestACredentialsFileThatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.creds")
	e := must(Open(Options{Servers: []string{"nats://" + freeAddr(t)}, Credentials: path}))
	t.Cleanup(e.halt)
	until(t, "the health does not say so", func() bool { return strings.Contains(e.Status().Health.Error(), "credentials file cannot be read") })
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {Servers: []string{"x"}, Stream: "a.b"}, {Servers: []string{"x"}, Replicas: 2}} {
		if _, err := Open(o); err == nil || !strings.HasPrefix(err.Error(), "inbox nats: ") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// An unreadable message is left alone and counted; other deliveries are not affected.
func TestDamage(t *testing.T) {
	s := start(t)
	o := Options{Servers: []string{s.url()}, MaxSize: 64 << 20}
	e := open(t, o)
	put(t, e, 1, false)
	put(t, e, 2, false)
	closeEngine(t, e)
	js := streams(t, s.url())
	ctx := context.Background()
	stream := must(js.Stream(ctx, e.o.Stream))
	first := must(stream.GetLastMsgForSubject(ctx, e.subject(key(1), deliveryToken)))
	must(js.Publish(ctx, e.subject(key(3), deliveryToken), []byte("not a delivery")))
	e = open(t, o)
	if st := e.Status(); st.Damaged != 1 {
		t.Errorf("status: %+v", st)
	}
	closeEngine(t, e)
	msg := must(stream.GetMsg(ctx, first.Sequence))
	must(js.PublishMsg(ctx, natsMsg(e.subject(key(1), deliveryToken), msg.Header.Get(recordHeader), []byte("damaged"))))
	e = open(t, o)
	if a := taken(t, e); number(a) != 2 {
		t.Errorf("got %+v", a.Entry)
	}
	has(t, e, 1, inbox.Locked)
	if _, _, err := e.Get(ctx, key(1)); !errors.Is(err, inbox.ErrLocked) {
		t.Errorf("get: %v", err)
	}
	if keys, err := e.Discard(ctx, inbox.Selection{States: []inbox.State{inbox.Locked}}); len(keys) != 1 || err != nil {
		t.Errorf("discard: %v %v", keys, err)
	}
}

func natsMsg(subject, record string, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{recordHeader: []string{record}}, Data: data}
}
