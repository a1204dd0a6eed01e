package rawhttp

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
)

// The parts of a HAR that describe a request
// (http://www.softwareishard.com/blog/har-12-spec/), and our own JSON.
type document struct {
	Log *struct {
		Entries []harEntry `json:"entries"`
	} `json:"log"`
	harEntry // a single entry
	harRequest
	BodyBase64 *[]byte          `json:"body_base64"`
	Body       *json.RawMessage `json:"body"`
}

// ours are the members of our own JSON; a HAR's request has the others, too.
var (
	ours    = []string{"method", "url", "headers", "body", "body_base64"}
	members = append([]string{"postData", "httpVersion", "cookies", "queryString", "headersSize", "bodySize", "comment"}, ours...)
)

type harEntry struct {
	Started string      `json:"startedDateTime"`
	Request *harRequest `json:"request"`
}

type harRequest struct {
	Method  string     `json:"method"`
	URL     string     `json:"url"`
	Headers harHeaders `json:"headers"`
	Post    *struct {
		MimeType  string     `json:"mimeType"`
		Text      *string    `json:"text"`
		Encoding  string     `json:"encoding"`
		Encoding2 string     `json:"_encoding"` // custom HAR fields begin with _
		Params    []harParam `json:"params"`
	} `json:"postData"`
}

type harHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harParam struct {
	harHeader
	FileName *string `json:"fileName"`
}

// harHeaders are a list of names and values, or an object of them.
type harHeaders []harHeader

func (h *harHeaders) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '{' {
		return json.Unmarshal(b, (*[]harHeader)(h))
	}
	var object map[string]string
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	for name, value := range object {
		*h = append(*h, harHeader{name, value})
	}
	return nil
}

func parseJSON(data []byte, entry int) (*Request, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errors.New("it begins like JSON and is no HAR: a raw request begins with a line such as POST /hooks/stripe HTTP/1.1; a body alone is given with --body-file")
	}
	switch {
	case d.Log != nil:
		e, err := choose(d.Log.Entries, entry)
		if err != nil {
			return nil, err
		}
		return e.read()
	case entry > 1:
		return nil, errors.New("it holds one request: drop --entry")
	case d.Request != nil:
		return d.harEntry.read()
	case d.Method != "" && d.URL != "":
		return d.readOurs(data)
	}
	return nil, errors.New("JSON without a request: give a HAR, one entry of it, or a raw request; a body alone is given with --body-file")
}

// readOurs reads a request of members. An unknown one may be a mistyped body, which would
// be verified as an empty one.
func (d *document) readOurs(data []byte) (*Request, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err // it was read before
	}
	for name := range all {
		if slices.Contains(members, name) || strings.HasPrefix(name, "_") {
			continue
		}
		if near := nearest.Of(strings.ToLower(name), ours); near != "" {
			return nil, fmt.Errorf("an unknown member: did you mean %s?", near)
		}
		return nil, errors.New("an unknown member: known are " + strings.Join(ours, ", "))
	}
	r, err := d.harRequest.read()
	if err != nil || d.Body == nil && d.BodyBase64 == nil {
		return r, err
	}
	var text string
	switch {
	case d.Body != nil && d.BodyBase64 != nil, d.Post != nil:
		return nil, errors.New("the body is there twice: keep body, body_base64 or postData")
	case d.BodyBase64 != nil:
		r.Body = *d.BodyBase64
	case json.Unmarshal(*d.Body, &text) != nil:
		return nil, errors.New("body is JSON and not its text: the signature covers the bytes that were sent: write them as a string, or as body_base64")
	default:
		r.Body = []byte(text)
	}
	return r, nil
}

// choose returns the requested entry, or the only one.
func choose(entries []harEntry, n int) (*harEntry, error) {
	switch {
	case len(entries) == 0:
		return nil, errors.New("the HAR holds no requests: record again while the sender delivers")
	case n < 0 || n > len(entries):
		return nil, fmt.Errorf("the HAR holds %d requests: --entry counts from 1", len(entries))
	case n > 0:
		return &entries[n-1], nil
	case len(entries) == 1:
		return &entries[0], nil
	}
	var posted []string
	for i, e := range entries {
		if e.Request != nil && e.Request.Post != nil && len(posted) < 10 {
			posted = append(posted, fmt.Sprint(i+1))
		}
	}
	hint := ""
	if len(posted) > 0 {
		hint = "; those with a body: " + strings.Join(posted, ", ")
	}
	return nil, fmt.Errorf("the HAR holds %d requests: choose one with --entry, counted from 1%s", len(entries), hint)
}

func (e *harEntry) read() (*Request, error) {
	if e.Request == nil {
		return nil, errors.New("that entry of the HAR has no request: choose another")
	}
	r, err := e.Request.read()
	if err != nil {
		return nil, err
	}
	if t, err := time.Parse(time.RFC3339, e.Started); err == nil {
		r.Time = t
	}
	return r, nil
}

func (h *harRequest) read() (*Request, error) {
	r := &Request{Method: h.Method, Header: make(http.Header)}
	if !httptoken.Valid(h.Method) {
		return nil, errors.New("the request in the HAR has no method")
	}
	if err := r.SetURL(h.URL); err != nil {
		return nil, fmt.Errorf("the request in the HAR: url: %w", err)
	}
	for _, line := range h.Headers {
		if strings.HasPrefix(line.Name, ":") { // HTTP/2: same as the URL
			continue
		}
		if err := r.AddHeader(line.Name, line.Value); err != nil {
			return nil, fmt.Errorf("the request in the HAR: headers: %w", err)
		}
	}
	r.Header.Del("Transfer-Encoding") // a HAR holds the decoded body
	if h.Post == nil {
		return r, nil
	}
	return r, h.body(r)
}

func (h *harRequest) body(r *Request) (err error) {
	p := h.Post
	switch {
	case p.Text == nil || *p.Text == "" && len(p.Params) > 0:
		r.Body, err = form(p.Params)
	case p.Encoding == "base64" || p.Encoding2 == "base64":
		if r.Body, err = base64.StdEncoding.DecodeString(*p.Text); err != nil {
			err = errors.New("the body in the HAR is not the base64 that it says it is: record again")
		}
	default:
		r.Body = []byte(*p.Text)
	}
	return err
}

// form encodes the fields as a browser does. If the sender escapes differently the
// bytes differ, which the HAR does not show.
func form(params []harParam) ([]byte, error) {
	if slices.ContainsFunc(params, func(p harParam) bool { return p.FileName != nil }) {
		return nil, errors.New("the HAR holds the files of a form and not the bytes that were sent: give the body with --body-file")
	}
	var pairs []string
	for _, p := range params {
		pairs = append(pairs, url.QueryEscape(p.Name)+"="+url.QueryEscape(p.Value))
	}
	return []byte(strings.Join(pairs, "&")), nil
}
