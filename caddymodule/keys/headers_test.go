package keys

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// requires is a handler that requires a header beside a signature.
func requires(name, value string) Config {
	header := []verifier.RequiredHeader{{Name: name, Values: verifier.StringList{value}}}
	return Config{
		Rules:  mustCompile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}, RequireHeader: header}),
		Secret: []Value{{Value: "9f31c0a2d47be586"}}, RequireHeader: header,
	}
}

// TestSecretHeaders: what a header of a secret must have is judged like a secret, and what
// any other header must have is not.
func TestSecretHeaders(t *testing.T) {
	for _, name := range []string{"Authorization", "authorization", "Proxy-Authorization", "X-Token", "X-Auth-Token", "X-AuthToken", "X-Webhook-Secret", "Password", "X-Api-Key", "X-Apikey", "Apikey"} {
		for _, value := range []string{"Bearer $TOKEN", "Bearer ", "Bearer abc", "Token changeme", "STRIPE_SECRET", "xxxxxxxx", "password1234", "whsec_<secret>", "Basic dXNlcjo=", "Basic dXNlcjpjaGFuZ2VtZQ==", "op://vault/item/field"} {
			if _, err := Open(requires(name, value)); err == nil || !strings.HasPrefix(err.Error(), "require_header "+name+": ") || strings.Contains(err.Error(), value) {
				t.Errorf("%s: %s: got %v, want an error with the option", name, value, err)
			}
			t.Setenv("HEADER_TEST", value)
			if _, err := Open(requires(name, "{env.HEADER_TEST}")); err == nil || !strings.Contains(err.Error(), "HEADER_TEST") {
				t.Errorf("%s: %s in a variable: got %v, want an error with its name", name, value, err)
			}
		}
		for _, value := range []string{"*", "Bearer 9f31c0a2d47be58690f1", "ApiKey 9f31c0a2d47be58690f1", "Basic dXNlcjo5ZjMxYzBhMmQ0N2JlNTg2OTBmMQ=="} {
			if warned := warnings(t, requires(name, value)); warned != nil {
				t.Errorf("%s: %s: warned of %q", name, value, warned)
			}
		}
	}
	for _, name := range []string{"User-Agent", "Content-Type", "X-Team", "X-Event-Key", "Idempotency-Key", "X-Tokens-Used", "X-Author", "X-Token-Type", "X-Signature-Method", "X-Monkey"} {
		for _, value := range []string{"*", "x", "test", "changeme", "STRIPE_SECRET", "application/json", "stripe.key", "true", "secret"} {
			if warned := warnings(t, requires(name, value)); warned != nil {
				t.Errorf("%s: %s: warned of %q", name, value, warned)
			}
		}
	}
}

// TestDoubtfulHeaders: what causes a warning as a secret does so as the value of a header.
func TestDoubtfulHeaders(t *testing.T) {
	const short, named = "a secret is short enough to be guessed", "a secret reads as the name of one"
	weak := write(t, "password1234567", t.TempDir(), "key")
	random := write(t, "9f31c0a2d47be58690f1\n90f1c3a5d7e9b826c0a2", t.TempDir(), "key")
	t.Setenv("HEADER_TEST", "ApiKey 9f31c0a2d47be58690f1")
	for value, want := range map[string]string{
		"Bearer 7g9qKz2": short, "7g9qKz2": short, "Basic dXNlcjo3Z3k=": short, "stripe-webhook-secret": named,
		"{file." + weak + "}": guessableFile, "{file." + random + "}": "", "{env.HEADER_TEST}": "",
	} {
		warned := warnings(t, requires("X-Webhook-Token", value))
		if len(warned) > 1 || strings.Join(warned, "") != "" != (want != "") || want != "" && !strings.HasPrefix(warned[0], want) {
			t.Errorf("%s: warned of %q, want %q", value, warned, want)
		}
	}
}

// TestAnyValueIsWrittenOut: a * in a file or variable lets no value pass. A file of it is
// as one that is missing, also while the gateway runs.
func TestAnyValueIsWrittenOut(t *testing.T) {
	t.Setenv("HEADER_TEST", "*")
	if _, err := Open(requires("X-Team", "{env.HEADER_TEST}")); err == nil || !strings.HasPrefix(err.Error(), "require_header X-Team {env.HEADER_TEST}: ") {
		t.Errorf("a variable: got %v, want an error with its name", err)
	}
	for name, text := range map[string]string{"alone": "*\n", "behind another": "blue\n*\n", "before another": "*\r\nblue"} {
		t.Run(name, func(t *testing.T) {
			path := write(t, text, t.TempDir(), "team")
			k, err := Open(requires("X-Team", "{file."+path+"}"))
			if err != nil || k.Snapshot() != nil || len(k.Problems()) != 1 {
				t.Fatalf("at start: got %v, want one problem and no snapshot", err)
			}
			write(t, "blue", path)
			refreshTwice(t, k)
			good := k.Snapshot()
			if good == nil || len(k.Problems()) != 0 {
				t.Fatalf("a good file: problems %q", k.Problems())
			}
			write(t, text, path)
			refreshTwice(t, k)
			if k.Snapshot() != good || len(k.Problems()) != 1 {
				t.Errorf("later: problems %q, want one and the last good value in use", k.Problems())
			}
		})
	}
}

// refreshTwice has a change count.
func refreshTwice(t *testing.T, k *Set) {
	t.Helper()
	for range 2 {
		if err := k.Refresh(); err != nil {
			t.Fatal(err)
		}
	}
}

// warnings opens the keys and returns what the log warns of, with the option once.
func warnings(t *testing.T, c Config) (warned []string) {
	t.Helper()
	core, logs := observer.New(zapcore.WarnLevel)
	c.Logger = zap.New(core)
	k, err := Open(c)
	if err != nil {
		return []string{err.Error()}
	}
	k.warnOfShort()
	k.warnOfDoubtful()
	for _, e := range logs.All() {
		warned = append(warned, e.Message)
		if of, _ := e.ContextMap()["keys"].([]any); !slices.Equal(of, []any{c.option()}) {
			t.Errorf("%s: of %v", e.Message, of)
		}
	}
	return warned
}

func (c Config) option() string { return "require_header " + c.RequireHeader[0].Name }
