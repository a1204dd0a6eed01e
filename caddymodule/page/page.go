// Package page serves two pages, each one HTML document on a loopback address: the
// operator's, which shows running gateways through their admin endpoints, and replays,
// discards and pauses what their inboxes hold; and the developer's, which shows the
// requests that "caddy webhook listen" receives.
//
// The address of a page has a token, without which the server answers nothing: what
// else runs on the machine, and other sites in the same browser, cannot read or change
// anything. The operator's server passes on only requests that it knows, and none of a
// browser's headers, because Caddy's admin endpoint refuses requests of browsers.
package page

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// A Gateway is one instance that the page shows.
type Gateway struct {
	Address string // of its admin endpoint, as the operator wrote it
	// Ask sends a request to the admin endpoint. It returns a [StatusError] for an
	// answer that is not a success, and another error if there is no answer.
	Ask func(method, target string, header http.Header) (*http.Response, error)
}

// A Server serves the page of some gateways.
type Server struct {
	guard
	gateways []Gateway
	places   []chan struct{} // of each gateway, those of questions without an answer
	patience time.Duration   // with a gateway that does not answer
}

const (
	patience = 10 * time.Second
	// mostAsked is how many questions one gateway may leave without an answer.
	mostAsked = 32
	// largestAnswer is far above that of a gateway with thousands of handlers, in bytes.
	largestAnswer = 64 << 20
)

// New returns the server of the page on the address of a loopback listener.
func New(addr net.Addr, gateways []Gateway) *Server {
	s := &Server{guard: newGuard(addr, operator), gateways: gateways, patience: patience}
	for range gateways {
		s.places = append(s.places, make(chan struct{}, mostAsked))
	}
	return s
}

//go:embed page.js
var script string

//go:embed inbox.js
var inboxScript string

var operator = newDocument("Webhooks", "caddy webhook status, deliveries, rejections, inbox", inboxScript+"\n"+script)

// ServeHTTP answers only requests of the page itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := s.admitted(w, r)
	if !ok {
		return
	}
	switch {
	case path == "gateways" && r.Method == http.MethodGet:
		addresses := []string{}
		for _, g := range s.gateways {
			addresses = append(addresses, g.Address)
		}
		answer(w, addresses)
	case path == "deliveries" && r.Method == http.MethodGet:
		s.follow(w, r)
	default:
		s.pass(w, r, path)
	}
}

// pass asks one gateway: GET gateways/N/PATH reads a path of the admin API, POST
// gateways/N/inbox changes its inbox.
func (s *Server) pass(w http.ResponseWriter, r *http.Request, path string) {
	number, rest, _ := strings.Cut(strings.TrimPrefix(path, "gateways/"), "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(s.gateways) {
		fail(w, &StatusError{http.StatusNotFound, "no such path"})
		return
	}
	method, target := http.MethodGet, ""
	switch r.Method {
	case http.MethodGet:
		target, err = readable("/"+rest, r.URL.Query())
	case http.MethodPost:
		method, target, err = change(r, rest)
	default:
		err = notAllowed(w, "GET, POST")
	}
	if err != nil {
		fail(w, err)
		return
	}
	resp, err := s.ask(r.Context(), n, method, target, nil)
	if err != nil {
		fail(w, err)
		return
	}
	defer resp.Body.Close()
	defer time.AfterFunc(s.patience, func() { _ = resp.Body.Close() }).Stop()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.Copy(w, io.LimitReader(resp.Body, largestAnswer))
}

// ask asks one gateway, which may answer late or never: a question goes on after its
// asker has given up, and the number of them is limited.
func (s *Server) ask(ctx context.Context, n int, method, target string, header http.Header) (*http.Response, error) {
	silent := fmt.Errorf("no answer from the admin endpoint at %s within %s", s.gateways[n].Address, s.patience)
	select {
	case s.places[n] <- struct{}{}:
	default:
		return nil, silent
	}
	type answer struct {
		resp *http.Response
		err  error
	}
	answers, gone := make(chan answer), make(chan struct{})
	defer close(gone)
	go func() {
		resp, err := s.gateways[n].Ask(method, target, header)
		<-s.places[n]
		select {
		case answers <- answer{resp, err}:
		case <-gone:
			if err == nil {
				_ = resp.Body.Close()
			}
		}
	}()
	late := time.NewTimer(s.patience)
	defer late.Stop()
	select {
	case a := <-answers:
		return a.resp, a.err
	case <-late.C:
		return nil, silent
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readable returns the target of a request that only reads. No body of a delivery can
// be asked for.
func readable(path string, query url.Values) (string, error) {
	readable := slices.Contains([]string{adminapi.StatusPath, adminapi.RejectionsPath, adminapi.InboxPath}, path)
	for _, list := range []string{adminapi.RejectionsPath, adminapi.InboxPath} {
		id, found := strings.CutPrefix(path, list+"/")
		readable = readable || found && isHex(id)
	}
	if !readable {
		return "", &StatusError{http.StatusNotFound, "no such path"}
	}
	asked := make(url.Values)
	for _, name := range []string{"name", "state", "limit", "after", "hour"} {
		if values := query[name]; len(values) > 0 {
			asked[name] = values
		}
	}
	if len(asked) == 0 {
		return path, nil
	}
	return path + "?" + asked.Encode(), nil
}

func isHex(text string) bool { return text != "" && strings.Trim(text, "0123456789abcdef") == "" }

// change reads what to change in an inbox.
func change(r *http.Request, path string) (method, target string, err error) {
	if path != "inbox" {
		return "", "", &StatusError{http.StatusNotFound, "no such path"}
	}
	var do struct {
		Do    string `json:"do"`
		Key   string `json:"key"`   // of one delivery
		Name  string `json:"name"`  // of a handler
		State string `json:"state"` // of the deliveries of a handler
		After uint64 `json:"after"`
	}
	if err := readJSON(r, &do); err != nil {
		return "", "", err
	}
	query := url.Values{"name": {do.Name}}
	if do.State != "" {
		query.Set("state", do.State)
	}
	if do.After > 0 {
		query.Set("after", strconv.FormatUint(do.After, 10))
	}
	one, many := isHex(do.Key) && do.Name == "", do.Key == "" && do.Name != ""
	switch {
	case do.Do == "replay" && one:
		return http.MethodPost, adminapi.InboxPath + "/" + do.Key + "/replay", nil
	case do.Do == "discard" && one:
		return http.MethodDelete, adminapi.InboxPath + "/" + do.Key, nil
	case do.Do == "replay" && many && do.State != "":
		return http.MethodPost, adminapi.InboxPath + "/replay?" + query.Encode(), nil
	case do.Do == "discard" && many && do.State != "":
		return http.MethodDelete, adminapi.InboxPath + "?" + query.Encode(), nil
	case (do.Do == "pause" || do.Do == "resume") && many && do.State == "":
		return http.MethodPost, adminapi.InboxPath + "/" + do.Do + "?" + query.Encode(), nil
	}
	return "", "", &StatusError{http.StatusBadRequest, fmt.Sprintf("cannot %q: name one delivery (key), or a handler (name) and a state", do.Do)}
}
