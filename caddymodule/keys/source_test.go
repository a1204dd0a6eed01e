package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestHalfWrittenFile: an editor, scp or a shell script empties a file and fills it
// in steps. No intermediate state becomes a key; the last good one is kept.
func TestHalfWrittenFile(t *testing.T) {
	path := write(t, "the-first-secret", t.TempDir(), "key")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	r.mustRefresh(t)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	written := ""
	for _, part := range []string{"", "t", "he-", "second", "-secret"} {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
		written += part
		r.mustRefresh(t)
		if r.keyOf(t, "the-first-secret") == "" || written != "" && r.keyOf(t, written) != "" {
			t.Errorf("a file that holds %d bytes so far is a key", len(written))
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.mustRefresh(t)
	if r.keyOf(t, "the-second-secret") == "" || r.keyOf(t, "the-first-secret") != "" {
		t.Error("the whole secret is not in use after two looks")
	}
}

// TestStalledWriter: one byte is not a secret, however long it remains.
func TestStalledWriter(t *testing.T) {
	path := write(t, "the-first-secret", t.TempDir(), "key")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	r.mustRefresh(t)
	for _, text := range []string{"b", "whsec_"} {
		write(t, text, path)
		for range 5 {
			r.mustRefresh(t)
		}
		if r.keyOf(t, "the-first-secret") == "" || r.keyOf(t, text) != "" {
			t.Errorf("%q is a key", text)
		}
	}
	if problems := r.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "only a prefix") {
		t.Errorf("the status says %q", problems)
	}
}

// TestChangedKeysAreNamed: the log line of a rotation names the keys in use.
func TestChangedKeysAreNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, "the-first-secret", dir, "keys", "previous")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + filepath.Join(dir, "keys") + "}"})
	r.mustRefresh(t)
	write(t, "the-second-secret", dir, "keys", "current")
	r.mustRefresh(t)
	r.mustRefresh(t)
	logged := r.logs.FilterMessage("keys changed and are in use").All()
	if len(logged) != 1 {
		t.Fatalf("logged %d times", len(logged))
	}
	if got := logged[0].ContextMap()["keys"].([]any); !slices.Equal(got, []any{"current", "previous"}) {
		t.Errorf("names %v", got)
	}
	if got := some(make([]string, 1000)); len(got) != 33 || got[32] != "and 968 more" {
		t.Errorf("a thousand labels: %d, %s", len(got), got[len(got)-1])
	}
}

// TestManyKeysOfAFolder: each forged delivery is compared with all keys, so a folder
// that fills up leaves the last good ones in use.
func TestManyKeysOfAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	write(t, "the-first-secret", dir, "current")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + dir + "}"})
	r.mustRefresh(t)
	lines := ""
	for i := range maxLines {
		lines += fmt.Sprintf("secret-of-line-%d\n", i)
	}
	for i := range maxCompared / maxLines {
		write(t, lines, dir, strconv.Itoa(i))
	}
	r.mustRefresh(t)
	r.mustRefresh(t)
	if problems := r.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "more than 64 keys") || len(r.Current().Keys) != 1 {
		t.Errorf("%d keys, %q", len(r.Current().Keys), problems)
	}
}

func TestOpenKeyFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files have the same mode there")
	}
	for name, tc := range map[string]struct {
		file, dir os.FileMode
		level     zapcore.Level
		want      string
	}{
		"the owner's":               {0o600, 0o700, 0, ""},
		"a group's":                 {0o660, 0o770, 0, ""},
		"readable by all":           {0o644, 0o755, zapcore.InfoLevel, "is readable by every user"},
		"writable by all":           {0o666, 0o755, zapcore.WarnLevel, "is writable by every user"},
		"in a folder of everyone's": {0o600, 0o777, zapcore.WarnLevel, "is writable by every user"},
		"in a folder like /tmp":     {0o600, 0o777 | os.ModeSticky, zapcore.WarnLevel, "is writable by every user"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "keys")
			path := write(t, "a-secret-of-some-length", dir, "key")
			if err := os.Chmod(path, tc.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, tc.dir); err != nil {
				t.Fatal(err)
			}
			r := newTestSet(verifier.Scheme{})
			r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + dir + "}"})
			for range 3 {
				r.mustRefresh(t)
			}
			logged := r.logs.FilterMessage("key file is accessible to other users").All()
			if tc.want == "" && len(logged) == 0 {
				return
			}
			if len(logged) != 1 || logged[0].Level != tc.level || !strings.Contains(logged[0].ContextMap()["problem"].(string), tc.want) {
				t.Errorf("logged %v, want one %s with %q", logged, tc.level, tc.want)
			}
		})
	}
}

