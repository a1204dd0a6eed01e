package redis

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// marker is the secret that no error may contain.
const marker = "SECRET-MARKER"

// parse reads the lines of a store's block.
func parse(block string) (*Store, error) {
	s := new(Store)
	return s, s.UnmarshalCaddyfile(caddyfile.NewTestDispenser("redis {\n" + block + "\n}"))
}

func TestCaddyfile(t *testing.T) {
	for block, want := range map[string]string{
		"":                                      `{}`,
		"address a:1\nnamespace x":              `{"address":["a:1"],"namespace":"x"}`,
		"address a:1 b:2\nmode cluster":         `{"address":["a:1","b:2"],"mode":"cluster"}`,
		"mode standalone":                       `{"mode":"standalone"}`,
		"mode sentinel main":                    `{"mode":"sentinel","master":"main"}`,
		"username u\npassword {env.REDIS_TEST}": `{"username":"u","password":"{env.REDIS_TEST}"}`,
		"password " + marker:                    `{"password":"` + marker + `"}`,
		"db 3":                                  `{"db":3}`,
		"tls":                                   `{"tls":true}`,
		"tls /etc/ca.pem":                       `{"tls":true,"ca":"/etc/ca.pem"}`,
		"down degrade":                          `{"down":"degrade"}`,
		"down reject\naddress a:1\nnamespace prod": `{"address":["a:1"],"namespace":"prod","down":"reject"}`,
	} {
		s, err := parse(block)
		if err != nil {
			t.Errorf("%q: %v", block, err)
			continue
		}
		if got, err := json.Marshal(s); err != nil || string(got) != want {
			t.Errorf("%q became %s, %v, want %s", block, got, err, want)
		}
	}
}

func TestCaddyfileRefused(t *testing.T) {
	for block, want := range map[string]string{
		"address":                       "address: write address <host:port>...",
		"namespace":                     "namespace takes one argument, not 0: an unset {$VARIABLE} vanishes",
		"namespace a b":                 "namespace takes one argument, not 2",
		"mode":                          "mode: write",
		"mode sentinel a b":             "mode: write",
		"mode cluster " + marker:        "mode: write",
		"username":                      "username takes one argument, not 0",
		"password":                      "password takes one argument, not 0",
		"password " + marker + " x":     "password takes one argument, not 2",
		`password ""`:                   "password is empty: an unset {$VARIABLE} vanishes",
		`username ""`:                   "username is empty",
		"db":                            "db: write",
		"db " + marker:                  "db: write a number",
		"db -1":                         "db: write a number",
		"db 1 2":                        "db: write",
		"tls a b":                       "tls: write",
		"down":                          "down takes one argument",
		"down degrade\ndown reject":     "down is already set: remove one",
		"address a:1\naddress b:1":      "address is already set",
		"pasword x":                     "unknown option pasword: did you mean password?",
		marker:                          "it may be a secret",
		marker + " " + marker:           "it may be a secret",
		"password {\n" + marker + "\n}": "password takes one argument, not 0",
	} {
		_, err := parse(block)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", block, err, want)
		}
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Errorf("%q: the error repeats a secret: %v", block, err)
		}
	}
	if err := new(Store).UnmarshalCaddyfile(caddyfile.NewTestDispenser("redis " + marker)); err == nil || strings.Contains(err.Error(), marker) {
		t.Errorf("an argument: %v", err)
	}
}

