package keys

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
	"pgregory.net/rapid"
)

func TestParseValue(t *testing.T) {
	for text, want := range map[string]struct {
		kind valueKind
		name string
		err  string // holds this; "" for none
	}{
		"{env.A_B}":             {envValue, "A_B", ""},
		"{file./run/a key}":     {fileValue, "/run/a key", ""},
		"{file.relative}":       {fileValue, "relative", ""},
		`{file.C:\keys\acme}`:   {fileValue, `C:\keys\acme`, ""},
		marker:                  {literalValue, "", ""},
		"{":                     {literalValue, "", ""},
		"a b{}c":                {literalValue, "", ""},
		"":                      {0, "", "empty: "},
		"{env.}":                {0, "", "{env.…} is not supported here"},
		"{http.request.host}":   {0, "", "{http.…} is not supported here"},
		"{http.vars.x}":         {0, "", "{http.…} is not supported here"},
		"{system.hostname}":     {0, "", "{system.…} is not supported here"},
		"{time.now}":            {0, "", "{time.…} is not supported here"},
		marker + "{env.A}":      {0, "", "{env.A} must be the whole value"},
		"{env.A}" + marker:      {0, "", "{env.A} must be the whole value"},
		"{env.A}{env.B}":        {0, "", "{env.A} must be the whole value"},
		" {file./a}":            {0, "", "{file./a} must be the whole value"},
		marker + "{http.a}":     {0, "", "{http.a} must be the whole value"},
		"{env." + "A}\n":        {0, "", "{env.A} must be the whole value"},
		"{vars." + "a" + "}":    {0, "", "{vars.…} is not supported here"},
		"{caddy.version_short}": {0, "", "{caddy.…} is not supported here"},
	} {
		kind, name, err := parseValue(text)
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) || strings.Contains(err.Error(), marker) {
				t.Errorf("%q: got the error %v, want one with %q", text, err, want.err)
			}
			continue
		}
		if err != nil || kind != want.kind || name != want.name {
			t.Errorf("%q: got %d %q %v, want %d %q", text, kind, name, err, want.kind, want.name)
		}
	}
}

// guessable lists what people leave in place of a value: names and placeholders that
// nothing replaces. Used as written, each would be a secret that anyone can guess.
// Secrets may be the value of a header, but are no secret.
func guessable(t testing.TB) (texts struct{ Values, Secrets []string }) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "guessable.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestGuessable: none of them is accepted as a flag or a store's password, directly
// or in a variable. Package caddymodule tests each option.
func TestGuessable(t *testing.T) {
	texts := guessable(t)
	for _, text := range append(texts.Values, texts.Secrets...) {
		if _, err := Resolve(text); err == nil || err.Error() == text {
			t.Errorf("%s is taken for a password", text)
		}
		t.Setenv("VALUES_TEST", text)
		if _, err := Resolve("{env.VALUES_TEST}"); err == nil || !strings.Contains(err.Error(), "VALUES_TEST") {
			t.Errorf("the variable holds %s, and it is taken for a password: %v", text, err)
		}
	}
	for _, text := range texts.Values {
		if err := CheckValue(text); err == nil {
			t.Errorf("%s is taken for a value", text)
		}
	}
	for _, text := range texts.Secrets {
		if err := CheckValue(text); err != nil {
			t.Errorf("%s is no value of a header: %v", text, err)
		}
	}
}

