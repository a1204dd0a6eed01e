package tenants

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// endpoint returns a source that asks a server, and the paths it was asked for.
func endpoint(t testing.TB, answer http.HandlerFunc) (*HTTP, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.RequestURI)
		mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	h := &HTTP{URL: server.URL + "/keys/{tenant}?v=1"}
	if err := h.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Cleanup() })
	return h, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

func TestAnswersOfAnEndpoint(t *testing.T) {
	mute := make(chan struct{})
	defer close(mute)
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	const twice = "the answer has a member twice, or in two spellings: of which tenant its keys are is not certain"
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"one secret":               {says(200, `{"tenant":"acme","secrets":["one"]}`), "one"},
		"rotation, and more":       {says(200, `{"tenant":"acme","secrets":["one\n","two"],"public_keys":["key"],"plan":"pro"}`), "one two key"},
		"no such tenant":           {says(404, `{"tenant":"acme","secrets":["one"]}`), "unknown"},
		"another tenant's secret":  {says(200, `{"tenant":"bravo","secrets":["one"]}`), "unknown"},
		"another spelling":         {says(200, `{"tenant":"ACME","secrets":["one"]}`), "unknown"},
		"no name":                  {says(200, `{"secrets":["one"]}`), "unknown"},
		"no key":                   {says(200, `{"tenant":"acme","secrets":[]}`), "unknown"},
		"an error":                 {says(500, `{"tenant":"acme","secrets":["one"]}`), "down"},
		"overload":                 {says(503, ``), "down"},
		"a redirect":               {says(302, `{"tenant":"acme","secrets":["one"]}`), "other: status 302: the endpoint must answer 200, or 404 for a tenant that it does not have"},
		"a token that is refused":  {says(401, ``), "other: status 401: the endpoint must answer 200, or 404 for a tenant that it does not have"},
		"another success":          {says(204, ``), "other: status 204: the endpoint must answer 200, or 404 for a tenant that it does not have"},
		"a tenant's twin":          {says(200, `{"tenant":"bravo","tenant":"acme","secrets":["one"]}`), "other: " + twice},
		"in another case":          {says(200, `{"tenant":"bravo","Tenant":"acme","secrets":["one"]}`), "other: " + twice},
		"behind the keys":          {says(200, `{"tenant":"acme","secrets":["one"],"TENANT":"bravo"}`), "other: " + twice},
		"twins of keys":            {says(200, `{"tenant":"acme","secrets":["one"],"\u017fecrets":["two"]}`), "other: " + twice},
		"twins of no account":      {says(200, `{"tenant":"acme","secrets":["one"],"plan":{"tenant":"bravo"},"Plan":1}`), "one"},
		"a page":                   {says(200, `<html>`), `other: the answer is not {"tenant": "…", "secrets": ["…"], "public_keys": ["…"]}`},
		"a list for a name":        {says(200, `{"tenant":["acme"],"secrets":["one"]}`), `other: the answer is not {"tenant": "…", "secrets": ["…"], "public_keys": ["…"]}`},
		"too much":                 {says(200, strings.Repeat(" ", maxBytes)+`{"tenant":"acme","secrets":["one"]}`), fmt.Sprintf("other: the answer is larger than %d bytes", maxBytes)},
		"a connection that breaks": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "down"},
		"an answer that breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"tenant":"acme","secrets":["one"]}`))
		}, "down"},
	} {
		h, asked := endpoint(t, tc.answer)
		if got := texts(h.Find(t.Context(), "acme", nil)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		all := asked()
		if len(all) == 0 || slices.ContainsFunc(all, func(a string) bool { return a != "GET /keys/acme?v=1" }) {
			t.Errorf("%s: asked %q", name, all)
		}
	}
	h, _ := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-mute:
		case <-r.Context().Done():
		}
	})
	h.client.Timeout = 20 * time.Millisecond
	if got := texts(h.Find(t.Context(), "acme", nil)); got != "down" {
		t.Errorf("no answer in time: %s", got)
	}
	h.URL = "http://127.0.0.1:1/{tenant}"
	if _, err := h.Find(t.Context(), "acme", nil); !errors.Is(err, ErrDown) || strings.Contains(err.Error(), "acme") {
		t.Errorf("nothing listens: %v", err)
	}
}