// TestAdapt runs a complete Caddyfile as far as caddy validate does, without a
// server, and checks that no server was contacted.
func TestAdapt(t *testing.T) {
	t.Setenv("REDIS_TEST", marker)
	listener := listen(t)
	input := `{
		verify_webhook {
			store redis {
				address ` + listener.Addr().String() + `
				namespace production
				username gateway
				password {env.REDIS_TEST}
				db 2
				tls
				down reject
			}
			max_buffered 1MiB
		}
	}
	:8080 {
		verify_webhook github n9Wd4kTq2
	}`
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Apps struct {
			App json.RawMessage `json:"verify_webhook"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	want := `{"store":{"address":["` + listener.Addr().String() + `"],"db":2,"down":"reject","namespace":"production","password":"{env.REDIS_TEST}","store":"redis","tls":true,"username":"gateway"},"max_buffered":1048576}`
	if string(config.Apps.App) != want {
		t.Errorf("got  %s\nwant %s", config.Apps.App, want)
	}
	if bytes.Contains(adapted, []byte(marker)) {
		t.Error("the JSON holds the password")
	}
	if err := validate(adapted); err != nil {
		t.Error(err)
	}
	nobodyCalled(t, listener)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// nobodyCalled connects to l itself, and checks that it is the first.
func nobodyCalled(t *testing.T, l net.Listener) {
	t.Helper()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != ours.LocalAddr().String() {
		t.Error("something connected")
	}
}

// validate runs a configuration as far as caddy validate does.
func validate(config []byte) error {
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		return err
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	return caddy.Validate(&cfg)
}

// TestProvisionRefused: errors show at start, as part of the entire configuration,
// and contain neither password nor address.
func TestProvisionRefused(t *testing.T) {
	t.Setenv("REDIS_TEST", marker)
	t.Setenv("REDIS_TEST_EMPTY", "\n")
	garbage := filepath.ToSlash(filepath.Join(t.TempDir(), "garbage.pem"))
	if err := os.WriteFile(garbage, []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	const good = `"address":["localhost:1"],"namespace":"x"`
	for config, want := range map[string]string{
		`"namespace":"x"`:                                                      "store redis: no address (address <host:port>)",
		`"address":["localhost:1"]`:                                            "store redis: no namespace; one keeps staging and production",
		good + `,"mode":"` + marker + `"`:                                      "store redis: unknown mode: want standalone, sentinel or cluster",
		good + `,"mode":"sentinel"`:                                            "mode sentinel requires the name of the master",
		good + `,"master":"m"`:                                                 "only in mode sentinel",
		good + `,"mode":"cluster","db":1`:                                      "a cluster has only db 0",
		good + `,"down":"` + marker + `"`:                                      "store redis: down: write degrade or reject",
		good + `,"ca":"/nonexistent/ca.pem"`:                                   "store redis: tls: stat /nonexistent/ca.pem",
		good + `,"ca":"` + os.DevNull + `"`:                                    "store redis: tls: " + os.DevNull + ": not a regular file",
		good + `,"tls":true,"ca":"` + garbage + `"`:                            "no PEM certificate found",
		good + `,"password":"{env.REDIS_TEST_UNSET}"`:                          "store redis: password: the environment variable REDIS_TEST_UNSET is not set or empty",
		good + `,"password":"{env.REDIS_TEST_EMPTY}"`:                          "REDIS_TEST_EMPTY is not set or empty",
		good + `,"password":"` + marker + `{env.A}"`:                           "store redis: password: {env.A} must be the whole value",
		good + `,"password":"{file./nonexistent/pw}"`:                          "store redis: password: stat /nonexistent/pw",
		good + `,"password":""`:                                                "store.password: empty",
		good + `,"down":""`:                                                    "store.down: empty",
		good + `,"pasword":"` + marker + `"`:                                   "unknown field",
		`"address":["a:1","b:1"],"namespace":"x"`:                              "several addresses require mode sentinel <master> or mode cluster",
		`"namespace":"x","address":["redis://:` + marker + `@localhost:6379"]`: "an address is not host:port",
	} {
		err := validate([]byte(`{"apps":{"verify_webhook":{"store":{"store":"redis",` + config + `}}}}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", config, err, want)
		}
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Errorf("%s: the error repeats a secret: %v", config, err)
		}
	}
}