// TestGuessableKeys: bytes that are no random key, whatever they were decoded from.
func TestGuessableKeys(t *testing.T) {
	sequence := make([]byte, 32)
	for i := range sequence {
		sequence[i] = byte(3 - i)
	}
	for _, key := range []string{"", strings.Repeat("\x00", 32), strings.Repeat("\xa5", 32), strings.Repeat("\xde\xad\xbe\xef", 8), strings.Repeat("1234567", 5)[:32], string(sequence), "CHANGE_ME_TO_32_RANDOM_BYTES_NOW",
		"0123456789abcdef0123456789abcdef", "password1234password1234password", strings.Repeat("\x01\x23\x45\x67\x89\xab\xcd", 5)[:32],
	} {
		if err := CheckKey([]byte(key)); err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%q: %v, want an error with the remedy", key, err)
		}
	}
	for _, key := range []string{"9f31c0a2d47be58690f1c3a5d7e9b8264", "\x76\x92\xc3\xad\x35\x40\xbb\x80\x3c\x02\x0b\x3a\xee\x66\xcd\x88"} {
		if err := CheckKey([]byte(key)); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestShortcutsChangeNothing: what is checked before a slow expression is true of all that
// it matches.
func TestShortcutsChangeNothing(t *testing.T) {
	parts := rapid.SampledFrom(strings.Fields(`aws : / secrets kv/ keys/ projects/ localhost a x xx • … ... . { } $ ${ X_Y env file vault/ < > null
		undefined change me - _ __ 1 9f @ % ( ) [ ] com 10.0.0.1 = ~ # ENC[ A, PGP {{ }} **** :// op s3m: data getenv ' n/a k8s 1password python3 pwgen
		-----BEGIN + base64 secretref valuefrom tmp/ run/ <no value> <no` + "\n"))
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.OneOf(parts, rapid.SampledFrom([]string{" ", "\n"})), 1, 6).Draw(t, "parts"), "")
		bare := trimmed(text)
		for name, same := range map[string]bool{
			"masked":     masked.MatchString(text) == isMasked(text),
			"unreplaced": unreplaced.MatchString(text) == isUnreplaced(text),
			"unrendered": unrenderedText.MatchString(bare) == isUnrendered(text),
			"reference":  (reference.MatchString(text) || hostName.MatchString(text) || commandLine.MatchString(text) || inPlace.MatchString(text)) == isReference(text),
		} {
			if !same {
				t.Errorf("%s: %q", name, text)
			}
		}
	})
}

