package nats

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
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

// TestAServerThatVerifiesClients restarts a server with another authority of clients:
// the connection comes back with the certificate of that time.
func TestAServerThatVerifiesClients(t *testing.T) {
	ca, cert, key := certtest.New(t)
	settings := func(clients string) string {
		return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, clients)
	}
	var clients []string
	var pairs []tls.Certificate
	for range 2 {
		authority, cert, key := certtest.New(t)
		clients, pairs = append(clients, authority), append(pairs, must(tls.LoadX509KeyPair(cert, key)))
	}
	s := prepare(t, freeAddr(t), "", settings(clients[0]))
	s.run()
	var now atomic.Pointer[tls.Certificate]
	now.Store(&pairs[0])
	config := trusting(t, ca)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if c := now.Load(); c != nil {
			return c, nil
		}
		return nil, errors.New("the test has none")
	}
	o := Options{Servers: []string{s.url()}, TLS: config, MaxSize: 64 << 20}
	e := open(t, o)
	put(t, e, 1, false)

	stranger := trusting(t, ca)
	stranger.Certificates = pairs[1:]
	unhealthy(t, Options{Servers: o.Servers, TLS: trusting(t, ca)}, "if it verifies the certificates of its clients, set cert and key")
	unhealthy(t, Options{Servers: o.Servers, TLS: stranger}, "if it verifies the certificates of its clients, check cert and key")

	s.kill()
	text := must(os.ReadFile(s.conf))
	text = bytes.ReplaceAll(text, []byte(settings(clients[0])), []byte(settings(clients[1])))
	if err := os.WriteFile(s.conf, text, 0o600); err != nil {
		t.Fatal(err)
	}
	now.Store(nil)
	s.run()
	until(t, "the health does not say why", func() bool { return strings.Contains(fmt.Sprint(e.Status().Health), "the test has none") })
	now.Store(&pairs[1])
	until(t, "the engine does not come back", func() bool { return e.Status().Health == nil })
	put(t, e, 2, false)
}

func TestAServerWithoutTLS(t *testing.T) {
	ca, _, _ := certtest.New(t)
	s := start(t)
	unhealthy(t, Options{Servers: []string{s.url()}, TLS: trusting(t, ca)}, "does not offer TLS")
	unhealthy(t, Options{Servers: []string{"tls://user:hunter2@" + s.addr}}, "does not offer TLS")
}
