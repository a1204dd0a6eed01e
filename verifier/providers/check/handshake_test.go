package check

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// greeters are the catalogue's providers with handshakes, and files of
// testdata/handshake: the handshakes of senders that the catalogue does not have.
func greeters(t *testing.T) []*providers.Provider {
	t.Helper()
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(p *providers.Provider) bool { return len(p.Handshake) == 0 })
	files, err := filepath.Glob("testdata/handshake/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := providers.Parse(file, data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// TestHandshakeVectors runs every handshake whose answer is known.
func TestHandshakeVectors(t *testing.T) {
	for _, p := range greeters(t) {
		answered := 0
		for i, vec := range p.HandshakeVectors {
			got, answer := greet(p, &vec)
			if got != vec.Expect || !reflect.DeepEqual(answer, vec.Answer) {
				t.Errorf("%s.json: handshake vector %d (%s): got %s, %+v, want %s, %+v", p.ID, i, vec.Source, got, answer, vec.Expect, vec.Answer)
			}
			if answer != nil {
				answered++
			}
		}
		if answered == 0 {
			t.Errorf("%s.json: no handshake vector with an answer", p.ID)
		}
	}
}

// greet takes a request the way of a gateway and returns "handshake" and the
// answer, "genuine", a reason, or "no handshake" where only one would be let in.
func greet(p *providers.Provider, vec *providers.Vector) (string, *verifier.Answer) {
	answer, err := handshake(p, vec)
	if rej, ok := errors.AsType[*verifier.Rejection](err); ok {
		return string(rej.Reason), nil
	}
	switch {
	case err != nil:
		return err.Error(), nil
	case answer != nil:
		return "handshake", answer
	case vec.Method != http.MethodPost:
		return "no handshake", nil
	}
	return "genuine", nil
}

func handshake(p *providers.Provider, vec *providers.Vector) (*verifier.Answer, error) {
	key := verifier.Key{Text: vec.Secret}
	if vec.PublicKey != "" {
		key = verifier.Key{Text: vec.PublicKey, Kind: verifier.PublicKey}
	}
	scheme := p.Scheme
	scheme.Params, scheme.Handshakes = vec.Params, p.Handshakes(vec.Params)
	v, err := verifier.New(scheme, []verifier.Key{key})
	if err != nil {
		return nil, err
	}
	sent, err := newTrial(p, vec)
	if err != nil {
		return nil, err
	}
	if sent.req.Method != http.MethodPost && !v.Greets(sent.req) {
		return nil, nil // a gateway refuses the method
	}
	j, err := v.Judge(sent.req, sent.body, sent.now)
	return j.Answer, err
}

// TestNoHandshakeReflects replaces each value that a known handshake holds by
// texts that must not come back: refused, or not even taken for one.
func TestNoHandshakeReflects(t *testing.T) {
	for _, p := range greeters(t) {
		for i, vec := range p.HandshakeVectors {
			if vec.Answer == nil || vec.Secret == "" {
				continue
			}
			for _, evil := range []string{
				"<script>alert(1)</script>", `"><img src=x>`, `","admin":"yes`, "a\r\nSet-Cookie: a=b", "a\x00b",
				"javascript:alert('1')", "&lt;", "näh", strings.Repeat("A", 513), strings.Repeat("A", 10<<10),
			} {
				for name := range vec.Headers {
					altered := vec
					altered.Headers = maps.Clone(vec.Headers)
					altered.Headers[name] = evil
					notReflected(t, p, i, &altered, evil)
				}
				if before, query, ok := strings.Cut(vec.URL, "?"); ok {
					pairs := strings.Split(query, "&")
					for j := range pairs {
						altered := slices.Clone(pairs)
						name, _, _ := strings.Cut(pairs[j], "=")
						altered[j] = name + "=" + escape(evil)
						v := vec
						v.URL = before + "?" + strings.Join(altered, "&")
						notReflected(t, p, i, &v, evil)
					}
				}
			}
		}
	}
}

func notReflected(t *testing.T, p *providers.Provider, i int, vec *providers.Vector, evil string) {
	t.Helper()
	_, answer := greet(p, vec)
	if answer == nil {
		return
	}
	for _, text := range append(slices.Collect(maps.Values(answer.Header)), answer.Body) {
		if strings.Contains(text, evil) {
			t.Errorf("%s.json: handshake vector %d gives back %.40q", p.ID, i, evil)
		}
	}
}

// escape writes every byte as %xx.
func escape(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(text) {
		b.Write([]byte{'%', digits[text[i]>>4], digits[text[i]&15]})
	}
	return b.String()
}