// provisioned returns a store of the given block.
func provisioned(t *testing.T, block string) *Store {
	t.Helper()
	s, err := parse(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestIdentity: a change of where deliveries are kept, or how the server is reached,
// makes another store; no password can be recovered from it.
func TestIdentity(t *testing.T) {
	t.Setenv("REDIS_TEST", marker)
	const good = "address a:1\nnamespace x\n"
	ca, _, _ := certtest.New(t)
	seen := make(map[string]string)
	for _, block := range []string{
		good, "address b:1\nnamespace x", "address a:1\nnamespace y", good + "mode sentinel m", good + "mode sentinel n", good + "mode cluster",
		good + "username u", good + "password " + marker, good + "password another", good + "username u\npassword " + marker,
		good + "db 1", good + "tls", good + "tls " + ca, good + "down reject",
	} {
		id := provisioned(t, block).Identity()
		if other, again := seen[id]; again {
			t.Errorf("%q and %q are one store", block, other)
		}
		seen[id] = block
		if strings.Contains(id, marker) || strings.Contains(id, "another") {
			t.Errorf("%q: the identity holds the password", block)
		}
	}
	if provisioned(t, good+"password {env.REDIS_TEST}").Identity() != provisioned(t, good+"password "+marker).Identity() {
		t.Error("the same password from elsewhere is another store")
	}
	t.Setenv("REDIS_TEST", "rotated")
	if provisioned(t, good+"password {env.REDIS_TEST}").Identity() == provisioned(t, good+"password "+marker).Identity() {
		t.Error("a rotated password is the same store: the old one would go on being used")
	}
}

func TestTLS(t *testing.T) {
	const good = "address a:1\nnamespace x\n"
	if s := provisioned(t, good); s.options.TLS != nil {
		t.Error("TLS unasked")
	}
	if s := provisioned(t, good+"tls"); s.options.TLS == nil || s.options.TLS.RootCAs != nil || s.options.TLS.InsecureSkipVerify {
		t.Error("tls alone trusts something else than the system's authorities")
	}
	ca, _, _ := certtest.New(t)
	data, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	want.AppendCertsFromPEM(data)
	if s := provisioned(t, good+"tls "+ca); s.options.TLS == nil || !s.options.TLS.RootCAs.Equal(want) {
		t.Error("the authority of the file is not the one that is trusted")
	}
	s := &Store{Address: []string{"a:1"}, Namespace: "x", CA: ca} // as in JSON
	if err := s.Provision(caddy.Context{}); err != nil || s.options.TLS == nil {
		t.Errorf("a CA without tls connects in plain text: %v", err)
	}
}

// open opens the store behind a gate.
func open(t *testing.T, s *Store) *dedupe.Gate {
	t.Helper()
	gate, err := s.Gate(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close(context.Background()) }) // the server may be gone
	return gate
}

// TestServer: two instances share a real server's data, and when it is gone each
// follows its configuration.
func TestServer(t *testing.T) {
	server := redistest.Start(t, "--requirepass", marker)
	block := "address " + server.Addr + "\nnamespace x\npassword " + marker + "\ndb 1\n"
	degrading, rejecting := open(t, provisioned(t, block)), open(t, provisioned(t, block+"down reject"))
	claim := func(g *dedupe.Gate, key string) dedupe.Decision {
		return g.Claim(t.Context(), dedupe.NewKey(key), dedupe.Terms{})
	}
	first := claim(degrading, "one")
	if first.Outcome != dedupe.Held {
		t.Fatalf("got %s", first.Outcome)
	}
	if d := claim(rejecting, "one"); d.Outcome != dedupe.Busy {
		t.Errorf("in flight at the other instance: %s", d.Outcome)
	}
	if _, err := rejecting.Forget(t.Context(), dedupe.NewKey("one")); err != dedupe.ErrInFlight {
		t.Errorf("forgotten in flight: %v", err)
	}
	first.Claim.Done(202)
	if d := claim(rejecting, "one"); d.Outcome != dedupe.Duplicate || d.Status != 202 {
		t.Errorf("done at the other instance: %s %d", d.Outcome, d.Status)
	}
	if found, err := rejecting.Forget(t.Context(), dedupe.NewKey("one")); !found || err != nil {
		t.Errorf("not forgotten: %v", err)
	}
	again := claim(degrading, "one")
	if again.Outcome != dedupe.Held {
		t.Fatalf("after forgetting: %s", again.Outcome)
	}
	again.Claim.Release()

	other := open(t, provisioned(t, strings.Replace(block, "namespace x", "namespace y", 1)))
	taken := claim(degrading, "two")
	taken.Claim.Done(200)
	if d := claim(other, "two"); d.Outcome != dedupe.Held {
		t.Errorf("another namespace: %s", d.Outcome)
	} else {
		d.Claim.Release()
	}

	server.Kill()
	if d := claim(rejecting, "three"); d.Outcome != dedupe.StoreDown {
		t.Errorf("down reject: %s", d.Outcome)
	}
	alone := claim(degrading, "three")
	if alone.Outcome != dedupe.Held {
		t.Fatalf("down degrade: %s", alone.Outcome)
	}
	alone.Claim.Done(200)
	if d := claim(degrading, "three"); d.Outcome != dedupe.Duplicate {
		t.Errorf("down degrade, a copy: %s", d.Outcome)
	}
}
