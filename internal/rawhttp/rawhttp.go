// Package rawhttp reads requests saved by tools: in the form of HTTP/1.1, as a HAR, as
// a command line of curl, or as the JSON of "caddy webhook sign". It keeps the body byte
// for byte, since a signature covers bytes.
package rawhttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

// A Request is one saved request.
type Request struct {
	Method string
	Scheme string // https or http; "" if the file does not say
	Host   string
	Target string      // path and query as sent
	Header http.Header // without Host
	Body   []byte
	Time   time.Time // when it was sent, if the file says (HAR)
}

// Parse reads one request. For a HAR with several, entry selects one, counted from 1;
// 0 requires a single one. A command line of curl may name a file of its body. It is never
// opened, since somebody else may have written the command: without the body, which the
// caller may have, that is an error.
//
// A raw request is its request line, its headers, an empty line and the body. Its
// head may end lines in CRLF or LF, lack the version, or have the pseudo-headers of
// HTTP/2. Content-Length determines the end of the body; without it, the rest is the
// body. A chunked body is decoded.
//
// Errors say what to do, and quote nothing from the file.
func Parse(data []byte, entry int, hasBody bool) (*Request, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, errors.New("this is UTF-16, as PowerShell's > writes it: save the bytes as they were sent")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(text) == 0:
		return nil, errors.New("empty: a request begins with a line such as POST /hooks/stripe HTTP/1.1")
	case text[0] == '{':
		return parseJSON(text, entry)
	case entry != 0:
		return nil, errors.New("a raw request is one entry: drop --entry, or name a HAR")
	case isCurl(text):
		return parseCurl(text, hasBody)
	}
	return parseRaw(data)
}

func parseRaw(data []byte) (*Request, error) {
	r := &Request{Header: make(http.Header)}
	lines := &head{rest: data}
	line, ok := lines.next()
	for ok && line == "" { // RFC 9112 §2.2 allows skipping them
		line, ok = lines.next()
	}
	if err := r.requestLine(line); err != nil {
		return nil, fmt.Errorf("line %d: %w", lines.n, err)
	}
	if strings.HasPrefix(line, ":") { // HTTP/2 has no request line
		if err := r.headerLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.n, err)
		}
	}
	for {
		if line, ok = lines.next(); !ok || line == "" {
			break
		}
		if err := r.headerLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.n, err)
		}
	}
	if r.Method == "" || r.Target == "" {
		return nil, errors.New("no :method and :path: begin with a line such as POST /hooks/stripe HTTP/1.1")
	}
	return r, r.readBody(lines.rest)
}

// A head is read line by line; the rest is kept as it is.
type head struct {
	rest []byte
	n    int // number of the last line read
}

func (h *head) next() (line string, ok bool) {
	if len(h.rest) == 0 {
		return "", false
	}
	h.n++
	text, rest, _ := bytes.Cut(h.rest, []byte("\n"))
	h.rest = rest
	return string(bytes.TrimSuffix(text, []byte("\r"))), true
}

func (r *Request) requestLine(line string) error {
	if strings.HasPrefix(line, ":") {
		return nil
	}
	if strings.HasPrefix(line, "HTTP/") {
		return errors.New("this is a response: save the request that the sender made")
	}
	words := strings.Fields(line)
	if len(words) < 2 || len(words) > 3 || len(words) == 3 && !strings.HasPrefix(words[2], "HTTP/") || !httptoken.Valid(words[0]) {
		return errors.New("no request line: write the method and the path, such as POST /hooks/stripe HTTP/1.1")
	}
	r.Method = words[0]
	return r.setTarget(words[1])
}

// setTarget parses a path or an absolute URL (RFC 9112 §3.2).
func (r *Request) setTarget(text string) error {
	switch {
	case hasControl(text) || hasSpace(text):
		return errors.New("the path holds a space or a control character: save the request as it was sent")
	case strings.HasPrefix(text, "/"):
		r.Target = text
		return nil
	}
	return r.SetURL(text)
}

// SetURL sets the URL that the sender called: an absolute http or https URL. Path and
// query keep their spelling.
func (r *Request) SetURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || hasControl(text) || hasSpace(text) {
		return errors.New("not a URL that a sender calls: write a path, or the whole, such as https://hooks.example.com/hooks/stripe")
	}
	text, _, _ = strings.Cut(text, "#") // fragments are never sent
	_, rest, _ := strings.Cut(text, "://")
	r.Scheme, r.Host, r.Target = u.Scheme, u.Host, rest[len(hostOf(rest)):]
	if !strings.HasPrefix(r.Target, "/") {
		r.Target = "/" + r.Target
	}
	return nil
}

