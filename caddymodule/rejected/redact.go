package rejected

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// redacted replaces a credential.
const redacted = "(redacted)"

// Redaction fails closed. It shows values of headers and query parameters that hold no
// credential, according to their whole name or a word in it, and those that a scheme
// reads. It redacts everything else, and any value that holds a key in any encoding.
var (
	harmlessNames = []string{
		"accept", "acceptcharset", "acceptencoding", "acceptlanguage", "cachecontrol", "connection", "contentencoding",
		"contentlength", "contenttype", "date", "expect", "forwarded", "from", "host", "origin", "pragma", "te", "transferencoding",
		"upgrade", "useragent", "via", "xforwardedfor", "xforwardedhost", "xforwardedproto", "xrealip", "traceparent",
	}
	harmlessWords = []string{"event", "topic", "timestamp", "delivery", "attempt", "retry", "signature", "digest", "algorithm"}
	// credentialWords override both, and the headers that a scheme reads:
	// X-Gitlab-Token, X-Hook-Secret, X-Event-Api-Key.
	credentialWords = []string{
		"auth", "cookie", "token", "secret", "passw", "passphrase", "credential", "session", "assertion", "oidc",
		"apikey", "accesskey", "privatekey", "subscriptionkey", "functionskey", "sharedkey", "signingkey",
	}
)

// A redaction decides which parts of a request are hidden. A signature proves one body
// and may be shown; a token is the secret itself.
type redaction struct {
	headers, params map[string]bool // of tokens and required values: canonical; as written
	read            map[string]bool // headers that schemes read: canonical
	texts           []string        // of the keys, in lower case
	needles         *needles        // the texts
	limit           limit
	shown, targets  map[string]string // what has been redacted: equal texts once
	covert          bool              // there may be keys besides those that are known
}

// redactionOf hides the credentials of all handlers, now and when the request arrived:
// senders get configured with another sender's secret.
func redactionOf(all []*keys.Snapshot) redaction {
	all = distinct(all)
	known := tokenPlaces()
	r := hiding(textsOf(all))
	r.headers, r.params, r.read = maps.Clone(known.headers), maps.Clone(known.params), maps.Clone(known.read)
	for _, s := range all {
		scheme := s.Verifier.Scheme()
		r.tokens(scheme)
		for _, h := range scheme.RequireHeader {
			r.headers[http.CanonicalHeaderKey(h.Name)] = true
		}
	}
	return r
}

// hideAlike reports whether two snapshots hide the same. Nil ones hide nothing.
func hideAlike(a, b *keys.Snapshot) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	return a.SignerKey == b.SignerKey && slices.Equal(a.Keys, b.Keys) && reflect.DeepEqual(a.Verifier.Scheme(), b.Verifier.Scheme())
}

// Hide returns a function that replaces a text with a key in it, of any of the
// snapshots and however the key is encoded, and returns any other text as it is.
// Nil snapshots have no keys.
func Hide(all []*keys.Snapshot) func(text string) string {
	return hiding(textsOf(distinct(all))).text
}

// hiding is a redaction that hides texts in lower case, for one goroutine.
func hiding(texts []string) redaction {
	return redaction{texts: texts, needles: newNeedles(texts), limit: whole, shown: make(map[string]string), targets: make(map[string]string)}
}

// distinct returns each snapshot once. Nil ones, whose keys have not been read, are left
// out.
func distinct(all []*keys.Snapshot) (each []*keys.Snapshot) {
	seen := map[*keys.Snapshot]bool{nil: true}
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			each = append(each, s)
		}
	}
	return each
}

