package known_test

import (
	"encoding/base64"

	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestNoVerdictHoldsASecret of any preset, wherever in a delivery the secret, one of its
// encodings or the expected signature is: as a value, a name, a label or a part of a list.
func TestNoVerdictHoldsASecret(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, p := range all {
		for i := range p.Vectors {
			if vec := &p.Vectors[i]; vec.Secret != "" && vec.Expect == "genuine" {
				refused += showsNoSecret(t, p, vec)
				break
			}
		}
	}
	if refused < 10_000 {
		t.Errorf("%d deliveries were refused: the test misses its point", refused)
	}
}

// tokens are what parts of a request consist of: values, names, labels.
var tokens = regexp.MustCompile(`[A-Za-z0-9+/_=-]+`)

func showsNoSecret(t *testing.T, p *providers.Provider, vec *providers.Vector) (refused int) {
	genuine := capture(t, p, vec)
	secret := vec.Secret
	if p.ExampleSecret() != "" && len(genuine.v.Scheme().Signature.Header) > 0 { // a longer one than in some documents
		secret = p.ExampleSecret()
		s := p.Scheme
		s.Params = vec.Params
		v, err := verifier.New(s, []verifier.Key{{Text: secret}})
		if err != nil {
			t.Fatalf("%s: %v", p.ID, err)
		}
		genuine.v = v
		_ = v.Sign(genuine.req, "evt-0001", time.Unix(vec.Now, 0), genuine.body) // some cannot be signed here
	}
	hidden := []string{secret, strings.TrimPrefix(secret, p.Scheme.SecretPrefix), fmt.Sprintf("%x", secret), base64.StdEncoding.EncodeToString([]byte(secret))}
	for _, name := range genuine.v.Scheme().Signature.Header {
		for _, line := range genuine.req.Header[name] {
			for _, token := range tokens.FindAllString(line, -1) {
				if token = token[strings.LastIndexByte(strings.TrimRight(token, "="), '=')+1:]; len(token) >= 20 {
					hidden = append(hidden, token)
				}
			}
		}
	}
	for _, text := range slices.Clone(hidden) {
		edits(genuine, text, func(c *captured) {
			j, err := c.v.Judge(c.req, c.body, c.now)
			rej, _ := errors.AsType[*verifier.Rejection](err)
			if rej == nil {
				rej = new(verifier.Rejection)
			} else {
				refused++
			}
			shown := strings.ToLower(strings.Join([]string{string(rej.Reason), rej.Detail, rej.Error(), j.Verdict.Key, j.ID}, "\n"))
			for _, h := range hidden {
				if len(h) >= 8 && strings.Contains(shown, strings.ToLower(h)) {
					t.Errorf("%s: %q shows %q, of %v %s", p.ID, shown, h, c.req.Header, c.body)
				}
			}
		})
	}
	return refused
}

// edits calls judge with the text in place of each part of a delivery, one at a time.
func edits(genuine *captured, text string, judge func(*captured)) {
	with := func(original string, put func(c *captured, edited string)) {
		for i, at := range tokens.FindAllStringIndex(original, -1) {
			if i == 24 {
				break
			}
			c := genuine.clone()
			put(c, original[:at[0]]+text+original[at[1]:])
			judge(c)
		}
	}
	for name, lines := range genuine.req.Header {
		c := genuine.clone()
		delete(c.req.Header, name)
		judge(c)
		for _, more := range []string{text, lines[0] + "," + text, lines[0] + " " + text, text + "=" + lines[0], `sig1=("` + strings.ToLower(text) + `");created=1`, strings.ToLower(text) + "=:AAAA:"} {
			c := genuine.clone()
			c.req.Header[name] = []string{more}
			judge(c)
		}
		with(lines[0], func(c *captured, edited string) { c.req.Header[name] = []string{edited} })
	}
	with(string(genuine.body), func(c *captured, edited string) { c.body = []byte(edited) })
	with(genuine.req.Target, func(c *captured, edited string) { c.req.Target = edited })
}