// TestShortSecrets: a secret short enough to be guessed causes one warning, with its
// label, when it is first used. NIST SP 800-131A Rev. 2 §10: 112 bits.
func TestShortSecrets(t *testing.T) {
	const warning = "a secret is short enough to be guessed"
	scheme := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}
	inHex, ed25519 := scheme, scheme
	inHex.SecretEncoding, ed25519.Algorithm = "hex", verifier.Ed25519
	secrets := func(texts ...string) Config {
		c := Config{Rules: mustCompile(scheme)}
		for _, text := range texts {
			c.Secret = append(c.Secret, Value{Value: text})
		}
		return c
	}
	labelled, hex, signs := secrets("13-bytes-long", "S1", "14-bytes-long."), secrets("7f1d9c25e08ab36c4e7092d1b5"), secrets("14-bytes-long.")
	labelled.Secret[1].Label = "old"
	hex.Rules = mustCompile(inHex)
	signs.SignUpstream = "c2hvcnQ="
	public := secrets()
	public.Rules = mustCompile(ed25519)
	public.PublicKey = []Value{{Value: "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}}
	for _, tc := range []struct {
		config Config
		want   []any
	}{
		{secrets("x"), []any{"1"}},
		{labelled, []any{"1", "old"}},
		{secrets("14-bytes-long.", "9f31c0a2d47be58690f1c3a5d7e9b826"), nil},
		{hex, []any{"1"}},
		{signs, []any{"sign_upstream"}},
		{public, nil},
	} {
		core, logs := observer.New(zapcore.DebugLevel)
		tc.config.Logger = zap.New(core)
		k, err := Open(tc.config)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // at each read
			k.warnOfShort()
		}
		var got []any
		for _, e := range logs.All() {
			if strings.HasPrefix(e.Message, warning) {
				got = append(got, e.ContextMap()["keys"].([]any)...)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v: warned of %v, want %v", tc.config.Secret, got, tc.want)
		}
	}
}

// TestSpokenNames: a few descriptive words, or what may be a reference of Terraform, may be
// a passphrase, or the name of the secret in place of its value. They are accepted with one warning.
func TestSpokenNames(t *testing.T) {
	const warning = "a secret reads as the name of one"
	scheme := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}
	path := write(t, "github webhook token", t.TempDir(), "key")
	c := Config{Rules: mustCompile(scheme), SignUpstream: "c2hvcnQ=", Secret: []Value{
		{Value: "stripe-webhook-secret"}, {Value: "9f31c0a2d47be586"}, {Value: "My signing key", Label: "old"}, {Value: "{file." + path + "}"},
		{Value: "violet-anchor-maple-thirteen"}, {Value: "a-b-c-d-e-f-secret"}, {Value: "acme-9f31c0-secret"},
		{Value: "acme_webhook.orders_hook.signing_hash"}, {Value: "violet_anchor.9f31c0.maple"},
	}}
	core, logs := observer.New(zapcore.DebugLevel)
	c.Logger = zap.New(core)
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // at each read
		k.warnOfDoubtful()
	}
	var got []any
	for _, e := range logs.All() {
		if strings.HasPrefix(e.Message, warning) {
			got = append(got, e.ContextMap()["keys"].([]any)...)
		}
	}
	if want := []any{"1", "old", "4", "8"}; !slices.Equal(got, want) {
		t.Errorf("warned of %v, want %v", got, want)
	}
}
