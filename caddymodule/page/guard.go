package page

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A guard serves one document on a loopback address, and decides which other requests
// are that document's.
type guard struct {
	token    string
	hosts    []string // values of Host under which it may be reached
	document document
}

func newGuard(addr net.Addr, d document) guard {
	_, port, _ := net.SplitHostPort(addr.String())
	return guard{token: rand.Text(), hosts: []string{addr.String(), "localhost:" + port}, document: d}
}

// URL is the address of the page, with its token.
func (g *guard) URL() string { return "http://" + g.hosts[0] + "/" + g.token + "/" }

// A document is a page, and its Content-Security-Policy: only its own script and style
// run, and it reaches only its own server.
type document struct {
	text   []byte
	policy string
}

//go:embed frame.html
var frame string

//go:embed kit.css
var style string

//go:embed kit.js
var kit string

// newDocument returns the page of a title and a script. without says where the same facts
// are when scripts do not run.
func newDocument(title, without, script string) document {
	script = "'use strict';\n(() => {\n" + kit + "\n" + script + "})();\n"
	text := strings.NewReplacer("/*title*/", title, "/*without*/", without, "/*style*/", style, "/*script*/", script).Replace(frame)
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return document{[]byte(text), "default-src 'none'; script-src " + hash(script) + "; style-src " + hash(style) +
		"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
}

// admitted answers a request of the document itself, and one that is not the document's.
// It returns the path behind the token of any other.
func (g *guard) admitted(w http.ResponseWriter, r *http.Request) (path string, ok bool) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", g.document.policy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	path, err := g.admit(r)
	switch {
	case err != nil:
		fail(w, err)
	case path == "" && r.Method == http.MethodGet:
		header.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(g.document.text)
	default:
		return path, true
	}
	return "", false
}

// admit returns the path behind the token, or why the request is not one of the page.
func (g *guard) admit(r *http.Request) (string, error) {
	if !slices.Contains(g.hosts, r.Host) { // a foreign name that leads here: DNS rebinding
		return "", &StatusError{http.StatusForbidden, "the page has another address: copy the one that the command printed"}
	}
	token, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(token), []byte(g.token)) != 1 {
		return "", &StatusError{http.StatusNotFound, "no such page: copy the address that the command printed"}
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return "", &StatusError{http.StatusForbidden, "a request of another site"}
	}
	// The document itself may be opened from elsewhere, by whoever knows the token.
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && path != "" {
		return "", &StatusError{http.StatusForbidden, "a request of another site"}
	}
	return path, nil
}

// readJSON reads what a request of the page posts, which has no members but those of into.
func readJSON(r *http.Request, into any) error {
	// A form of another site cannot have this type.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &StatusError{http.StatusUnsupportedMediaType, "send application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 4096))
	if err != nil {
		return &StatusError{http.StatusRequestEntityTooLarge, "the request is too large"}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return &StatusError{http.StatusBadRequest, "invalid JSON"}
	}
	return nil
}

// A StatusError is an error with the status of its answer.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string { return e.Text }

// notAllowed is the error of a method that a path does not have.
func notAllowed(w http.ResponseWriter, methods string) error {
	w.Header().Set("Allow", methods)
	return &StatusError{http.StatusMethodNotAllowed, "use " + strings.ReplaceAll(methods, ", ", " or ")}
}

// answer answers as JSON.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// fail answers an error as JSON.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	if e, ok := errors.AsType[*StatusError](err); ok {
		status = e.Status
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
