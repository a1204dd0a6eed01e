package keys

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

const (
	lineOne = "9f31c0a2d47be58690f1c3a5d7e9b826"
	lineTwo = "b7e2084dc9156fa3e1d80c47a92f65b3"
)

// TestSeveralLines: each line is a key, in a file, a variable and a configuration
// alike.
func TestSeveralLines(t *testing.T) {
	for name, text := range map[string]string{
		"two": lineOne + "\n" + lineTwo, "newline at the end": lineOne + "\n" + lineTwo + "\n", "Windows": lineOne + "\r\n" + lineTwo + "\r\n", "old Mac": lineOne + "\r" + lineTwo,
		"blank lines": "\n" + lineOne + "\n \n\n" + lineTwo + "\n\n",
	} {
		path := write(t, text, t.TempDir(), "key")
		t.Setenv("LINES_TEST", text)
		for _, value := range []string{"{file." + path + "}", "{env.LINES_TEST}", text} {
			r := newTestSet(verifier.Scheme{})
			r.mustAdd(t, "secret", useSecret, "", Value{Value: value})
			r.mustRefresh(t)
			if one, two := r.keyOf(t, lineOne), r.keyOf(t, lineTwo); one != "1" || two != "1/2" {
				t.Errorf("%s, %.6s…: labels %q, %q", name, value, one, two)
			}
			if r.keyOf(t, strings.TrimRight(text, "\r\n")) != "" {
				t.Errorf("%s, %.6s…: the lines together are a key", name, value)
			}
		}
	}
}

// TestLabelsOfLines: the first line keeps the label of a file with one key.
func TestLabelsOfLines(t *testing.T) {
	dir := t.TempDir()
	write(t, lineOne, dir, "a")
	write(t, lineOne+"x\n"+lineTwo, dir, "b")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + dir + "}"})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + dir + "/b}", Label: "current"})
	r.mustRefresh(t)
	if got := r.Labels(); !slices.Equal(got, []string{"a", "b", "b/2", "current", "current/2"}) {
		t.Errorf("%q", got)
	}
}

// TestRotationByLine: a second line is added, and the first removed, without a reload.
func TestRotationByLine(t *testing.T) {
	path := write(t, lineOne+"\n", t.TempDir(), "key")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	for _, step := range []struct {
		text     string
		one, two bool
	}{
		{lineOne + "\n", true, false},
		{lineOne + "\n" + lineTwo + "\n", true, true},
		{lineOne + "\n" + lineTwo[:7], true, true}, // damaged: the last keys stay
		{lineOne + "\n# " + lineTwo, true, true},
		{lineTwo + "\n", false, true},
	} {
		write(t, step.text, path)
		for range 3 {
			r.mustRefresh(t)
		}
		if one, two := r.keyOf(t, lineOne) != "", r.keyOf(t, lineTwo) != ""; one != step.one || two != step.two {
			t.Errorf("%q: the keys are %t, %t", step.text, one, two)
		}
	}
}

// TestHalfALine: a writer that does not rename is not reported while it writes.
func TestHalfALine(t *testing.T) {
	path := write(t, lineOne, t.TempDir(), "key")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	r.mustRefresh(t)
	for _, text := range []string{lineOne + "\nb", lineOne + "\n" + lineTwo} {
		write(t, text, path)
		r.mustRefresh(t)
	}
	r.mustRefresh(t)
	if r.failures != 0 || r.keyOf(t, lineTwo) == "" {
		t.Errorf("%d failures, %q", r.failures, r.messages())
	}
}

