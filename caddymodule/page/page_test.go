package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// asked records what a gateway was asked.
type asked struct {
	requests []string
	answer   string
	err      error
}

func (a *asked) ask(method, target string, header http.Header) (*http.Response, error) {
	a.requests = append(a.requests, method+" "+target)
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(a.answer))}, nil
}

func serverOf(gateways ...*asked) *Server {
	var all []Gateway
	for _, g := range gateways {
		all = append(all, Gateway{Address: "localhost:2019", Ask: g.ask})
	}
	return New(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}, all)
}

func (s *Server) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// TestOnlyThePageIsAnswered: a request needs the token, the page's own address as Host,
// and not the marks of another site.
func TestOnlyThePageIsAnswered(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(r *http.Request)
		status int
	}{
		"of the page":               {func(r *http.Request) {}, 200},
		"by the name of localhost":  {func(r *http.Request) { r.Host = "localhost:8090" }, 200},
		"of a program":              {func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") }, 200},
		"without the token":         {func(r *http.Request) { r.URL.Path = "/gateways/0" + adminapi.StatusPath }, 404},
		"with another token":        {func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("A", 26) + r.URL.Path[27:] }, 404},
		"with a part of the token":  {func(r *http.Request) { r.URL.Path = r.URL.Path[:10] + r.URL.Path[27:] }, 404},
		"under a rebound name":      {func(r *http.Request) { r.Host = "evil.example:8090" }, 403},
		"without a host":            {func(r *http.Request) { r.Host = "" }, 403},
		"on another port":           {func(r *http.Request) { r.Host = "127.0.0.1:8091" }, 403},
		"of another origin":         {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"of an opaque origin":       {func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		"of another site":           {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"of another port's page":    {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
		"typed, other than a page":  {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") }, 403},
		"with a method that it has": {func(r *http.Request) { r.Method = http.MethodDelete }, 405},
	} {
		g := &asked{answer: "{}"}
		s := serverOf(g)
		r := s.ofPage(http.MethodGet, "gateways/0"+adminapi.StatusPath, "")
		tc.change(r)
		if w := s.serve(r); w.Code != tc.status || (len(g.requests) == 1) != (tc.status == 200) {
			t.Errorf("%s: %d %s, want %d; asked %q", name, w.Code, w.Body, tc.status, g.requests)
		}
	}
	s := serverOf(new(asked))
	for _, site := range []string{"none", "cross-site"} { // typed; from the file of --open
		r := s.ofPage(http.MethodGet, "", "")
		r.Header.Set("Sec-Fetch-Site", site)
		if w := s.serve(r); w.Code != 200 || !strings.Contains(w.Body.String(), "<title>Webhooks</title>") {
			t.Errorf("the page itself, %s: %d", site, w.Code)
		}
	}
	if a, b := serverOf().token, serverOf().token; a == b || len(a) < 26 {
		t.Errorf("tokens %q and %q", a, b)
	}
}

// TestOnlyKnownRequestsArePassedOn: what reads, without bodies of deliveries, and changes
// to an inbox.
func TestOnlyKnownRequestsArePassedOn(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	for request, want := range map[string]string{ // "": not passed on
		"GET gateways/0/verify_webhook/status?hour=1":                               "GET /verify_webhook/status?hour=1",
		"GET gateways/0/verify_webhook/rejections":                                  "GET /verify_webhook/rejections",
		"GET gateways/0/verify_webhook/rejections/3f9a52c07d1e":                     "GET /verify_webhook/rejections/3f9a52c07d1e",
		"GET gateways/0/verify_webhook/inbox?limit=9&state=a&state=b":               "GET /verify_webhook/inbox?limit=9&state=a&state=b",
		"GET gateways/0/verify_webhook/inbox/" + key:                                "GET /verify_webhook/inbox/" + key,
		"GET gateways/0/verify_webhook/inbox/" + key + "?body=1":                    "GET /verify_webhook/inbox/" + key,
		"GET gateways/0/config/":                                                    "",
		"GET gateways/0/verify_webhook/inbox/../../config/":                         "",
		"GET gateways/0/verify_webhook/inbox/" + key + "/replay":                    "",
		"GET gateways/1/verify_webhook/status":                                      "",
		"GET gateways/-1/verify_webhook/status":                                     "",
		"GET gateways/x/verify_webhook/status":                                      "",
		"GET verify_webhook/status":                                                 "",
		`POST gateways/0/inbox {"do":"replay","key":"` + key + `"}`:                 "POST /verify_webhook/inbox/" + key + "/replay",
		`POST gateways/0/inbox {"do":"discard","key":"` + key + `"}`:                "DELETE /verify_webhook/inbox/" + key,
		`POST gateways/0/inbox {"do":"replay","name":"a&b","state":"dead"}`:         "POST /verify_webhook/inbox/replay?name=a%26b&state=dead",
		`POST gateways/0/inbox {"do":"replay","name":"a","state":"dead","after":7}`: "POST /verify_webhook/inbox/replay?after=7&name=a&state=dead",
		`POST gateways/0/inbox {"do":"discard","name":"a","state":"dead"}`:          "DELETE /verify_webhook/inbox?name=a&state=dead",
		`POST gateways/0/inbox {"do":"pause","name":"a"}`:                           "POST /verify_webhook/inbox/pause?name=a",
		`POST gateways/0/inbox {"do":"resume","name":"a"}`:                          "POST /verify_webhook/inbox/resume?name=a",
		`POST gateways/0/inbox {"do":"discard","name":"a"}`:                         "",
		`POST gateways/0/inbox {"do":"discard","state":"dead"}`:                     "",
		`POST gateways/0/inbox {"do":"discard","key":"../deliveries"}`:              "",
		`POST gateways/0/inbox {"do":"discard","key":"` + key + `","name":"a"}`:     "",
		`POST gateways/0/inbox {"do":"stop","name":"a"}`:                            "",
		`POST gateways/0/inbox {"do":"pause","name":"a","all":true}`:                "",
		`POST gateways/0/inbox nothing`:                                             "",
		`POST gateways/0/inbox {"do":"` + strings.Repeat("x", 5000) + `"}`:          "",
		`POST gateways/0/verify_webhook/inbox/pause {"do":"pause","name":"a"}`:      "",
	} {
		g := &asked{answer: "{}"}
		s := serverOf(g)
		method, rest, _ := strings.Cut(request, " ")
		path, body, _ := strings.Cut(rest, " ")
		w := s.serve(s.ofPage(method, path, body))
		if got := strings.Join(g.requests, ", "); got != want || (w.Code == 200) != (want != "") {
			t.Errorf("%.90s: %d, asked %q, want %q", request, w.Code, got, want)
		}
	}
}

// TestFormsOfOtherSites have types that are refused.
func TestFormsOfOtherSites(t *testing.T) {
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json-patch"} {
		g := new(asked)
		s := serverOf(g)
		r := s.ofPage(http.MethodPost, "gateways/0/inbox", `{"do":"pause","name":"a"}`)
		r.Header.Set("Content-Type", kind)
		if w := s.serve(r); w.Code != http.StatusUnsupportedMediaType || len(g.requests) > 0 {
			t.Errorf("%q: %d, asked %q", kind, w.Code, g.requests)
		}
	}
}

// TestOnlyItsOwnScriptRuns: the policy of each page has the hashes of the script and the
// style of the document, which asks no other server.
func TestOnlyItsOwnScriptRuns(t *testing.T) {
	s, i := serverOf(), newInspector()
	t.Run("operator", func(t *testing.T) { onlyItsOwnScript(t, s, s.ofPage(http.MethodGet, "", "")) })
	t.Run("inspector", func(t *testing.T) { onlyItsOwnScript(t, i, i.ofPage(http.MethodGet, "", "")) })
}

func onlyItsOwnScript(t *testing.T, server http.Handler, r *http.Request) {
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	policy := w.Header().Get("Content-Security-Policy")
	for _, tag := range []string{"script", "style"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllSubmatch(w.Body.Bytes(), -1)
		if len(found) != 1 {
			t.Fatalf("%d elements %s", len(found), tag)
		}
		sum := sha256.Sum256(found[0][1])
		if want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	for _, foreign := range []string{"https://", `src="`, "@import", "innerHTML", "insertAdjacentHTML", "document.write", "eval("} {
		if bytes.Contains(w.Body.Bytes(), []byte(foreign)) {
			t.Errorf("the page has %s", foreign)
		}
	}
	for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestErrorsOfAGateway keep their status and text.
func TestErrorsOfAGateway(t *testing.T) {
	for want, err := range map[int]error{404: &StatusError{404, "no inbox"}, 502: errors.New("connection refused")} {
		s := serverOf(&asked{err: err})
		w := s.serve(s.ofPage(http.MethodGet, "gateways/0"+adminapi.InboxPath, ""))
		var said map[string]string
		if json.Unmarshal(w.Body.Bytes(), &said) != nil || w.Code != want || said["error"] != err.Error() {
			t.Errorf("%d %s, want %d %v", w.Code, w.Body, want, err)
		}
	}
}

// TestEvents reads whole events alone.
func TestEvents(t *testing.T) {
	var got []string
	Events(strings.NewReader("retry: 1000\n\n: still here\n\nid: a-1\ndata: {}\n\nevent: missed\ndata: {}\n\nid: a-2\ndata: {\"x\":1}\n\nid: a-3\ndata: {cut"), func(event, id, data string) bool {
		got = append(got, event+"|"+id+"|"+data)
		return len(got) < 9
	})
	if want := []string{"|a-1|{}", "missed||{}", `|a-2|{"x":1}`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestEventWithoutEnd: a gateway cannot fill the memory with one line.
func TestEventWithoutEnd(t *testing.T) {
	stream := &endless{}
	Events(stream, func(string, string, string) bool { t.Error("an event"); return true })
	if stream.read > 4*longestLine {
		t.Errorf("read %d bytes of one line", stream.read)
	}
}

// TestAnswerWithoutEnd is cut off.
func TestAnswerWithoutEnd(t *testing.T) {
	stream := &endless{}
	s := New(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}, []Gateway{{Ask: func(string, string, http.Header) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(stream)}, nil
	}}})
	s.ServeHTTP(forgetful{httptest.NewRecorder()}, s.ofPage(http.MethodGet, "gateways/0"+adminapi.StatusPath, ""))
	if stream.read > 2*largestAnswer {
		t.Errorf("read %d bytes of one answer", stream.read)
	}
}

// endless is a stream of blanks, which ends only where nothing should read any more.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 4*largestAnswer {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

// forgetful drops what is written.
type forgetful struct{ *httptest.ResponseRecorder }

func (forgetful) Write(p []byte) (int, error)       { return len(p), nil }
func (forgetful) WriteString(s string) (int, error) { return len(s), nil }

// TestSilentGateway: who asks a gateway that does not answer is told so, and only so many
// questions wait for it.
func TestSilentGateway(t *testing.T) {
	silent := make(chan struct{})
	defer close(silent)
	var questions atomic.Int64
	s := New(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}, []Gateway{
		{Address: "silent:2019", Ask: func(string, string, http.Header) (*http.Response, error) {
			questions.Add(1)
			<-silent
			return nil, errors.New("closed")
		}},
		{Address: "localhost:2019", Ask: (&asked{answer: "{}"}).ask},
	})
	s.patience = time.Millisecond
	for range 2 * mostAsked {
		w := s.serve(s.ofPage(http.MethodGet, "gateways/0"+adminapi.StatusPath, ""))
		if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "no answer from the admin endpoint at silent:2019 within 1ms") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if n := questions.Load(); n > mostAsked {
		t.Errorf("%d questions wait", n)
	}
	s.patience = time.Minute
	if w := s.serve(s.ofPage(http.MethodGet, "gateways/1"+adminapi.StatusPath, "")); w.Code != http.StatusOK {
		t.Errorf("the other gateway: %d %s", w.Code, w.Body)
	}
}