// TestMaskedSecrets: masked and shortened secrets, as dashboards and pages show them,
// are the same for everyone.
func TestMaskedSecrets(t *testing.T) {
	for _, text := range []string{"********", "whsec_****", "whsec_1a2b••••••••", "●●●●●●●●9f3c", "whsec_...", "whsec_…", "sk_live_4eC3…",
		"xxxxxxxx", "XXXX", "xxxx-xxxx-xxxx", "whsec_xxxx", "sk_live_xxxxxxxxxxxx", "1a2bxxxxxxxx9f3c", "aaaaaaaa", "whsec_00000000", "xxx", "whsec_1a2b...9f3c", "1a2b…9f3c",
	} {
		if err := checkLiteral(text); err == nil || !strings.Contains(err.Error(), "copy all of it") {
			t.Errorf("%s: got %v, want an error with the remedy", text, err)
		}
	}
	for _, text := range []string{
		`"9f31c0a2"`, `"a`, `a"`, "(9f31c0)", "secrets-9f.31", "config.9f31", "<9f31c0>", "@9f31c0", "/9f31c0/aB", "kv/9F31c0", "passw0rd:9f31c0", "a/b.c", "%%9f%%31", "Ref:x", "9f31(x)", "envy:9f31",
		"a*b**c", "...a", "pa$$w0rd-9f31c0", "pa$word", "$1", "Xx1xxX2xxx", "a_b$c", "$ecret$auce", "%!x9f31c0", "aab", "whsec_aab", "None-of-your-9-tails", "`half", "9f$AB", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		if err := checkLiteral(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestRandomSecretsAreTaken: random bytes, in any encoding and with senders'
// prefixes, are neither a name, a reference, nor weak.
func TestRandomSecretsAreTaken(t *testing.T) {
	const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	random := rand.New(rand.NewPCG(1, 2))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	letters := func(alphabet string) func(n int) string {
		return func(n int) string {
			b := bytesOf(n)
			for i := range b {
				b[i] = alphabet[random.IntN(len(alphabet))]
			}
			return string(b)
		}
	}
	shortest := map[string]int{"with symbols": 4} // $AB$C1 reads as two variables
	alphabets := map[string]func(n int) string{
		"hex":             func(n int) string { return hex.EncodeToString(bytesOf(n / 2)) },
		"hexadecimal":     letters("0123456789ABCDEF"),
		"base32":          letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
		"base62":          letters(base62),
		"base64":          func(n int) string { return base64.StdEncoding.EncodeToString(bytesOf(n * 3 / 4)) },
		"base64, for URL": func(n int) string { return base64.RawURLEncoding.EncodeToString(bytesOf(n * 3 / 4)) },
		"with symbols":    letters(base62 + "!@#$%^&*-_+="),
		"uuid": func(int) string {
			b := bytesOf(16)
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		},
	}
	for _, name := range slices.Sorted(maps.Keys(alphabets)) {
		for i := range 2000 {
			text := []string{"", "", "whsec_", "sk_live_", "key-", "Bearer "}[i%6] + alphabets[name](shortest[name]+12+i%6*4)
			if err := errors.Join(checkLiteral(text), checkSecret(text)); err != nil {
				t.Errorf("%s: %q: %v", name, text, err)
			}
		}
	}
}

// TestSecretsOfTheVectors: of all secrets in senders' documents and tests, only those
// that read as a name are refused for what they are, and only those that nobody drew
// at random are weak.
func TestSecretsOfTheVectors(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	var refused, weak []string
	for _, p := range all {
		for _, v := range slices.Concat(p.Vectors, p.HandshakeVectors) {
			if looksRandom.MatchString(v.Secret) && isWeak(bareSecret(v.Secret)) {
				weak = append(weak, v.Secret)
			}
			if v.Secret == "" || v.Expect != providers.Genuine && v.Expect != "handshake" {
				continue
			}
			if kind, _, err := parseValue(v.Secret); err != nil || kind != literalValue || checkLiteral(v.Secret) != nil {
				refused = append(refused, v.Secret)
			}
		}
		if secret := p.ExampleSecret(); secret != "" && checkLiteral(secret) != nil {
			t.Errorf("%s: the page's example %q is refused", p.ID, secret)
		}
	}
	slices.Sort(refused)
	refused = slices.Compact(refused)
	if want := []string{"AKIAXXXXXXXX", "EXAMPLE_KEY", "SECRET", "SamplePrimaryKey", "SampleSecondaryKey", "TEST_KEY", "integration_private_key", "secret", "test_signature_key", "whsec_test_secret"}; !slices.Equal(refused, want) {
		t.Errorf("refused: %q, want %q", refused, want)
	}
	slices.Sort(weak)
	weak = slices.Compact(weak)
	if want := []string{
		"6368616e67652d6d652d706c656173652d736563726574", "_ABC123abc123ABC123abc123ABC123_", "a8b7c6d5e4f30211",
		"f0e1d2c3b4a5968778695a4b3c2d1e0f", "q1w2e3r4t5y6u7i8o9p0", "q1w2e3r4t5y6u7i8o9p1", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}; !slices.Equal(weak, want) {
		t.Errorf("weak: %q, want %q", weak, want)
	}
}

// looksRandom matches secrets of digits and letters among each other.
var looksRandom = regexp.MustCompile(`^(whsec_)?[A-Za-z0-9+/=_-]*([0-9][A-Za-z][A-Za-z0-9+/=_-]*){3,}$`)

// TestLiteralsWithBraces: a generated secret may contain any character, and a file or
// variable accepts what looks like a name.
func TestLiteralsWithBraces(t *testing.T) {
	for _, text := range []string{"a{b}c", "{}", "}{", "pa$word", "100%", "a{1}b", "x<y", "$1", `{"kty":"OKP"}`, "k{;:q.}", "a}b{c", "envelope.x", "profile./x", "50% off%", "%!x9f31c0", "$", "${", "pa$$w0rd-9f31c0", "whsec_abc", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"} {
		if kind, _, err := parseValue(text); err != nil || kind != literalValue {
			t.Errorf("%s: %d, %v", text, kind, err)
		}
	}
	path := write(t, "{vault.x}", t.TempDir(), "key")
	if got, err := Resolve("{file." + path + "}"); err != nil || got != "{vault.x}" {
		t.Errorf("in a file: got %q, %v", got, err)
	}
}

// TestPlaceholderDefault: the text after the name may be the secret itself.
func TestPlaceholderDefault(t *testing.T) {
	for _, text := range []string{"{env.X:" + marker + "}", "{env.X=" + marker + "}", "{env.X:-" + marker + "}", "{env." + marker + "@{x}}", "{file./" + marker + "!{x}"} {
		_, _, err := parseValue(text)
		if err == nil || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, text := range []string{"{env.A}", "{file./a}", "a{env.B}c", "{http.x}", "", "{env.}", "\n{file.}", marker} {
		f.Add(text)
	}
	for _, text := range guessable(f).Values {
		f.Add(text)
		f.Add(marker + text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kind, name, err := parseValue(text)
		switch {
		case err != nil:
			if kind != 0 || name != "" {
				t.Errorf("%q: an error and %d %q", text, kind, name)
			}
		case kind == literalValue:
			for _, begins := range []string{"{env.", "{file.", "{http."} {
				if text == "" || strings.Contains(text, begins) || placeholder.MatchString(text) {
					t.Errorf("%q is taken as it is", text)
				}
			}
			for _, wrapped := range []string{"{" + text + "}", "{file./" + text + "}}", "{" + text + "{env.A}"} {
				if kind, name, err := parseValue(wrapped); err == nil && kind == envValue || kind == fileValue && strings.ContainsAny(name, "{}") {
					t.Errorf("%q is read as %d %q", wrapped, kind, name)
				}
			}
		case text != "{env."+name+"}" && text != "{file."+name+"}" || name == "" || strings.ContainsAny(name, "{}"):
			t.Errorf("%q: read as %d %q, which is something else", text, kind, name)
		}
	})
}

func TestReadEnv(t *testing.T) {
	for value, want := range map[string]string{
		"text": "text", "text\n": "text", "text\r\n": "text", " te xt ": " te xt ", "a\nb\n": "a\nb", `{"kty":"OKP"}`: `{"kty":"OKP"}`,
	} {
		t.Setenv("VALUES_TEST", value)
		if got, err := readEnv("VALUES_TEST", false); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{"", "\n", "\r\n\n"} {
		t.Setenv("VALUES_TEST", value)
		if _, err := readEnv("VALUES_TEST", false); err == nil || !strings.Contains(err.Error(), "VALUES_TEST") {
			t.Errorf("%q: got %v, want an error with the variable's name", value, err)
		}
	}
	if _, err := readEnv("VALUES_TEST_UNSET", false); err == nil || !strings.Contains(err.Error(), "VALUES_TEST_UNSET") {
		t.Errorf("unset: got %v", err)
	}
}

func write(t testing.TB, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain": "text", "newline": "text\n", "crlf": "text\r\n", "lines": "a\r\nb\n", "spaces": " text ",
		"empty": "", "only-newlines": "\r\n\n",
		"largest": strings.Repeat("x", maxKeyFile), "too-large": strings.Repeat("x", maxKeyFile+1),
		"keys/b": "two\n", "keys/a": "one", "keys/.hidden": marker, "keys/..data/a": marker,
		"dots/.only": marker, "nested/sub/key": marker, "partly/a": "one", "partly/b": "",
	} {
		write(t, text, dir, name)
	}
	for i := range maxEntries + 1 {
		write(t, "text", dir, "too-many", strconv.Itoa(i))
		if i > 0 {
			write(t, "text", dir, "most", strconv.Itoa(i))
		}
	}
	if all, _, err := readFiles(filepath.Join(dir, "most")); err != nil || len(all) != maxEntries {
		t.Errorf("%d files: %v", len(all), err)
	}
	if err := os.Symlink("plain", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]labelled{
		"plain": {{text: "text"}}, "newline": {{text: "text"}}, "crlf": {{text: "text"}}, "lines": {{text: "a\r\nb"}},
		"spaces": {{text: " text "}}, "link": {{text: "text"}}, "largest": {{text: strings.Repeat("x", maxKeyFile)}},
		"keys": {{label: "a", text: "one"}, {label: "b", text: "two"}},
	} {
		if got, _, err := readFiles(filepath.Join(dir, name)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %.60v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"missing": "missing", "empty": "the file is empty", "only-newlines": "the file is empty", "too-large": "65537 bytes",
		"dots": "no key file", "none": "no key file", "nested": "not a regular file", "partly": "the file is empty",
		"too-many": "more than 64 files",
	} {
		got, _, err := readFiles(filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) || got != nil {
			t.Errorf("%s: got %v, %v, want an error with the path and %q", name, got, err, want)
		}
	}
}

// TestDefaultsAreNotQuoted: the text after a variable's name may be the secret.
func TestDefaultsAreNotQuoted(t *testing.T) {
	for _, separator := range []string{":", "=", ":-", "|", "?", ",", ";", " ", "\t"} {
		err := CheckValue("{env.ACME" + separator + "s3cr3t}")
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "{env.ACME}") {
			t.Errorf("%q: %v", separator, err)
		}
	}
}
