package caddymodule

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// redacted stands in the place of a credential.
const redacted = "(redacted)"

// credentialWords are in the names of headers and query parameters whose values
// are credentials: Authorization, Cookie, X-Api-Key, X-Gitlab-Token, hub.verify_token.
var credentialWords = []string{
	"auth", "cookie", "token", "secret", "password", "passwd", "passphrase", "credential", "session", "assertion", "oidc",
	"apikey", "accesskey", "privatekey", "subscriptionkey", "functionskey",
}

// A redaction knows which parts of a request are not shown. A signature proves
// one body and is the sender's own; a token is the secret itself.
type redaction struct {
	headers, params map[string]bool // canonical; as written
	texts           []string        // of the keys, in lower case
}

// redactionOf hides what is a credential of any of the handlers, in force or when
// the request came: senders are set up with another's secret.
func redactionOf(materials []*material) redaction {
	r := redaction{headers: maps.Clone(tokenPlaces().headers), params: maps.Clone(tokenPlaces().params)}
	for _, m := range materials {
		if m == nil { // its keys are yet to be read
			continue
		}
		r.tokens(m.scheme)
		for _, h := range m.scheme.RequireHeader {
			r.headers[http.CanonicalHeaderKey(h.Name)] = true
			r.texts = append(r.texts, h.Values...)
		}
		for _, k := range m.keys {
			if k.Kind != verifier.PublicKey {
				r.texts = append(r.texts, k.Text, strings.TrimPrefix(k.Text, m.scheme.SecretPrefix))
			}
		}
		r.texts = slices.AppendSeq(r.texts, maps.Values(m.scheme.Params))
	}
	// Short ones ("*", a param "1") would redact half of everything.
	r.texts = slices.DeleteFunc(r.texts, func(text string) bool { return len(text) < shortest })
	for i, text := range r.texts {
		r.texts[i] = strings.ToLower(text)
	}
	return r
}

// shortest is how long a text is that is looked for in all values.
const shortest = 6

// tokens adds the places where a scheme has a token in place of a signature.
func (r *redaction) tokens(s verifier.Scheme) {
	if s.Signature == nil || !usesToken(s) {
		return
	}
	for _, name := range s.Signature.Header {
		r.headers[http.CanonicalHeaderKey(name)] = true
	}
	if s.Signature.Query != "" {
		r.params[s.Signature.Query] = true
	}
}

func usesToken(s verifier.Scheme) bool {
	if s.Algorithm == verifier.Token {
		return true
	}
	for _, a := range s.Signature.Accept {
		if a == verifier.Token {
			return true
		}
	}
	return false
}

// tokenPlaces are those of the catalogue: a sender's token is one at another
// sender's door, too. A catalogue that cannot be read redacts nothing more.
var tokenPlaces = sync.OnceValue(func() redaction {
	r := redaction{headers: make(map[string]bool), params: make(map[string]bool)}
	for _, p := range catalogue() {
		r.tokens(p.Scheme)
	}
	return r
})

// header returns the headers as they may be shown.
func (r redaction) header(header http.Header) map[string][]string {
	shown := make(map[string][]string, len(header))
	for name, values := range header {
		hidden := r.headers[http.CanonicalHeaderKey(name)] || names(name)
		var lines []string
		for _, value := range values {
			if hidden {
				value = redacted
			}
			lines = append(lines, r.text(value))
		}
		name = r.text(name)
		shown[name] = append(shown[name], lines...)
	}
	return shown
}

// target returns path and query as they may be shown.
func (r redaction) target(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if r.holdsText(path) {
		path = "/" + redacted
	}
	if !ok {
		return path
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		name, value, _ := strings.Cut(param, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if r.params[name] || names(name) || r.holdsText(name) || r.holdsText(value) {
			raw, _, _ := strings.Cut(param, "=")
			if r.holdsText(raw) {
				raw = redacted
			}
			params[i] = raw + "=" + redacted
		}
	}
	return path + "?" + strings.Join(params, "&")
}

// names reports whether a name says that the value is a credential.
func names(name string) bool {
	plain := strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
	return slices.ContainsFunc(credentialWords, func(word string) bool { return strings.Contains(plain, word) })
}

// text returns a value as it may be shown.
func (r redaction) text(value string) string {
	if r.holdsText(value) {
		return redacted
	}
	return value
}

// holdsText reports whether a value has a key in it, as it is or escaped, in any
// case of its letters, for hex has two: senders are set up with the key in the
// wrong place.
func (r redaction) holdsText(value string) bool {
	value = strings.ToLower(value)
	plain := value
	if unescaped, err := url.PathUnescape(value); err == nil {
		plain = unescaped
	}
	return slices.ContainsFunc(r.texts, func(text string) bool {
		return strings.Contains(value, text) || strings.Contains(plain, text)
	})
}
