package nats

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ block, want string }{ // want "": accepted
		{"url nats://nats-1:4222 tls://nats-2:4222\nstream hooks\nreplicas 3\nmax_size 2GiB\nconcurrency 4", ""},
		{"url nats://127.0.0.1:4222", ""},
		{"", "url: missing"},
		{"stream hooks", "url: missing"},
		{"url", "url: 0 arguments"},
		{"url nats-1:4222", "write nats://HOST:4222"},
		{"url s3cr3t-of-the-server", "not repeated here"},
		{"url nats://x:4222\nurl nats://y:4222", "already set"},
		{"url nats://x:4222\nreplicas 2", "write 1, 3 or 5"},
		{"url nats://x:4222\nreplicas none", "positive number"},
		{"url nats://x:4222\nstream a.b", "stream: write"},
		{"url nats://x:4222\nstream a b", "stream: 2 arguments"},
		{"url nats://x:4222\nmax_size 0", "positive size"},
		{"url nats://x:4222\ncredentials /nowhere/at.creds", "credentials: stat /nowhere/at.creds"},
		{"url nats://x:4222\ncredentials " + os.DevNull, "credentials: " + os.DevNull + ": not a regular file"},
		{"url nats://x:4222\nca /nowhere/ca.pem", "ca: stat /nowhere/ca.pem"},
		{"url nats://x:4222\nca nats.go", "ca: nats.go: no PEM certificate found"},
		{"url nats://x:4222\nca", "ca: 0 arguments"},
		{"url nats://x:4222\ncert nats.go", "cert and key: write both"},
		{"url nats://x:4222\nkey nats.go", "cert and key: write both"},
		{"url nats://x:4222\ncert /nowhere/cert.pem\nkey nats.go", "cert: stat /nowhere/cert.pem"},
		{"url nats://x:4222\ncert nats.go\nkey /nowhere/key.pem", "key: stat /nowhere/key.pem"},
		{"url nats://x:4222\ncert nats.go\nkey nats_test.go", "cert nats.go, key nats_test.go: tls: failed to find any PEM data"},
		{"url nats://x:4222\ncert a b\nkey c", "cert: 2 arguments"},
		{"url nats://x:4222\nstreem hooks", "did you mean stream?"},
		{"s3cr3t-of-the-server", "not repeated here"},
	} {
		i := new(Inbox)
		err := i.UnmarshalCaddyfile(caddyfile.NewTestDispenser("nats {\n" + tc.block + "\n}"))
		if err == nil {
			err = i.Provision(caddy.Context{})
		}
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%q: %v", tc.block, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%q: the error is %v, want %q", tc.block, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("%q: the error quotes what may be a secret: %v", tc.block, err)
		}
	}
}

// TestIdentity: each option of the connection makes another inbox, so that the next
// configuration connects as it says. The others change an open one.
func TestIdentity(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, i := range []Inbox{
		{URL: []string{"nats://a"}}, {URL: []string{"nats://b"}}, {URL: []string{"nats://a"}, Stream: "s"},
		{URL: []string{"nats://a"}, Credentials: "c"}, {URL: []string{"nats://a"}, CA: "c"},
		{URL: []string{"nats://a"}, Cert: "c", Key: "k"}, {URL: []string{"nats://a"}, Cert: "c", Key: "other"},
	} {
		if id := i.Identity(); seen[id] {
			t.Errorf("%+v has the identity of another one", i)
		} else {
			seen[id] = true
		}
	}
	adjusted := Inbox{URL: []string{"nats://a"}, Replicas: new(3), MaxSize: new(int64(1)), Concurrency: new(1)}
	if !seen[adjusted.Identity()] {
		t.Error("options that an open inbox can change make another one")
	}
}

// TestAZeroIsNotTheDefault: in JSON a zero is an error, as in the Caddyfile.
func TestAZeroIsNotTheDefault(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"replicas", "max_size", "concurrency"} {
		i := new(Inbox)
		if err := json.Unmarshal([]byte(`{"url":["nats://x:4222"],"`+field+`":0}`), i); err != nil {
			t.Fatal(err)
		}
		if err := i.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), field+": 0: write") {
			t.Errorf("%s: 0: %v", field, err)
		}
	}
}

// TestCA: the authorities of the file, and no others, are trusted; a file whose content
// changed makes another inbox.
func TestCA(t *testing.T) {
	t.Parallel()
	ca, cert, key := certtest.New(t)
	stranger, _, _ := certtest.New(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(ca string) error {
		address, handshake := serve(t, &tls.Config{Certificates: []tls.Certificate{pair}})
		i := &Inbox{URL: []string{"nats://" + address}, CA: ca}
		if err := i.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		engine, err := i.Engine(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close(t.Context())
		return <-handshake
	}
	if err := connect(ca); err != nil {
		t.Errorf("the authority is not trusted: %v", err)
	}
	if err := connect(stranger); err == nil {
		t.Error("another authority is trusted")
	}

	i := &Inbox{URL: []string{"nats://a"}, CA: ca}
	var before string
	for _, content := range []string{ca, stranger} {
		data, err := os.ReadFile(content)
		if err == nil {
			err = os.WriteFile(ca, data, 0o600)
		}
		if err == nil {
			err = i.Provision(caddy.Context{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if i.Identity() == before {
			t.Error("a file with other authorities makes the same inbox")
		}
		before = i.Identity()
	}
}

// TestClientCertificate: a server that verifies clients gets the certificate of the files
// as they are at that time; the reading of a pair that is being replaced fails, and names
// the files.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	ca, cert, key := certtest.New(t)
	server, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	_, mine, mineKey := certtest.New(t)
	i := &Inbox{CA: ca, Cert: mine, Key: mineKey}
	connect := func(clients string) error {
		pool, _, err := configfile.Authorities(clients)
		if err != nil {
			t.Fatal(err)
		}
		address, handshake := serve(t, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		i.URL = []string{"nats://" + address}
		if i.tls == nil { // as a start does; what is renewed later needs no reload
			if err := i.Provision(caddy.Context{}); err != nil {
				t.Fatal(err)
			}
		}
		engine, err := i.Engine(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close(t.Context())
		return <-handshake
	}
	if err := connect(filepath.Join(filepath.Dir(mine), "ca.pem")); err != nil {
		t.Errorf("the certificate is not presented: %v", err)
	}
	i.URL = []string{"nats://a"}
	before := i.Identity()
	renewedCA, renewed, renewedKey := certtest.New(t)
	for from, to := range map[string]string{renewed: mine, renewedKey: mineKey} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := connect(renewedCA); err != nil {
		t.Errorf("the renewed certificate is not presented: %v", err)
	}
	i.URL = []string{"nats://a"}
	if err := i.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	if i.Identity() != before {
		t.Error("a renewed certificate makes another inbox")
	}
	i.Key = key
	if _, err := i.clientCertificate(nil); err == nil || !strings.Contains(err.Error(), mine) || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("a pair that does not match: %v", err)
	}
}

// serve greets one connection as a NATS server that has TLS, and sends how the handshake
// ended.
func serve(t *testing.T, config *tls.Config) (address string, handshake <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	ended := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			defer conn.Close()
			fmt.Fprint(conn, "INFO {\"server_id\":\"test\",\"version\":\"2.11.0\",\"max_payload\":1048576,\"tls_available\":true}\r\n")
			err = tls.Server(conn, config).Handshake()
		}
		ended <- err
	}()
	return listener.Addr().String(), ended
}
