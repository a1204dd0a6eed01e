package command

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
	redaction "github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// An inspection is an observation as the inspector shows it when it is opened, beside its
// report. It holds bytes of the sender's, but no secret.
type inspection struct {
	Host     string              `json:"host"`
	Headers  map[string][]string `json:"headers"`       // credentials redacted
	Bytes    int64               `json:"bytes"`         // of the body that arrived
	Cut      string              `json:"cut,omitempty"` // why only its beginning is kept
	Body     excerpt             `json:"body"`
	Hidden   string              `json:"hidden,omitempty"` // why the body is not shown
	Contents *comparison         `json:"contents,omitempty"`
	Sends    bool                `json:"sends"` // it can be sent to the app again
}

// An excerpt is the beginning of some bytes.
type excerpt struct {
	Text []byte `json:"text"` // base64 in JSON
	Left int    `json:"left"` // bytes that follow
}

// A comparison is of what the scheme signs, of the request that arrived, and what the
// sender signed.
type comparison struct {
	Different bool     `json:"different"`
	At        int      `json:"at"`      // the first byte that differs, from 0
	Line      int      `json:"line"`    // of that, from 1
	Column    int      `json:"column"`  // characters, from 1
	Skipped   int      `json:"skipped"` // bytes left out at the beginning
	Before    []byte   `json:"before"`  // what precedes the difference in both
	Expected  excerpt  `json:"expected"`
	Signed    *excerpt `json:"signed,omitempty"` // nil if it is not known
}

const (
	mostShown  = 64 << 10 // bytes of a body
	mostAround = 4 << 10  // bytes before a difference, and after it
)

// inspected returns an observation for the inspector.
func (p *reporter) inspected(e *observation, r *report) page.Request {
	one := page.Request{Row: r, Bytes: len(e.request.Body) + len(e.request.Target) + savedHeader, Show: func(ctx context.Context) any { return p.inspect(ctx, e) }}
	for name, values := range e.request.Header {
		one.Bytes += len(name) + len(strings.Join(values, ""))
	}
	if p.sends(e) {
		one.Send = func(ctx context.Context) (any, error) { return p.sendAgain(ctx, e) }
	}
	var once sync.Mutex
	saved := r.Saved
	one.Save = func() (_ string, err error) {
		once.Lock()
		defer once.Unlock()
		if saved == "" {
			saved, err = p.save(e, cmp.Or(p.folder, "."))
		}
		if err != nil {
			saved = ""
		}
		return saved, err
	}
	return one
}

// inspect shows an observation.
func (p *reporter) inspect(ctx context.Context, e *observation) *inspection {
	var all []*keys.Snapshot
	for _, s := range p.subjects {
		all = append(all, &keys.Snapshot{Verifier: s.verifier, Keys: s.Keys})
	}
	v := &inspection{Bytes: e.bytes, Cut: e.cut, Sends: p.sends(e)}
	v.Host, _, v.Headers = redaction.Redact(*requestOf(e.request), all)
	hides := func(text []byte) bool {
		text = text[:min(len(text), mostShown+mostAround)]
		return redaction.Hide(all)(string(text)) != string(text)
	}
	s := p.sender(e.name)
	switch {
	case s != nil && s.tokenInBody():
		v.Hidden = "The body is not shown: it holds the sender's token, which is the secret itself."
	case p.redact(string(e.request.Body)) != string(e.request.Body), hides(e.request.Body):
		v.Hidden = "The body is not shown: it holds a secret, or a value that the sender must send."
	default:
		v.Body = excerptOf(e.request.Body, mostShown)
	}
	if s == nil || v.Hidden != "" || e.cut != "" || e.handshake || !e.verified && e.rejection == nil {
		return v
	}
	if found, err := s.explanation(ctx, e.request, e.at, true); err == nil && found.Contents != nil {
		if c := found.Contents; !hides(c.Expected) && !hides(c.Signed) {
			v.Contents = compare(c)
		}
	}
	return v
}

// redact hides a text that holds a secret of one of the senders.
func (p *reporter) redact(text string) string {
	for _, s := range p.subjects {
		text = s.verifier.Redact(text)
	}
	return text
}

