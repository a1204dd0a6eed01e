package caddymodule

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// unknownKey returns err if it rejects a delivery for a key that the sender may have
// published since, otherwise nil.
func unknownKey(err error) *verifier.Rejection {
	if rej, ok := errors.AsType[*verifier.Rejection](err); ok && rej.UnknownKey {
		return rej
	}
	return nil
}

// newerKeys returns a function that opens the headers again with keys which may verify
// what was refused with err; nil if there are none.
func (d *delivery) newerKeys(err error) func() error {
	if rej := unknownKey(err); rej != nil {
		return func() error { return d.fetchKey(rej) }
	}
	if d.h.tenants != nil && mismatches(err) {
		return d.rotated()
	}
	return nil
}

// fetchKey waits for the delivery's key and opens the headers again. The
// request changes its snapshot, because the first one lacks its key. All earlier
// decisions are repeated, so that a header accepted before the wait never combines
// with a key from after it.
func (d *delivery) fetchKey(rej *verifier.Rejection) error {
	held := d.charged
	defer awaiting.Add(-held)
	if awaiting.Add(held) > max(buffered.limit.Load()/4, d.h.maxBody+1) {
		return d.keyNotFetched(rej, errors.New("too many deliveries are waiting for keys"))
	}
	if err := d.h.keys.Fetch(d.r.Context(), rej.KeyID, clientOf(d.r), d.came); err != nil {
		return d.keyNotFetched(rej, err)
	}
	newer := d.h.keys.Snapshot()
	if newer == d.keys { // the sender publishes no other key
		return rej
	}
	d.keys = newer
	return d.begin()
}

// keyNotFetched refuses a delivery that a key not fetched yet may have signed: the
// sender is asked to retry. Under observe it is a failed verification like another.
func (d *delivery) keyNotFetched(rej *verifier.Rejection, err error) error {
	if d.h.Observe {
		return rej
	}
	r := *errKeyUnavailable
	r.detail = rej.Detail + ", and the sender's keys cannot be fetched now: " + err.Error()
	if e, ok := errors.AsType[*keys.NotNow](err); ok {
		r.retryAfter = seconds(e.After)
	}
	return &r
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// clientOf returns the client whose budget a request uses: the address that Caddy
// trusts, for IPv6 its /64 network.
func clientOf(r *http.Request) netip.Prefix {
	text := remoteOf(r)
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}
	}
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // fails only for too many bits
	return prefix
}

// remoteOf returns the address of the client: as Caddy trusts it if a proxy forwarded
// the request, otherwise with the port.
func remoteOf(r *http.Request) string {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if host, _, _ := net.SplitHostPort(r.RemoteAddr); client == "" || client == host {
		return r.RemoteAddr
	}
	return client
}