// TestWholeTexts: texts of several lines that are one key.
func TestWholeTexts(t *testing.T) {
	const public = "MCowBQYDK2VwAyEAyOVmjMpCEHJN+ErbnfmNIxG6ikFz9sEc/QNUgWkuVjs="
	der, _ := base64.StdEncoding.DecodeString(public)
	block := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	wrapped := base64.StdEncoding.EncodeToString([]byte(block))
	const other = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	for name, c := range map[string]struct {
		text string
		keys int
	}{
		"PEM":                   {block, 1},
		"base64 of a PEM":       {wrapped[:64] + "\n" + wrapped[64:128] + "\n" + wrapped[128:], 1},
		"bare, wrapped":         {public[:40] + "\n" + public[40:], 1},
		"JSON Web Key":          {"{\n\"kty\":\"OKP\",\n\"crv\":\"Ed25519\",\n\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"\n}", 1},
		"two bare keys":         {public + "\n" + other, 2},
		"two JSON Web Keys":     {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}` + "\n" + `{"kty":"OKP","crv":"Ed25519","x":"yOVmjMpCEHJN-ErbnfmNIxG6ikFz9sEc_QNUgWkuVjs"}`, 2},
		"one, and a blank line": {other + "\n\n", 1},
	} {
		r := newTestSet(verifier.Scheme{Algorithm: verifier.Ed25519})
		r.mustAdd(t, "public_key", usePublicKey, "", Value{Value: "{file." + write(t, c.text, t.TempDir(), "key") + "}"})
		r.mustRefresh(t)
		if got := r.Labels(); len(got) != c.keys {
			t.Errorf("%s: keys %q, %q", name, got, r.Problems())
		}
	}
	secret := strings.Repeat("4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue", 3)
	for _, rest := range []string{"ZQ==", "ZQ", "m7Wd2KfXr9TqLz4Vy0Hb"} { // as openssl rand -base64 49 and 63 wrap it
		r := newTestSet(verifier.Scheme{SecretEncoding: "base64"})
		r.mustAdd(t, "secret", useSecret, "", Value{Value: secret[:64] + "\n" + rest})
		r.mustRefresh(t)
		if got := r.Labels(); len(got) != 1 || r.Current().Keys[0].Text != secret[:64]+rest {
			t.Errorf("wrapped base64, %s: %q", rest, got)
		}
	}
}

// TestOneKeyOrSeveral: a rest of wrapped base64 that is long enough to be a key is not
// joined to the line above it. The last good key stays in use.
func TestOneKeyOrSeveral(t *testing.T) {
	key := strings.Repeat("4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue", 2) // 64 characters, 48 bytes
	for name, text := range map[string]string{
		"rotation":                 key + "\nm7Wd2KfXr9TqLz4Vy0HbN5cJgP8sAe8Q1mVtL7cRy2E=\n",
		"openssl rand -base64 64":  key + "\nm7Wd2KfXr9TqLz4Vy0HbNg==\n",
		"openssl rand -base64 72":  key + "\nm7Wd2KfXr9TqLz4Vy0HbN5cJgP8sAe8Q\n",
		"without padding":          key + "\nm7Wd2KfXr9TqLz4Vy0HbNg",
		"base64 of 73 bytes, GNU":  key + "m7Wd2KfXr9Tq\nm7Wd2KfXr9TqLz4Vy0HbNg==",
		"openssl rand -base64 112": key + "\n" + key + "\nm7Wd2KfXr9TqLz4Vy0HbNg==",
	} {
		path := write(t, key, t.TempDir(), "key")
		r := newTestSet(verifier.Scheme{SecretEncoding: "base64"})
		r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
		r.mustRefresh(t)
		write(t, text, path)
		for range 3 {
			r.mustRefresh(t)
		}
		if problems := r.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "openssl rand -base64 -A") || len(r.Labels()) != 1 || r.Current().Keys[0].Text != key {
			t.Errorf("%s: %q, keys %q", name, problems, r.Labels())
		}
		if err := r.add("sign_upstream", useUpstream, "", Value{Value: text}); !errors.Is(err, errOneOrSeveral) || strings.Contains(err.Error(), key) {
			t.Errorf("%s, sign_upstream: %v", name, err)
		}
	}
}

// TestLinesOfEqualLength are several keys, and if they could be one that was wrapped, log
// and status say so, until they are one line.
func TestLinesOfEqualLength(t *testing.T) {
	one := strings.Repeat("4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue", 2) // 64 characters, 48 bytes
	two := strings.Repeat("m7Wd2KfXr9TqLz4Vy0HbN5cJgP8sAe8Q", 2)
	for text, lines := range map[string]int{
		one + "\n" + two + "\n":                          2, // openssl rand -base64 96, or two keys of 48 bytes
		one + "\n" + two[:61] + "A==\n":                  2, // 94 bytes
		one + "\n" + two + "\n" + one + "\n":             3,
		one + two[:12] + "\n" + two + one[:12]:           2, // base64 of 114 bytes, GNU
		one[:61] + "A==\n" + two:                         0, // padding ends a text
		one[:44] + "\n" + two[:44]:                       0, // the length of keys of 32 bytes
		lineOne + lineTwo + "\n" + lineTwo + lineOne:     0, // hex
		"whsec_" + one[:56] + "\n" + "whsec_" + two[:56]: 0,
		one: 0,
	} {
		for _, use := range []use{useSecret, useUpstream} {
			path := write(t, text, t.TempDir(), "key")
			core, logs := observer.New(zap.WarnLevel)
			r := newTestSet(verifier.Scheme{})
			r.logger = zap.New(core)
			if use == useUpstream {
				r.mustAdd(t, "secret", useSecret, "", Value{Value: lineOne})
			}
			r.mustAdd(t, "secret", use, "", Value{Value: "{file." + path + "}"})
			for range 2 {
				r.mustRefresh(t)
				r.warnOfDoubtful()
			}
			want, said := strconv.Itoa(lines)+" lines of equal length are "+strconv.Itoa(lines)+" keys", r.Problems()
			if warned := logs.FilterMessageSnippet("write it on one line").Len(); lines == 0 && len(said)+warned > 0 || lines > 0 && (warned != 1 || len(said) != 1 || !strings.Contains(said[0], want) || strings.Contains(said[0], one[:8])) {
				t.Errorf("%d: %q: status says %q, %d warnings, want %s", use, text, said, warned, want)
			}
			write(t, one+two, path)
			for range 3 {
				r.mustRefresh(t)
				r.warnOfDoubtful()
			}
			if said := r.Problems(); len(said) > 0 {
				t.Errorf("%d: as one line: %q", use, said)
			}
		}
	}
}

// TestLinesThatAreNoKeys: a text that may be one key or several, or holds something
// else, is neither.
func TestLinesThatAreNoKeys(t *testing.T) {
	wrapped := strings.Repeat("4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue", 3)
	for text, want := range map[string]string{
		lineOne + "\nshort":                                     "line 2 of 2, each one key or value: fewer than 8 characters",
		"# " + lineOne + "\n" + lineTwo:                         "line 1 of 2, each one key or value: a comment",
		"GITHUB_SECRET=" + lineOne + "\nGITHUB_OLD=" + lineTwo:  "line 1 of 2, each one key or value: a name or placeholder",
		lineOne + "\nchangeme":                                  "line 2 of 2, each one key or value: a name or placeholder",
		"// rotated 2026\n" + lineOne:                           "line 1 of 2, each one key or value: a comment",
		lineOne + "\n/* the old one */":                         "line 2 of 2, each one key or value: a comment",
		"<!-- rotated -->\n" + lineOne:                          "line 1 of 2, each one key or value: a comment",
		"-- of github\n" + lineOne:                              "line 1 of 2, each one key or value: a comment",
		"; of github\n" + lineOne:                               "line 1 of 2, each one key or value: a comment",
		"% of github\n" + lineOne:                               "line 1 of 2, each one key or value: a comment",
		"REM of github\n" + lineOne:                             "line 1 of 2, each one key or value: a comment",
		"TODO remove after rotation\n" + lineOne:                "line 1 of 2, each one key or value: it holds a blank",
		"Ansible managed: do not edit\n" + lineOne:              "line 1 of 2, each one key or value: it holds a blank",
		lineOne + "\nlabel: old github key":                     "line 2 of 2, each one key or value: it holds a blank",
		lineOne + "\t# of 2026\n" + lineTwo:                     "line 1 of 2, each one key or value: it holds a blank",
		"old=remove-me-later-2026\n" + lineOne:                  "line 1 of 2, each one key or value: a name and a value",
		"github_secret=" + lineOne + "\ngithub_old=" + lineTwo:  "line 1 of 2, each one key or value: a name and a value",
		"{\n\"secret\": \"" + lineOne + "\",\n}":                "line 1 of 3, each one key or value: fewer than 8 characters",
		wrapped[:64] + "\n" + wrapped[64:]:                      "one base64 text that was wrapped",
		strings.Repeat(lineOne+"\n", maxLines) + lineTwo + "\n": "17 lines: at most 16 keys",
	} {
		r := newTestSet(verifier.Scheme{})
		if err := r.add("secret", useSecret, "", Value{Value: text}); err == nil || !strings.HasPrefix(err.Error(), "secret: ") || !strings.Contains(err.Error(), want) && !errors.Is(err, ErrUnreplaced) || strings.Contains(err.Error(), lineOne) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
		path := write(t, text, t.TempDir(), "key")
		r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
		r.mustRefresh(t)
		if problems := r.Problems(); len(problems) != 1 || !strings.Contains(problems[0], want) || r.Snapshot() != nil {
			t.Errorf("%.20q in a file: %q, want %q", text, problems, want)
		}
	}
	r := newTestSet(verifier.Scheme{})
	if err := r.add("param hook", useParam, "hook", Value{Value: "a\nb"}); err == nil || !strings.Contains(err.Error(), "param hook: 2 lines: write one") {
		t.Errorf("a param: %v", err)
	}
}

// TestLinesThatLookOdd: base64 may begin with slashes and end with equals signs, and
// tokens have their scheme before them.
func TestLinesThatLookOdd(t *testing.T) {
	for _, odd := range []string{"//8vT3nLp0sXw6Yb2Kd9aA==", "abcdefghijklmnopqrstuv==", "+/8vT3nLp0sXw6Yb2Kd9aA", "%8vT3nLp0s", "--8vT3nLp0sXw6", ";8vT3nLp0sXw6", "REMqT3nLp0sXw6", "Bearer 8vT3nLp0sXw6", "aB3x=9vT3nLp0s"} {
		path := write(t, odd+"\n"+lineOne, t.TempDir(), "key")
		r := newTestSet(verifier.Scheme{})
		r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
		r.mustRefresh(t)
		if r.keyOf(t, odd) == "" || r.keyOf(t, lineOne) == "" {
			t.Errorf("%s: %q", odd, r.Problems())
		}
	}
}

// TestBlanksAreWarnedOf: a text with blanks alone in a file or variable may be a
// passphrase, or a message of which nobody knows.
func TestBlanksAreWarnedOf(t *testing.T) {
	for text, warns := range map[string]bool{
		"tulip ferment denim orbit": true, "Do not edit by hand": true, "bw-user:tulip orbit": true,
		"Bearer 9f31c0a2d47be586": false, "9f31c0a2d47be586": false, "tulip-ferment-denim-orbit": false, " 9f31c0a2d47be586 ": false,
	} {
		t.Setenv("BLANKS", text)
		for value, problem := range map[string]bool{"{file." + write(t, text, t.TempDir(), "key") + "}": true, "{env.BLANKS}": false, text: false} {
			r := newTestSet(verifier.Scheme{})
			r.mustAdd(t, "secret", useSecret, "", Value{Value: value})
			r.mustRefresh(t)
			r.warnOfDoubtful()
			if r.keyOf(t, text) == "" {
				t.Errorf("%s: %s is refused", value, text)
			}
			warned := slices.ContainsFunc(r.messages(), func(m string) bool { return strings.HasPrefix(m, "warn "+maybeMessage) })
			if warned != (warns && value != text) || strings.Contains(strings.Join(r.Problems(), ""), maybeMessage) != (warns && problem) {
				t.Errorf("%s, %s: warned %t, problems %q", value, text, warned, r.Problems())
			}
		}
	}
}

// TestInvisiblePartsAreWarnedOf: copying leaves blanks and invisible characters, with which
// no signature of the sender's matches.
func TestInvisiblePartsAreWarnedOf(t *testing.T) {
	const secret = "9f31c0a2d47be586"
	for text, warns := range map[string]bool{
		secret + " ": true, " " + secret: true, secret + "\t": true, secret + "\u00a0": true, secret + "\u200b": true, "\u2060" + secret: true, secret + "\u0085": true,
		"9f31c0a2\u00add47be586": true,
		secret:                   false, secret + "\n": false, "Bearer " + secret: false, "pässwort-" + secret: false, "\xff\x01" + secret: false,
	} {
		t.Setenv("UNSEEN", text)
		for value, problem := range map[string]bool{"{file." + write(t, text, t.TempDir(), "key") + "}": true, "{env.UNSEEN}": false, text: false} {
			r := newTestSet(verifier.Scheme{})
			r.mustAdd(t, "secret", useSecret, "", Value{Value: value})
			r.mustRefresh(t)
			r.warnOfDoubtful()
			warned := slices.ContainsFunc(r.messages(), func(m string) bool { return strings.HasPrefix(m, "warn "+unseenPart) })
			if warned != warns || strings.Contains(strings.Join(r.Problems(), ""), unseenPart) != (warns && problem) {
				t.Errorf("%q, %q: warned %t, problems %q", value, text, warned, r.Problems())
			}
		}
	}
}

// TestLinesElsewhere: a required header has several values, and the first line of
// sign_upstream signs.
func TestLinesElsewhere(t *testing.T) {
	const first, second = "whsec_4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue", "whsec_m7Wd2KfXr9TqLz4Vy0HbN5cJgP8sAe8="
	c := Config{
		Rules:         mustCompile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}, RequireHeader: []verifier.RequiredHeader{{Name: "X-Team", Values: []string{"a\nb"}}}}),
		RequireHeader: []verifier.RequiredHeader{{Name: "X-Team", Values: []string{"a\nb"}}},
		Secret:        []Value{{Value: lineOne}},
		SignUpstream:  first + "\n" + second,
	}
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	scheme, _, _ := k.resolved()
	if got := scheme.RequireHeader[0].Values; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("values %q", got)
	}
	signer, err := newSigner(first)
	if err != nil {
		t.Fatal(err)
	}
	if !k.Current().Signer.SharesSecret(signer) {
		t.Error("another line signs")
	}
	c.SignUpstream = second + "\nmysecretmysecret"
	if _, err := Open(c); err == nil || !strings.HasPrefix(err.Error(), "sign_upstream: ") {
		t.Errorf("a weak second line: %v", err)
	}
}
