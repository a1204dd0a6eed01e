package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newInspector() *Inspector {
	return NewInspector(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}, About{Address: "http://localhost:9000", Senders: []string{"stripe"}})
}

// ofPage is a request of the page itself, with a path below the token.
func (g *guard) ofPage(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, g.URL()+path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://127.0.0.1:8090")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// TestOnlyTheInspectorsPageActs: whatever shows, sends or saves a request needs the token,
// the page's address and no marks of another site; whatever changes something is a POST of
// JSON.
func TestOnlyTheInspectorsPageActs(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path, body string
		change             func(r *http.Request)
		status             int
		did                string
	}{
		"shows":                      {"GET", "requests/1", "", nil, 200, "show"},
		"says what it is of":         {"GET", "about", "", nil, 200, ""},
		"sends":                      {"POST", "requests/1", `{"do":"send"}`, nil, 200, "send"},
		"saves":                      {"POST", "requests/1", `{"do":"save"}`, nil, 200, "save"},
		"sends what reached no app":  {"POST", "requests/2", `{"do":"send"}`, nil, 400, ""},
		"does something else":        {"POST", "requests/1", `{"do":"show"}`, nil, 400, ""},
		"has another member":         {"POST", "requests/1", `{"do":"send","to":"http://evil.example"}`, nil, 400, ""},
		"no longer kept":             {"GET", "requests/3", "", nil, 404, ""},
		"no number":                  {"GET", "requests/x", "", nil, 404, ""},
		"another path":               {"GET", "gateways", "", nil, 404, ""},
		"sends by GET":               {"GET", `requests/1?do=send`, "", nil, 200, "show"},
		"sends by PUT":               {"PUT", "requests/1", `{"do":"send"}`, nil, 405, ""},
		"sends a form":               {"POST", "requests/1", `{"do":"send"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, ""},
		"sends for another origin":   {"POST", "requests/1", `{"do":"send"}`, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, ""},
		"sends for another site":     {"POST", "requests/1", `{"do":"send"}`, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, ""},
		"shows under a rebound name": {"GET", "requests/1", "", func(r *http.Request) { r.Host = "evil.example:8090" }, 403, ""},
		"shows without the token":    {"GET", "requests/1", "", func(r *http.Request) { r.URL.Path = "/requests/1" }, 404, ""},
		"lists without the token":    {"GET", "requests", "", func(r *http.Request) { r.URL.Path = "/requests" }, 404, ""},
	} {
		i, did := newInspector(), ""
		one := Request{
			Row:  map[string]int{},
			Show: func(context.Context) any { did += "show"; return map[string]int{} },
			Send: func(context.Context) (any, error) { did += "send"; return map[string]int{}, nil },
			Save: func() (string, error) { did += "save"; return "x.http", nil },
		}
		i.Add(one)
		one.Send = nil
		i.Add(one)
		r := i.ofPage(tc.method, tc.path, tc.body)
		if tc.change != nil {
			tc.change(r)
		}
		w := httptest.NewRecorder()
		i.ServeHTTP(w, r)
		if w.Code != tc.status || did != tc.did {
			t.Errorf("%s: %d %s, want %d; it did %q, want %q", name, w.Code, w.Body, tc.status, did, tc.did)
		}
	}
}

// TestInspectorSaysWhatFailed: an error is the answer, not a success.
func TestInspectorSaysWhatFailed(t *testing.T) {
	i := newInspector()
	i.Add(Request{
		Send: func(context.Context) (any, error) { return nil, errors.New("no answer from the app") },
		Save: func() (string, error) { return "", errors.New("the disk is full") },
	})
	for do, want := range map[string]string{"send": "no answer from the app", "save": "the disk is full"} {
		w := httptest.NewRecorder()
		i.ServeHTTP(w, i.ofPage("POST", "requests/1", `{"do":"`+do+`"}`))
		var said map[string]string
		if json.Unmarshal(w.Body.Bytes(), &said) != nil || w.Code != http.StatusBadGateway || said["error"] != want {
			t.Errorf("%s: %d %s", do, w.Code, w.Body)
		}
	}
}

// TestInspectorForgets: strangers who flood a tunnel fill no memory.
func TestInspectorForgets(t *testing.T) {
	i := newInspector()
	for range 3 * mostRequests {
		i.Add(Request{Bytes: 1})
	}
	if kept, _ := i.after(0); len(kept) != mostRequests || kept[0].n != 2*mostRequests+1 {
		t.Errorf("%d are kept, from number %d", len(kept), kept[0].n)
	}
	for range 10 {
		i.Add(Request{Bytes: mostBytes / 4})
	}
	kept, _ := i.after(0)
	if len(kept) != 4 || i.bytes != mostBytes {
		t.Errorf("%d are kept, of %d bytes", len(kept), i.bytes)
	}
	i.Add(Request{Bytes: 2 * mostBytes})
	if kept, _ := i.after(0); len(kept) != 1 {
		t.Errorf("%d are kept beside a large one", len(kept)-1)
	}
}

// TestInspectorStreams what is kept, then what comes, each once and in order.
func TestInspectorStreams(t *testing.T) {
	i := newInspector()
	i.Add(Request{Row: map[string]string{"path": "/a"}})
	server := httptest.NewServer(i)
	defer server.Close()
	i.hosts = append(i.hosts, server.Listener.Addr().String())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/"+i.token+"/requests", nil)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n := 0
	Events(resp.Body, func(_, _, data string) bool {
		n++
		if want := fmt.Sprintf(`{"n":%d,"row":{"path":"/%c"}}`, n, 'a'+n-1); data != want {
			t.Errorf("%s, want %s", data, want)
		}
		if n < 3 {
			i.Add(Request{Row: map[string]string{"path": "/" + string(rune('a'+n))}})
		}
		return n < 3
	})
	if n != 3 {
		t.Errorf("%d events", n)
	}
}