// TestBearerIsReadForEachQuestion: an agent replaces the token's file.
func TestBearerIsReadForEachQuestion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	var got string
	h, _ := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		w.WriteHeader(404)
	})
	h.Bearer = "{file." + path + "}"
	if err := h.Provision(caddy.Context{}); err != nil {
		t.Fatalf("without the file: %v", err)
	}
	if _, err := h.Find(t.Context(), "acme", nil); err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrDown) || got != "" {
		t.Errorf("without the file: %v, %q", err, got)
	}
	for _, token := range []string{"token-of-the-morning", "token-of-the-evening"} {
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Find(t.Context(), "acme", nil); !errors.Is(err, ErrUnknown) || got != "Bearer "+token {
			t.Errorf("%v, %q", err, got)
		}
	}
}

func TestHTTPErrors(t *testing.T) {
	for address, says := range map[string]string{
		"":                                  "{tenant} once",
		"https://app.internal/keys":         "{tenant} once",
		"https://x/{tenant}/{tenant}":       "{tenant} once",
		"https://app.internal/k?t={tenant}": "whole segment",
		"https://app.internal/k-{tenant}":   "whole segment",
		"https://{tenant}.internal/k":       "whole segment",
		"https://x/{tenant}#a":              "fragment",
		"https://x/{tenant}?v={env.V}":      "placeholder",
		"https://u:hidden@x/{tenant}":       "password",
		"http://app.internal/{tenant}":      "over http://",
		"http://10.0.0.1/{tenant}":          "over http://",
		"ftp://x/{tenant}":                  "begins with https://",
		"//x/{tenant}":                      "begins with https://",
		"https:///{tenant}":                 "begins with https://",
	} {
		h := &HTTP{URL: address}
		if err := h.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"https://app.internal/keys/{tenant}", "https://app.internal/{tenant}/secret?v=1", "http://127.0.0.1:8200/{tenant}", "http://[::1]/{tenant}", "http://localhost/{tenant}"} {
		if err := (&HTTP{URL: address}).Provision(caddy.Context{}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	second := caddy.Duration(time.Second)
	less := caddy.Duration(-1)
	for name, h := range map[string]*HTTP{
		"ttl": {TTL: &second}, "stale": {Stale: &less}, "bearer": {Bearer: "{env.NOT_SET_ANYWHERE}"},
	} {
		h.URL = "https://app.internal/keys/{tenant}"
		if err := h.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOnlyLoopback: http:// goes to this machine, whatever localhost resolves to.
func TestOnlyLoopback(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "10.0.0.1:80": false, "[2001:db8::1]:80": false, "x": false} {
		if err := onlyLoopback("tcp", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestHTTPCaddyfile(t *testing.T) {
	for text, says := range map[string]string{
		"http": "write the address", `http ""`: "write the address", "http https://x/{tenant} more": "takes one address",
		"http https://x/a":                     "{tenant} once",
		"http https://x/{tenant} {\nttl 1s\n}": "at least 10s", "http https://x/{tenant} {\nttl\n}": "one value", "http https://x/{tenant} {\nttl 1m\nttl 2m\n}": "already set",
		"http https://x/{tenant} {\nbaerer x\n}": "did you mean bearer", "http https://x/{tenant} {\nSECRET x\n}": "not repeated", "http https://x/{tenant} {\nbearer {env.X\n}": "bearer",
		"http https://x/{tenant} {\nstale -1s\n}": "stale",
	} {
		if err := new(HTTP).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", text, err)
		}
	}
	h := new(HTTP)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("http https://x/{tenant} {\nbearer {env.TOKEN}\nttl 1m\nstale 0s\n}")); err != nil {
		t.Fatal(err)
	}
	if h.URL != "https://x/{tenant}" || h.Bearer != "{env.TOKEN}" || time.Duration(*h.TTL) != time.Minute || *h.Stale != 0 {
		t.Errorf("%+v", h)
	}
}

// TestAnswersWithoutASecret: a secret that strangers know counts as a failure of the
// source for that tenant, which is logged without it.
func TestAnswersWithoutASecret(t *testing.T) {
	for _, secret := range []string{"None", "changeme", "{env.SECRET}", "It's a Secret to Everybody"} {
		h, _ := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"tenant": "acme", "secrets": []string{secret}})
		})
		b := newBench(t, h.Terms(), 0)
		b.o.Source = h
		if got := b.find(t, "acme"); got != "unavailable" || b.results[ResultFailed] != 1 || b.log.Len() != 1 {
			t.Errorf("%s: %s, %d failures, %d lines", secret, got, b.results[ResultFailed], b.log.Len())
		}
		for _, line := range b.log.All() {
			if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, secret) || !strings.Contains(text, "acme") {
				t.Errorf("%s: logged %s", secret, text)
			}
		}
	}
}
