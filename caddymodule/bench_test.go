package caddymodule

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkHandlerInbox measures a delivery in the handler alone, without an inbox and
// with one, in turns. Reported are the quickest turns: what noise adds is not the
// handler's. An op is one delivery each way.
//
//	go test ./caddymodule -run=- -bench=HandlerInbox -benchtime=200000x
func BenchmarkHandlerInbox(b *testing.B) {
	config, err := json.Marshal(map[string]any{"inbox": map[string]any{"inbox": "bolt", "path": filepath.Join(b.TempDir(), "inbox.db")}})
	if err != nil {
		b.Fatal(err)
	}
	g := mustProvision(b, string(config), acme(topsecret, `"name":"none"`), acme(topsecret, `"name":"inbox"`, `"inbox":{}`))
	g.start(b)
	g.awaitInbox()
	app := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.Copy(io.Discard, r.Body)
		_, err := io.WriteString(w, "taken")
		return err
	})
	const turn = 500
	serial := 0
	send := func(h *Handler) time.Duration {
		var writers [turn]*httptest.ResponseRecorder
		var requests [turn]*http.Request
		for i := range requests {
			serial++
			text := `{"serial":` + strconv.Itoa(serial) + `}`
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
			for _, name := range []string{"User-Agent", "Accept-Encoding", "Content-Type"} {
				r.Header.Set(name, "x")
			}
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
			writers[i] = httptest.NewRecorder()
			writers[i].Header().Set("Server", "Caddy")
			requests[i] = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), writers[i], nil)
		}
		began := time.Now()
		for i, r := range requests {
			if err := h.ServeHTTP(writers[i], r, app); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began)
		if writers[turn-1].Body.String() != "taken" {
			b.Fatalf("answered %d", writers[turn-1].Code)
		}
		return took / turn
	}
	var none, with []time.Duration
	for b.ResetTimer(); len(none)*turn < b.N; {
		none, with = append(none, send(g.handlers[0])), append(with, send(g.handlers[1]))
	}
	b.ReportMetric(float64(slices.Min(none).Nanoseconds()), "none_ns/delivery")
	b.ReportMetric(float64((slices.Min(with) - slices.Min(none)).Nanoseconds()), "inbox_adds_ns/delivery")
}
