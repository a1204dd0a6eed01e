package caddymodule

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
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
	serial := 0
	send := func(h *Handler) time.Duration {
		return turnOf(b, h, func() *http.Request {
			serial++
			text := `{"serial":` + strconv.Itoa(serial) + `}`
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
			return r
		})
	}
	var none, with []time.Duration
	for b.ResetTimer(); len(none)*turn < b.N; {
		none, with = append(none, send(g.handlers[0])), append(with, send(g.handlers[1]))
	}
	b.ReportMetric(float64(slices.Min(none).Nanoseconds()), "none_ns/delivery")
	b.ReportMetric(float64((slices.Min(with) - slices.Min(none)).Nanoseconds()), "inbox_adds_ns/delivery")
}

// turn is how many deliveries a benchmark sends to a handler before the next one's turn.
const turn = 500

// turnOf returns the time of a delivery in the handler alone, in a turn of many.
func turnOf(b *testing.B, h *Handler, delivery func() *http.Request) time.Duration {
	app := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.Copy(io.Discard, r.Body)
		_, err := io.WriteString(w, "taken")
		return err
	})
	var writers [turn]*httptest.ResponseRecorder
	var requests [turn]*http.Request
	for i := range requests {
		r := delivery()
		for _, name := range []string{"User-Agent", "Accept-Encoding", "Content-Type"} {
			r.Header.Set(name, "x")
		}
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

// BenchmarkHandlerTenants measures a delivery in the handler alone: with a fixed secret,
// with that of one tenant, and with those of ten thousand in random order, in turns.
// Reported are the quickest turn with a fixed secret, and what tenants add to it.
//
//	go test ./caddymodule -run=- -bench=HandlerTenants -benchtime=60000x
func BenchmarkHandlerTenants(b *testing.B) {
	const tenants, secret = 10_000, "9f31c0a2d47be58690f1c3a5d7e9b826"
	dir := b.TempDir()
	for i := range tenants {
		setSecret(b, dir, strconv.Itoa(i), secret)
	}
	source, _ := json.Marshal(map[string]any{"source": "file", "secret": []string{dir + "/{tenant}"}})
	with := []string{`"dedupe":{"off":true}`, `"tenant":"{http.request.uri.path.0}"`, `"tenants":` + string(source)}
	g := mustProvision(b, "", acme(`"secret":["`+secret+`"]`, `"dedupe":{"off":true}`, `"name":"fixed"`), acme(append(with, `"name":"one"`)...), acme(append(with, `"name":"many"`)...))
	g.start(b)
	body := strings.Repeat("x", 1024)
	signature, serial := sign(secret, body), 0
	ways := [3]func() string{
		func() string { return "/1" }, func() string { return "/1" },
		func() string { serial += 7919; return "/" + strconv.Itoa(serial%tenants) },
	}
	var took [3][]time.Duration
	for b.ResetTimer(); len(took[0])*turn < b.N+tenants; { // the first ones fill the cache
		for i, path := range ways {
			took[i] = append(took[i], turnOf(b, g.handlers[i], func() *http.Request {
				r := httptest.NewRequest(http.MethodPost, path(), strings.NewReader(body))
				r.Header.Set("X-Signature", signature)
				return r
			}))
		}
	}
	fixed := slices.Min(took[0])
	b.ReportMetric(float64(fixed.Nanoseconds()), "fixed_ns/delivery")
	b.ReportMetric(float64((slices.Min(took[1]) - fixed).Nanoseconds()), "one_adds_ns")
	b.ReportMetric(float64((slices.Min(took[2]) - fixed).Nanoseconds()), "10000_add_ns")
}

// BenchmarkAdvice measures what the start finds out about the secrets of 500 handlers: each
// has a key file of its own, or tenants with a folder of their own.
//
//	go test ./caddymodule -run=- -bench=Advice
func BenchmarkAdvice(b *testing.B) {
	dir := filepath.ToSlash(b.TempDir())
	providers := []string{"github", "gitea", "stripe", "zoom", "smartcar", "pandadoc", "intercom"}
	var senders strings.Builder
	for i := range 500 {
		n := strconv.Itoa(i)
		secret := "secret {file." + dir + "/" + n + "}"
		if i%2 > 0 {
			secret = "tenant {path.2}\n secret {file." + dir + "/of" + n + "/{tenant}}"
		}
		setSecret(b, dir, n, fmt.Sprintf("%x", sha256.Sum256([]byte(n))))
		fmt.Fprintf(&senders, "sender %s {\n name n%s\n path /hooks/n%s/*\n %s\n }\n", providers[i%len(providers)], n, n, secret)
	}
	config, err := adapt("Caddyfile", "hooks.example.com {\n verify_webhooks /hooks/* {\n"+senders.String()+" reverse_proxy app:3000\n }\n respond 404\n }")
	if err != nil {
		b.Fatal(err)
	}
	a, _ := appOf(b, config)
	for b.Loop() {
		if found := slices.Concat(a.sharedSecrets(), a.oracles(), a.oneSecret(), a.tenantsSign(), a.mixedTenants()); len(found) > 0 {
			b.Fatal(found)
		}
	}
}
