package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A draft is a delivery before it is signed.
type draft struct {
	*subject
	request *rawhttp.Request
	id      string
	given   []string // headers of the command line, which signing must not replace
	tamper  string
	signer  *subject // has another secret for --tamper secret
}

func (c *sendRun) prepare(s *subject, stdin io.Reader) (*draft, error) {
	r, id := s.newRequest(), ""
	var err error
	if c.file != "" {
		if r, id, err = s.saved(stdin, c.file, c.request.bodyFile != ""); err != nil {
			return nil, err
		}
	}
	e := new(event)
	if c.event != "" {
		if e, err = s.eventOf(c.event, c.file != "" || c.request.bodyFile != ""); err != nil {
			return nil, err
		}
		e.apply(r.Header)
	}
	if err := c.request.apply(r, stdin); err != nil {
		return nil, errors.New(strings.Replace(err.Error(), "--url", "--to", 1))
	}
	if u, err := url.Parse(c.request.url); err == nil {
		r.Target = u.RequestURI() // as the HTTP client sends it
	}
	d := &draft{subject: s, request: r, tamper: c.tamper, signer: s}
	d.id = cmp.Or(c.id, id, uuid.NewString()) // a UUID is valid as the id of any sender
	for _, line := range c.request.headers {
		name, _, _ := strings.Cut(line, ":")
		d.given = append(d.given, http.CanonicalHeaderKey(name))
	}
	if c.file == "" && c.request.bodyFile == "" {
		r.Body = s.exampleBody(e.body, d.id, time.Now().Add(-c.aged))
	}
	if c.tamper == "secret" {
		d.signer, err = s.withOtherSecret()
	}
	return d, err
}

// saved reads a request to sign again, and the id that its sender gave it in a header.
// Headers of the old signature and those about the old connection (RFC 9110 §7.6.1) go.
func (s *subject) saved(stdin io.Reader, name string, hasBody bool) (r *rawhttp.Request, id string, err error) {
	data, _, err := readInput(stdin, name)
	if err != nil {
		return nil, "", fmt.Errorf("--request: %w", err)
	}
	if r, err = rawhttp.Parse(data, 0, hasBody); err != nil {
		return nil, "", fmt.Errorf("--request: %s: %s", name, strings.Replace(err.Error(), "choose one with --entry, counted from 1", "keep one", 1))
	}
	if d := s.Scheme.DeliveryID; d != nil && len(d.Header) > 0 {
		id = r.Header.Get(d.Header[0])
	}
	old := append([]string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Accept-Encoding", "Content-Length"},
		s.Scheme.Signature.Header...)
	if s.Scheme.HTTPSignature != nil {
		old = append(old, "Signature", "Signature-Input", "Content-Digest")
	}
	for _, header := range old {
		r.Header.Del(header)
	}
	return r, id, nil
}

// attempt signs the delivery, with the same id and body each time, and tampers with it.
func (d *draft) attempt(now time.Time) (*rawhttp.Request, error) {
	r := *d.request
	r.Header = d.request.Header.Clone()
	if err := d.signer.sign(&r, d.id, now); err != nil {
		return nil, err
	}
	for _, name := range d.given {
		if !slices.Equal(r.Header[name], d.request.Header[name]) {
			return nil, fmt.Errorf("-H %s: the signer sets this header: omit it, or alter it with --tamper, --age or --id", name)
		}
	}
	switch d.tamper {
	case "body":
		r.Body = append(bytes.Clone(r.Body), ' ')
	case "signature":
		name := http.CanonicalHeaderKey(d.Scheme.Signature.Header[0])
		r.Header.Set(name, spoil(r.Header.Get(name)))
	}
	return &r, nil
}

func (s *subject) withOtherSecret() (*subject, error) {
	sender := *s.Sender
	other := *s
	other.Sender = &sender
	prefix := s.Scheme.SecretPrefix
	other.Keys = slices.Clone(s.Keys)
	for i, k := range other.Keys {
		if k.Kind != verifier.Secret {
			continue
		}
		text, ok := strings.CutPrefix(k.Text, prefix)
		if text = spoil(text); ok {
			text = prefix + text
		}
		other.Keys[i].Text = text
	}
	var err error
	other.verifier, err = verifier.New(other.Scheme, other.Keys)
	return &other, err
}

// spoil changes one character in the middle of the longest word and keeps it valid
// hex or base64. The last character of base64 may have unused bits.
func spoil(text string) string {
	isWord := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' || c == '-' || c == '_'
	}
	start, end := 0, 0
	for i := 0; i < len(text); i++ {
		from := i
		for i < len(text) && isWord(text[i]) {
			i++
		}
		if i-from > end-start {
			start, end = from, i
		}
	}
	if start == end {
		return text + "x"
	}
	b := []byte(text)
	at := &b[(start+end)/2]
	if *at == '1' {
		*at = '2'
	} else {
		*at = '1'
	}
	return string(b)
}

// exampleBody returns a body with the id and the timestamp where the sender puts them:
// that of an event, or a small one.
func (s *subject) exampleBody(body map[string]any, id string, now time.Time) []byte {
	event := body != nil
	if !event {
		body = map[string]any{"id": id, "type": "caddy.webhook.send"}
	}
	d := s.Scheme.DeliveryID
	if (d == nil || !setPath(body, d.JSON, id)) && event {
		body["caddy_webhook_send"] = id // or the gateway has seen it
	}
	if ts := s.Scheme.Timestamp; ts != nil {
		var value any = now.UTC().Format(time.RFC3339)
		switch ts.Unit {
		case "", "s":
			value = now.Unix()
		case "ms":
			value = now.UnixMilli()
		case "us":
			value = now.UnixMicro()
		}
		setPath(body, ts.JSON, value)
	}
	text, _ := json.Marshal(body) // maps of strings and numbers
	switch {
	case s.Scheme.BodyForm != "":
		return []byte(url.Values{s.Scheme.BodyForm: {string(text)}}.Encode())
	case d != nil && d.Form != "" && d.JSON == "":
		return []byte(url.Values{d.Form: {id}}.Encode())
	}
	return text
}

// setPath sets a member by its path. It skips paths that are more than names, and
// reports whether it set one: the signer reports the missing value.
func setPath(object map[string]any, path string, value any) bool {
	if path == "" || strings.ContainsAny(path, "[|$?{") {
		return false
	}
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		inner, ok := object[name].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			object[name] = inner
		}
		object = inner
	}
	object[names[len(names)-1]] = value
	return true
}
