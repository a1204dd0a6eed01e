package command

import (
	"bytes"
	"encoding/json"
	"errors"
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
	made    bool // the body is generated
	tamper  string
	signer  *subject // has another secret for --tamper secret
}

func (c *sendRun) prepare(s *subject, stdin io.Reader) (*draft, error) {
	r := s.newRequest()
	if err := c.request.apply(r, stdin); err != nil {
		return nil, errors.New(strings.Replace(err.Error(), "--url", "--to", 1))
	}
	if u, err := url.Parse(c.request.url); err == nil {
		r.Target = u.RequestURI() // as the HTTP client sends it
	}
	d := &draft{subject: s, request: r, id: c.id, made: c.request.bodyFile == "", tamper: c.tamper, signer: s}
	if d.id == "" {
		d.id = uuid.NewString() // valid as the id of any sender
	}
	if c.tamper != "secret" {
		return d, nil
	}
	var err error
	d.signer, err = s.withOtherSecret()
	return d, err
}

// attempt signs the delivery, with the same id each time, and tampers with it.
func (d *draft) attempt(now time.Time) (*rawhttp.Request, error) {
	r := *d.request
	r.Header = d.request.Header.Clone()
	if d.made {
		r.Body = d.exampleBody(d.id, now)
	}
	if err := d.signer.sign(&r, d.id, now); err != nil {
		return nil, err
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

// exampleBody returns a body with the id and the timestamp where the sender puts them.
func (s *subject) exampleBody(id string, now time.Time) []byte {
	body := map[string]any{"id": id, "type": "caddy.webhook.send"}
	if d := s.Scheme.DeliveryID; d != nil {
		setPath(body, d.JSON, id)
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
	d := s.Scheme.DeliveryID
	switch {
	case s.Scheme.BodyForm != "":
		return []byte(url.Values{s.Scheme.BodyForm: {string(text)}}.Encode())
	case d != nil && d.Form != "" && d.JSON == "":
		return []byte(url.Values{d.Form: {id}}.Encode())
	}
	return text
}

// setPath sets a member by its path. It skips paths through arrays: the signer
// reports the missing value.
func setPath(object map[string]any, path string, value any) {
	if path == "" || strings.Contains(path, "[") {
		return
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
}
