package verifier_test

import (
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// catalogueCases makes a case of every genuine vector, with the entire catalogue as
// the others.
func catalogueCases(t *testing.T) (cases map[string]verifier.Case) {
	t.Helper()
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	var others []verifier.Other
	for _, p := range all {
		others = append(others, verifier.Other{Name: p.ID, Scheme: p.Scheme})
	}
	cases = make(map[string]verifier.Case)
	for _, p := range all {
		for _, vec := range p.Vectors {
			if vec.Expect != "genuine" || vec.Body == "" {
				continue
			}
			c := verifier.Case{Scheme: p.Scheme, Body: []byte(vec.Body), Others: others, Now: time.Unix(vec.Now, 0)}
			c.Scheme.Params = vec.Params
			c.Keys = []verifier.Key{{Text: vec.Secret}}
			if vec.PublicKey != "" {
				c.Keys = []verifier.Key{{Text: vec.PublicKey, Kind: verifier.PublicKey}}
			}
			c.Request = &verifier.Request{Method: vec.Method, Header: make(map[string][]string)}
			for name, value := range vec.Headers {
				c.Request.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
			}
			if u, err := url.Parse(vec.URL); err == nil && vec.URL != "" {
				c.Request.Target, c.Request.Host, c.Request.TLS = u.RequestURI(), u.Host, u.Scheme == "https"
			}
			cases[p.ID] = c
			break
		}
	}
	return cases
}

// TestExplainCatalogue makes the same mistakes with the vectors of every sender: the
// hint must name the mistake or nothing.
func TestExplainCatalogue(t *testing.T) {
	edit := func(c verifier.Case, secret func(string) string) verifier.Case {
		c.Keys = []verifier.Key{{Text: secret(c.Keys[0].Text), Kind: c.Keys[0].Kind}}
		return c
	}
	cases := catalogueCases(t)
	maps.DeleteFunc(cases, func(_ string, c verifier.Case) bool { // what needs more than the table of headers
		e, err := verifier.Explain(t.Context(), c)
		return err != nil || !e.Genuine
	})
	for _, m := range []struct {
		mistake string
		make    func(verifier.Case) verifier.Case
		hint    string // "": there must be no hint
		least   int
	}{
		{"a line break after the body", func(c verifier.Case) verifier.Case { c.Body = append(c.Body[:len(c.Body):len(c.Body)], '\n'); return c }, "without the line break at its end", 100},
		{"a space after the secret", func(c verifier.Case) verifier.Case {
			return edit(c, func(s string) string { return s + " " })
		}, "white space or a line break around", 100},
		{"another name of the signature's header", func(c verifier.Case) verifier.Case {
			if s := c.Scheme.Signature; len(s.Header) == 1 && s.Header[0] != "Authorization" {
				c.Request.Header["Acme-Webhook-Signature"] = c.Request.Header[textproto.CanonicalMIMEHeaderKey(s.Header[0])]
				delete(c.Request.Header, textproto.CanonicalMIMEHeaderKey(s.Header[0]))
			}
			return c
		}, "Acme-Webhook-Signature", 100},
		{"two days later", func(c verifier.Case) verifier.Case { c.Now = c.Now.Add(48 * time.Hour); return c }, "it was made 4", 30},
		{"clocks", func(c verifier.Case) verifier.Case { c.Now = c.Now.Add(-61 * time.Minute); return c }, "behind", 30},
		{"TLS ends in front", func(c verifier.Case) verifier.Case { c.Request.TLS = !c.Request.TLS; return c }, "public_url", 5},
		{"an altered body", func(c verifier.Case) verifier.Case {
			c.Body = []byte(strings.Replace(string(c.Body)+"#", "a", "b", 1))
			return c
		}, "", 100},
		{"another secret", func(c verifier.Case) verifier.Case {
			return edit(c, func(s string) string {
				return strings.Map(func(r rune) rune {
					if r >= 'a' && r < 'y' {
						return r + 1
					}
					return r
				}, s) + "ab"
			})
		}, "", 100},
	} {
		t.Run(m.mistake, func(t *testing.T) {
			named := 0
			for id, c := range cases {
				c.Request = &verifier.Request{Method: c.Request.Method, Header: maps.Clone(c.Request.Header), Target: c.Request.Target, Host: c.Request.Host, TLS: c.Request.TLS}
				c = m.make(c)
				e, err := verifier.Explain(t.Context(), c)
				switch {
				case err != nil || e.Genuine:
				case m.hint == "" && strings.HasPrefix(e.Hint, "nothing shows the cause"):
				case m.mistake == "an altered body" && (strings.Contains(e.Hint, "is that of another body") || strings.Contains(e.Hint, "the body is not whole, or altered")):
				case m.hint == "" && e.Hint != "":
					t.Errorf("%s: a false cause: %s", id, e.Hint)
				case e.Hint == "" && m.hint != "":
					t.Logf("%s: no hint", id)
				case !strings.Contains(e.Hint, m.hint):
					t.Errorf("%s: another cause: %s", id, e.Hint)
				default:
					named++
				}
			}
			t.Log(named, "of the catalogue")
			if named < m.least {
				t.Errorf("%d senders, want at least %d", named, m.least)
			}
		})
	}
}

// TestExplainAnotherProvider sends every sender's deliveries to a handler with
// another scheme and the right secret.
func TestExplainAnotherProvider(t *testing.T) {
	named := 0
	for id, c := range catalogueCases(t) {
		c.Scheme = verifier.Scheme{
			SecretPrefix: c.Scheme.SecretPrefix,
			Signature:    &verifier.Signature{Header: verifier.StringList{"X-Nobody"}}, Message: verifier.StringList{"never {body}"},
		}
		e, err := verifier.Explain(t.Context(), c)
		if err != nil || !strings.Contains(e.Hint, "is signed as") {
			continue
		}
		if !strings.Contains(e.Hint, "as "+id+" ") && !strings.Contains(e.Hint, "or "+id+" ") && !strings.Contains(e.Hint, id+" or") && !strings.Contains(e.Hint, "several other senders") {
			t.Errorf("%s: another cause: %s", id, e.Hint)
		}
		named++
	}
	t.Log(named, "of the catalogue")
	if named < 100 {
		t.Errorf("%d senders, want at least 100", named)
	}
}

// TestExplainAnotherAddress sends every sender's deliveries to a handler for Stripe
// with a key of its own: their headers name them, and no other sender.
func TestExplainAnotherAddress(t *testing.T) {
	named := 0
	for id, c := range catalogueCases(t) {
		if sig := c.Scheme.Signature; id == "stripe" || sig == nil || len(sig.Header) == 0 || c.Scheme.Algorithm == verifier.Token {
			continue
		}
		stripe, err := providers.Get("stripe")
		if err != nil {
			t.Fatal(err)
		}
		c.Scheme, c.Keys, c.Body = stripe.Scheme, []verifier.Key{{Text: "whsec_of-another-sender"}}, []byte("not read")
		c.Others = providers.OthersFor(c.Request.Header, "stripe")
		e, err := verifier.Explain(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		_, senders, found := strings.Cut(e.Hint, "but the headers of ")
		senders, _, _ = strings.Cut(senders, ":")
		switch {
		case found && slices.Contains(strings.Split(senders, " or "), id):
			named++
		case e.Hint != "":
			t.Errorf("%s: another cause: %s", id, e.Hint)
		}
	}
	t.Log(named, "of the catalogue")
	if named < 200 {
		t.Errorf("%d senders, want at least 200", named)
	}
}
