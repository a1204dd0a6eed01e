package inbox

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func full() *Delivery {
	return &Delivery{
		Key: Key{1, 255}, Queue: Queue{Handler: "stripe", Tenant: "acme"},
		Received: time.Unix(1_800_000_000, 123_456_789), Label: "current", ID: "evt_1", Event: "order.paid",
		Timestamp: time.Unix(1_799_999_999, 0), Site: Lists, Provider: "stripe", Seen: Seen{Method: "PUT", Target: "/rewritten"}, Method: "POST", Target: "/hooks/stripe?a=%2f\xff", Host: "h.example",
		Proto: "HTTP/2.0", Remote: "[::1]:1", Local: "127.0.0.1:443", Place: "at h.example",
		TLS:    &TLS{Version: 0x304, CipherSuite: 0x1301, ServerName: "h.example", Protocol: "h2", Peers: [][]byte{{1}, {2, 3}}},
		Header: map[string][]string{"A": {"", "x\xffy"}, "Content-Type": {"application/json"}, "None": nil},
		Body:   []byte("{\"a\":\x00\xff}"),
	}
}

func TestADeliveryReadsAsItWasWritten(t *testing.T) {
	for name, want := range map[string]*Delivery{"full": full(), "empty": {Header: map[string][]string{}}} {
		b, _ := want.AppendBinary([]byte("before"))
		got := new(Delivery)
		if err := got.UnmarshalBinary(b[len("before"):]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !got.Received.Equal(want.Received) || !got.Timestamp.Equal(want.Timestamp) {
			t.Errorf("%s: times are %v and %v", name, got.Received, got.Timestamp)
		}
		got.Received, got.Timestamp = want.Received, want.Timestamp
		if len(got.Body) == 0 {
			got.Body = want.Body
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// TestAShortenedDeliveryIsRefused, but for one of a version that did not know the place.
func TestAShortenedDeliveryIsRefused(t *testing.T) {
	b, _ := full().AppendBinary(nil)
	older := len(b) - len("_at h.example")
	for n := range b {
		if err := new(Delivery).UnmarshalBinary(b[:n]); (err == nil) != (n == older) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if err := new(Delivery).UnmarshalBinary(append(b, "of a later version"...)); err != nil {
		t.Errorf("what a later version added is not ignored: %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, _ := full().AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, again Delivery
		if d.UnmarshalBinary(b) != nil {
			return
		}
		c, _ := d.AppendBinary(nil)
		if err := again.UnmarshalBinary(c); err != nil || !reflect.DeepEqual(d, again) {
			t.Errorf("%v: read %+v, then %+v", err, d, again)
		}
	})
}

func TestKeysAreHex(t *testing.T) {
	k := Key{1, 2, 255}
	if got, err := ParseKey(k.String()); got != k || err != nil {
		t.Errorf("got %v %v", got, err)
	}
	for _, s := range []string{"", "00", k.String() + "00", "zz" + k.String()[2:]} {
		if _, err := ParseKey(s); err == nil {
			t.Errorf("%q is a key", s)
		}
	}
}

// TestTheBodyOfADeliveryIsItsOwn: bytes of a file may be gone after they are read.
func TestTheBodyOfADeliveryIsItsOwn(t *testing.T) {
	b, _ := full().AppendBinary(nil)
	copied, shared := new(Delivery), new(Delivery)
	if err := errors.Join(copied.UnmarshalBinary(b), shared.UnmarshalOwn(b)); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if want := string(full().Body); string(copied.Body) != want || string(shared.Body) == want {
		t.Errorf("the copy has the body %q, the other one %q", copied.Body, shared.Body)
	}
}
