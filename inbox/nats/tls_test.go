package nats

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
)

// trusting returns a configuration that trusts the authority of a PEM file.
func trusting(t *testing.T, authority string) *tls.Config {
	t.Helper()
	pool, _, err := configfile.Authorities(authority)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}

// unhealthy waits until the health of an engine says what is wrong.
func unhealthy(t *testing.T, o Options, what string) {
	t.Helper()
	o.MaxSize = 64 << 20
	e := must(Open(o))
	t.Cleanup(e.halt)
	until(t, "its health does not say: "+what, func() bool { return strings.Contains(fmt.Sprint(e.Status().Health), what) })
	refused(t, e, delivery(1), inbox.WhyUnavailable)
}

func TestTLSWithAPrivateAuthority(t *testing.T) {
	ca, cert, key := certtest.New(t)
	stranger, _, _ := certtest.New(t)
	s := prepare(t, freeAddr(t), "", fmt.Sprintf("tls { cert_file: %q, key_file: %q }", cert, key))
	s.run()
	for _, scheme := range []string{"tls", "nats"} {
		url := scheme + "://" + s.addr
		e := open(t, Options{Servers: []string{url}, TLS: trusting(t, ca), MaxSize: 64 << 20})
		put(t, e, len(scheme), false)
		if state := must(e.nc.TLSConnectionState()); !state.HandshakeComplete {
			t.Errorf("%s: the connection is not encrypted", url)
		}
		closeEngine(t, e)
		unhealthy(t, Options{Servers: []string{url}}, "not signed by a trusted authority")
		unhealthy(t, Options{Servers: []string{url}, TLS: trusting(t, stranger)}, "not signed by a trusted authority")
	}
	named := trusting(t, ca)
	named.ServerName = "nats.example.com"
	unhealthy(t, Options{Servers: []string{"tls://" + s.addr}, TLS: named}, "the TLS handshake with the NATS server fails")
}

func TestAServerWithoutTLS(t *testing.T) {
	ca, _, _ := certtest.New(t)
	s := start(t)
	unhealthy(t, Options{Servers: []string{s.url()}, TLS: trusting(t, ca)}, "does not offer TLS")
	unhealthy(t, Options{Servers: []string{"tls://user:hunter2@" + s.addr}}, "does not offer TLS")
}
