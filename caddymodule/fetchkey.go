package caddymodule

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// unknownKey returns the rejection of a delivery whose key the sender may have
// published since, nil of any other.
func unknownKey(err error) *verifier.Rejection {
	if rej, ok := errors.AsType[*verifier.Rejection](err); ok && rej.UnknownKey {
		return rej
	}
	return nil
}

// fetchKey fetches the delivery's key and opens the delivery again with it. Here
// alone a request changes its snapshot: the one that it came with lacks its key.
// All that was decided with the old one is decided again, so that a header of
// before the wait never passes together with a key of after it.
func (d *delivery) fetchKey(rej *verifier.Rejection) error {
	held := d.charged
	defer awaiting.Add(-held)
	if awaiting.Add(held) > max(buffered.limit.Load()/4, d.h.maxBody+1) {
		return keyNotFetched(errors.New("too many deliveries wait for fetches"))
	}
	if err := d.h.keys.Fetch(d.r.Context(), rej.KeyID, clientOf(d.r)); err != nil {
		return keyNotFetched(err)
	}
	newer := d.h.keys.Snapshot()
	if newer == d.keys { // the sender publishes no other key
		return rej
	}
	d.keys = newer
	return d.begin()
}

func keyNotFetched(err error) *refusal {
	r := *errKeyUnavailable
	r.detail = "the sender's key cannot be fetched now: " + err.Error()
	return &r
}

// clientOf returns whom a request counts for: the address that Caddy trusts, of
// IPv6 the network that one customer has.
func clientOf(r *http.Request) netip.Prefix {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if text == "" {
		text, _, _ = net.SplitHostPort(r.RemoteAddr)
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
	prefix, _ := address.Prefix(bits) // it fails only for too many bits
	return prefix
}