// textsOf returns the texts of keys, also of sign_upstream, required values, params, the
// password of public_url, and secrets that are no handler's (of stores, inboxes and
// sources of tenants), in lower case.
func textsOf(all []*keys.Snapshot) (texts []string) {
	add := func(least int, candidates ...string) {
		for _, text := range candidates {
			if len(text) >= least {
				texts = append(texts, lower(text))
			}
		}
	}
	addKey := func(least int, secret, prefix string) {
		text := strings.TrimPrefix(secret, prefix)
		add(least, secret, text)
		add(shortest, decodings(text)...)
	}
	for _, secret := range keys.Resolved() {
		addKey(shortest, secret, "")
	}
	for _, s := range all {
		if s.Signer != nil {
			addKey(shortestKey, s.SignerKey, s.Signer.Scheme().SecretPrefix)
		}
		scheme := s.Verifier.Scheme()
		for _, h := range scheme.RequireHeader {
			add(shortest, h.Values...)
		}
		for _, k := range s.Keys {
			if k.Kind != verifier.PublicKey {
				addKey(shortestKey, k.Text, scheme.SecretPrefix)
			}
		}
		add(shortest, slices.Collect(maps.Values(scheme.Params))...)
		if u, err := url.Parse(scheme.PublicURL); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
				add(shortest, password, basic)
			}
		}
	}
	return texts
}

// Minimum lengths of a text searched for in all values, and of a key: shorter ones
// ("*", a param "1") would redact half of everything.
const (
	shortest    = 6
	shortestKey = 4
)

// tokens adds the headers that a scheme reads, and the places of its token if it has
// one instead of a signature.
func (r *redaction) tokens(s verifier.Scheme) {
	for _, name := range s.HeaderNames() {
		r.read[http.CanonicalHeaderKey(name)] = true
	}
	if s.Signature == nil || !s.UsesToken() {
		return
	}
	for _, name := range s.Signature.Header {
		r.headers[http.CanonicalHeaderKey(name)] = true
	}
	if s.Signature.Query != "" {
		r.params[s.Signature.Query] = true
	}
}

// tokenPlaces are the token places of the whole catalogue: a token may arrive at
// another sender's handler. An unreadable catalogue adds none.
var tokenPlaces = sync.OnceValue(func() redaction {
	r := redaction{headers: make(map[string]bool), params: make(map[string]bool), read: make(map[string]bool)}
	all, _ := providers.All()
	for _, p := range all {
		r.tokens(p.Scheme)
	}
	return r
})

// header returns the headers as they may be shown.
func (r redaction) header(header http.Header) map[string][]string {
	shown := make(map[string][]string, len(header))
	for name, values := range header {
		canonical := http.CanonicalHeaderKey(name)
		hidden := r.headers[canonical] || credential(name) || !r.read[canonical] && !harmless(name) || r.covert && !slices.Contains(harmlessNames, bare(name))
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

// harmless reports whether the name tells that the value is not a credential,
// credential that it is one.
func harmless(name string) bool {
	plain := bare(name)
	return slices.Contains(harmlessNames, plain) || hasOne(plain, harmlessWords)
}

func credential(name string) bool { return hasOne(bare(name), credentialWords) }

func hasOne(name string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) })
}

// bare normalizes a name to the form of the lists above.
func bare(name string) string { return separators.Replace(lower(name)) }

var separators = strings.NewReplacer("-", "", "_", "", ".", "")

// text returns a value as it may be shown.
func (r redaction) text(value string) string {
	shown, ok := r.shown[value]
	if !ok {
		if shown = value; r.holds(value) {
			shown = redacted
		}
		r.shown[value] = shown
	}
	return shown
}

// sentence returns a hint as it may be shown. A short word of letters alone (secret,
// signature) may be the hint's own.
func (r redaction) sentence(hint string) string {
	return hiding(slices.DeleteFunc(slices.Clone(r.texts), func(text string) bool {
		return len(text) < 16 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz") == ""
	})).text(hint)
}

// holds reports whether one of the values contains a key, ignoring case, since hex has
// two: senders get configured with the key in the wrong place. The key may be escaped or
// in hexadecimal or base64, alone or as a part, and encoded twice.
func (r redaction) holds(values ...string) bool {
	level := slices.Compact(values)
	for range 3 {
		var next []string
		for _, v := range level {
			if r.needles.in(lower(v)) {
				return true
			}
			next = append(next, decodings(v)...)
		}
		level = next
	}
	return false
}