// hostOf cuts off the text after the authority.
func hostOf(text string) string {
	if i := strings.IndexAny(text, "/?"); i >= 0 {
		return text[:i]
	}
	return text
}

func (r *Request) headerLine(line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errors.New("it begins with a space: write a header's value on one line")
	}
	if pseudo, ok := strings.CutPrefix(line, ":"); ok {
		return r.pseudoHeader(pseudo)
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return errors.New("no colon: headers are written Name: value, and an empty line ends them")
	}
	return r.AddHeader(name, value)
}

// pseudoHeader reads the parts of an HTTP/2 request line (RFC 9113 §8.3.1).
func (r *Request) pseudoHeader(line string) error {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch name {
	case "method":
		if !httptoken.Valid(value) {
			return errors.New(":method is not a method")
		}
		r.Method = value
	case "path":
		return r.setTarget(value)
	case "authority":
		return r.AddHeader("Host", value)
	case "scheme":
		r.Scheme = value
	}
	return nil
}

// AddHeader adds a header line. White space around a value is not part of it (RFC
// 9110 §5.5).
func (r *Request) AddHeader(name, value string) error {
	value = strings.Trim(value, " \t")
	switch {
	case !httptoken.Valid(name):
		return errors.New("not a header name before the colon: headers are written Name: value, and an empty line ends them")
	case hasControl(strings.ReplaceAll(value, "\t", " ")):
		return errors.New("the header's value holds a control character: save the request again, or take the character out")
	case !strings.EqualFold(name, "Host"):
		name = textproto.CanonicalMIMEHeaderKey(name)
		r.Header[name] = append(r.Header[name], value)
	case r.Host == "":
		r.Host = value
	case r.Scheme == "" && r.Host != value: // ignored with an absolute URL
		return errors.New("two hosts: keep one")
	}
	return nil
}

// readBody cuts the body off the text after the head.
func (r *Request) readBody(rest []byte) error {
	if codings, ok := r.Header["Transfer-Encoding"]; ok {
		r.Header.Del("Transfer-Encoding")
		r.Header.Del("Content-Length") // RFC 9112 §6.3: Transfer-Encoding overrides it
		if !strings.EqualFold(strings.Join(codings, ","), "chunked") {
			return errors.New("a Transfer-Encoding other than chunked: save the body decoded, and drop that line")
		}
		body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(rest)))
		if err != nil {
			return errors.New("the body is not in chunks, or cut off: if the tool has decoded it, drop the line Transfer-Encoding")
		}
		r.Body = body
		return nil
	}
	r.Body = rest
	lengths := slices.Compact(slices.Clone(r.Header["Content-Length"]))
	if len(lengths) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 62)
	switch {
	case len(lengths) > 1 || err != nil:
		return errors.New("Content-Length is not one number: drop it to take all that follows the empty line")
	case n > uint64(len(rest)):
		return fmt.Errorf("Content-Length says %d bytes and %d follow the empty line: the body was cut off or its line ends were changed; save it again, or drop Content-Length if these bytes are what was sent", n, len(rest))
	}
	r.Body = rest[:n]
	if more := rest[n:]; len(bytes.Trim(more, "\r\n")) > 0 { // editors end files with a line break
		return fmt.Errorf("Content-Length says %d bytes and %d follow the empty line: the body was changed or is not one request's; save it again, or drop Content-Length if these bytes are what was sent", n, len(rest))
	}
	return nil
}

// Write writes the request so that Parse reads it: with an absolute URL if it used
// plain HTTP and whole is set, since a path implies https.
func (r *Request) Write(w io.Writer, whole bool) error {
	target := r.Target
	if whole && r.Scheme == "http" {
		target = "http://" + r.Host + target
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, target, r.Host)
	header := r.Header.Clone()
	header.Del("Transfer-Encoding")
	if header == nil {
		header = make(http.Header)
	}
	header["Content-Length"] = []string{strconv.Itoa(len(r.Body))}
	if err := header.Write(&head); err != nil {
		return err
	}
	if _, err := io.WriteString(w, head.String()+"\r\n"); err != nil {
		return err
	}
	_, err := w.Write(r.Body)
	return err
}

// URL returns the absolute URL.
func (r *Request) URL() string { return r.Scheme + "://" + r.Host + r.Target }

// hasSpace reports whether a request line would end its target early.
func hasSpace(text string) bool { return strings.ContainsFunc(text, unicode.IsSpace) }

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
}