// tokenInBody reports whether the body of a delivery holds the secret.
func (s *subject) tokenInBody() bool {
	return s.Scheme.UsesToken() && (len(s.Scheme.Signature.JSON) > 0 || len(s.Scheme.Signature.Form) > 0)
}

func excerptOf(text []byte, most int) excerpt {
	n := len(text)
	if n > most {
		for n = most; n > most-utf8.UTFMax && !utf8.RuneStart(text[n]); n-- {
		}
	}
	return excerpt{text[:n], len(text) - n}
}

// compare finds the first difference.
func compare(c *verifier.Contents) *comparison {
	if c.Signed == nil || bytes.Equal(c.Signed, c.Expected) {
		v := &comparison{Expected: excerptOf(c.Expected, mostShown)}
		if c.Signed != nil {
			v.Signed = &excerpt{}
		}
		return v
	}
	at := 0
	for at < len(c.Signed) && at < len(c.Expected) && c.Signed[at] == c.Expected[at] {
		at++
	}
	inside := func(text []byte) bool { return at < len(text) && !utf8.RuneStart(text[at]) }
	for back := 0; at > 0 && back < utf8.UTFMax && (inside(c.Signed) || inside(c.Expected)); back++ {
		at--
	}
	same := c.Expected[:at]
	line := same[bytes.LastIndexByte(same, '\n')+1:]
	from := max(0, at-mostAround)
	for from > 0 && from < at && !utf8.RuneStart(same[from]) {
		from++
	}
	signed := excerptOf(c.Signed[at:], mostAround)
	return &comparison{
		Different: true, At: at, Line: bytes.Count(same, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1,
		Skipped: from, Before: same[from:], Expected: excerptOf(c.Expected[at:], mostAround), Signed: &signed,
	}
}

// sends reports whether a request may be sent to the app again: only what the gateway has
// sent to it already.
func (p *reporter) sends(e *observation) bool { return p.to != nil && e.app != nil && e.cut == "" }

// An appAnswer is the app's answer to a request that was sent again.
type appAnswer struct {
	Status  int     `json:"status"`
	Seconds float64 `json:"seconds"`
	Body    excerpt `json:"body"`
}

const (
	appPatience = 30 * time.Second // with an app
	mostAnswer  = 4 << 10          // bytes of its answer
)

// sendAgain sends a request to the app as the gateway sent it.
func (p *reporter) sendAgain(ctx context.Context, e *observation) (*appAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, appPatience)
	defer cancel()
	address := p.to.Scheme + "://" + p.to.Host + appTarget(p.to, len(p.subjects) > 1, e.request.Target)
	r, err := http.NewRequestWithContext(ctx, e.request.Method, address, bytes.NewReader(e.request.Body))
	if err != nil {
		return nil, errors.New("the request's path cannot be sent again: it is not a URL")
	}
	r.Header = e.app.Clone()
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} { // RFC 9110 §7.6.1
		r.Header.Del(name)
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "") // or net/http writes its own
	}
	if p.to.Scheme == "http" {
		r.Host = e.request.Host
	}
	began := time.Now()
	resp, err := appTransport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("no answer from the app: %w", err)
	}
	defer resp.Body.Close()
	a := &appAnswer{Status: resp.StatusCode, Seconds: time.Since(began).Seconds()}
	a.Body.Text, _ = io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if p.redact(string(a.Body.Text)) != string(a.Body.Text) {
		a.Body.Text = []byte(verifier.Redacted)
	}
	return a, nil
}

// appTransport follows no redirect, as a gateway does not.
var appTransport = &http.Transport{DisableCompression: true, DisableKeepAlives: true, TLSClientConfig: &tls.Config{}}

// appTarget returns the path and query under which the app gets a request.
func appTarget(to *url.URL, several bool, target string) string {
	path, query, asked := strings.Cut(target, "?")
	if own := to.EscapedPath(); own != "" && own != "/" {
		if !several {
			path = own
		} else {
			path = strings.TrimRight(own, "/") + path
		}
	}
	if asked {
		path += "?" + query
	}
	return path
}
