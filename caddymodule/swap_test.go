package caddymodule

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// generations is a handler whose keys are all in files, which change at once.
type generations struct {
	*gateway
	dir string
}

func newGenerations(t *testing.T) *generations {
	g := &generations{dir: filepath.ToSlash(t.TempDir())}
	g.write(t, "old")
	g.gateway = mustProvision(t, "", acme(
		`"secret":["{file.`+g.dir+`/keys}"]`,
		`"require_header":[{"name":"X-Team","values":"{file.`+g.dir+`/team}"}]`,
		`"sign_upstream":"{file.`+g.dir+`/app}"`,
		`"dedupe":{"off":true}`))
	return g
}

func (g *generations) write(t *testing.T, generation string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(g.dir, "keys")); err != nil {
		t.Fatal(err)
	}
	write(t, generation+"-secret", g.dir, "keys", generation)
	write(t, generation+"-team", g.dir, "team")
	write(t, appSecret(generation), g.dir, "app")
}

func appSecret(generation string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(generation+strings.Repeat("x", 24)))
}

func (g *generations) rotate(t *testing.T) {
	t.Helper()
	g.write(t, "new")
	look(t, g.handlers[0].keys)
}

// observation is everything that shows which keys a request was handled with.
type observation struct {
	status             int
	reason             string
	key                string // that verified it
	upstream           string // the secret that signed for the app: old, new or "" for neither
	logged, kept, hide string // labels: in the log, with the rejection, and of what is redacted
}

// touching is a context that reports its use.
type touching struct {
	context.Context
	touch func()
}

func (c touching) Value(key any) any {
	c.touch()
	return c.Context.Value(key)
}

// deliver sends a delivery and calls touch whenever the handler uses something
// external: the request's context, its body, the clock, the app.
func (g *generations) deliver(t *testing.T, secret, team string, touch func()) (o observation) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/acme", nil)
	r.Header.Set("X-Signature", sign(secret, body))
	r.Header.Set("X-Team", team)
	text := strings.NewReader(body)
	r.ContentLength = int64(len(body))
	r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) { touch(); return text.Read(p) }))

	h, w, repl := g.handlers[0], httptest.NewRecorder(), caddy.NewReplacer()
	h.now = func() time.Time { touch(); return clock }
	r = caddyhttp.PrepareRequest(r, repl, w, nil)
	r = r.WithContext(touching{r.Context(), touch})
	g.logs.TakeAll()
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		touch()
		for _, generation := range []string{"old", "new"} { // the id is random
			if r.Header.Get("Webhook-Signature") == standardWebhooks(t, appSecret(generation), r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body) {
				o.upstream = generation
			}
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}))
	o.status = w.Code
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		o.status = e.StatusCode
	}
	o.reason, _ = repl.GetString(prefix + "reason")
	o.key, _ = repl.GetString(prefix + "key")
	for _, e := range g.logs.FilterMessage("delivery refused").TakeAll() {
		fields := e.ContextMap()
		o.logged = labelsIn(fields["keys"])
		if r := kept.Find(fields["rejection"].(string)); r != nil {
			o.kept = strings.Join(shown(r).Keys, " ")
			r.Detail = o.logged + "-secret"
			if shown(r).Detail == "(redacted)" {
				o.hide = o.logged
			}
		}
	}
	return o
}

func labelsIn(field any) string {
	var labels []string
	for _, label := range field.([]any) {
		labels = append(labels, label.(string))
	}
	return strings.Join(labels, " ")
}

// TestKeysAreSwappedWhole rotates secret, required header and upstream secret at
// every point where a request uses something external. Everything that the request
// uses must be old, or everything new.
func TestKeysAreSwappedWhole(t *testing.T) {
	for what, d := range map[string]struct {
		secret, team string
		old, new     int
	}{
		"genuine before the rotation":       {"old-secret", "old-team", 202, 401},
		"genuine after it":                  {"new-secret", "new-team", 401, 202},
		"new secret with the old header":    {"new-secret", "old-team", 401, 401},
		"old secret with the new header":    {"old-secret", "new-team", 401, 401},
		"forged, with the header of before": {"another", "old-team", 401, 401},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGenerations(t)
			touches := 0
			old := g.deliver(t, d.secret, d.team, func() { touches++ })
			g.rotate(t)
			new := g.deliver(t, d.secret, d.team, func() {})
			if old.status != d.old || new.status != d.new || old == new {
				t.Fatalf("without a rotation: %+v, %+v", old, new)
			}
			if touches < 8 {
				t.Fatalf("it looks outside %d times: there is nothing to try", touches)
			}
			met := make(map[observation]bool)
			for at := 1; at <= touches; at++ {
				g, n := newGenerations(t), 0
				got := g.deliver(t, d.secret, d.team, func() {
					if n++; n == at {
						g.rotate(t)
					}
				})
				if met[got] = true; got != old && got != new {
					t.Errorf("rotated at point %d of %d: %+v, want %+v or %+v", at, touches, got, old, new)
				}
			}
			if !met[old] || !met[new] {
				t.Errorf("met %v, want what was before the rotation and what was after", met)
			}
		})
	}
}

// TestFetchedKeyComesWithTheRest: a delivery that waited for its key is handled with
// everything current then, not with earlier headers and secrets.
func TestFetchedKeyComesWithTheRest(t *testing.T) {
	for team, want := range map[string]int{"old-team": 401, "new-team": 202} {
		dir := filepath.ToSlash(t.TempDir())
		write(t, "old-team", dir, "team")
		public, key := newKey(t)
		s := &sender{pages: map[string]string{setAddress: setOf("a", public)}, now: clock}
		h := s.handler(t, `"name":"`+team+`"`, fromSet, `"require_header":[{"name":"X-Team","values":"{file.`+dir+`/team}"}]`)
		get := h.fetcher.Get
		h.fetcher.Get = func(ctx context.Context, address string) (keys.Page, error) {
			write(t, "new-team", dir, "team")
			look(t, h.keys)
			return get(ctx, address)
		}
		r := signedBy(key, "a")
		r.Header.Set("X-Team", team)
		s.step(t, h, team, r, want, 1)
	}
}
