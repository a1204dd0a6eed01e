package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

const degraded = "caddy_verify_webhook_store_degraded"

// TestTwoGatewaysAtOnce: 50 copies over two gateways that share a Redis. The app
// sees one, and every sender is told the truth.
func TestTwoGatewaysAtOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one := start(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	two := one.beside(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	for round, refusals := range []int{0, 3} {
		id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
		one.app.answer(id, d.serve(func(n int, w http.ResponseWriter, _ *http.Request) {
			one.app.until(finish)
			if n <= refusals {
				http.Error(w, "not now", http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, "taken")
		}))
		var c crowd
		c.send(t, one, id, m, copies/2)
		c.send(t, two, id, m, copies/2)
		const turnedAway = copies - 2*(1+waiting)
		eventually(t, "all but one and eight waiters a gateway are answered", func() bool {
			return c.with(http.StatusServiceUnavailable) == turnedAway
		})
		close(finish)
		answers := c.wait(t)
		attempts, most := d.seen()
		if attempts != refusals+1 || most != 1 {
			t.Errorf("round %d: %d attempts, %d at once; want %d, one after another", round, attempts, most, refusals+1)
		}
		want := map[string]int{"200": 1, "200 duplicate": 1 + 2*waiting - refusals, "503": turnedAway}
		if refusals > 0 {
			want["500"] = refusals
		}
		checkCrowd(t, one, id, answers, want)
		for _, g := range []*gateway{one, two} {
			wantDuplicate(t, "a copy afterwards", g.do(t, g.h1, g.request(t, id, m)))
		}
	}
}

// degrade sends deliveries, each of which is taken, until the store is taken for
// down, and then some more.
func degrade(t testing.TB, g *gateway) (sent []message, keys []string) {
	t.Helper()
	send := func() {
		m, key := g.done(t)
		wantDuplicate(t, "a copy while the store is down", g.once(t, m))
		sent, keys = append(sent, m), append(keys, key)
	}
	eventually(t, degraded+" 1", func() bool { send(); return g.metric(t, degraded) == 1 })
	for range 5 {
		send()
	}
	g.wantLog(t, `"level":"error"`, "the dedupe store is down")
	return sent, keys
}

// recovered waits until the store is back, and all that was done meanwhile is in it.
func recovered(t testing.TB, g *gateway, s *redistest.Server, keys []string) {
	t.Helper()
	g.wantLog(t, "the dedupe store is back")
	eventually(t, degraded+" 0", func() bool { return g.metric(t, degraded) == 0 })
	for _, key := range keys {
		eventually(t, key+" is written back", func() bool { return inRedis(t, s, key) == "D200" })
	}
}

// TestRedisKilled: deliveries go on, and what was done meanwhile is written back.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one := start(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	two := one.beside(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	m, key := one.done(t)
	wantDuplicate(t, "at the other gateway", two.once(t, m))
	if value := inRedis(t, s, key); value != "D200" {
		t.Errorf("in Redis: %q, want D200", value)
	}

	// One delivery is in flight when the server dies, with a copy at each gateway.
	id, flying, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
	one.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
		one.app.until(finish)
		_, _ = io.WriteString(w, "taken")
	}))
	var first, here, there crowd
	first.send(t, one, id, flying, 1)
	next(t, "the app", d.arrived)
	here.send(t, one, id, flying, 2*waiting)
	there.send(t, two, id, flying, 2*waiting+1)
	eventually(t, "eight wait here, nine there", func() bool {
		return here.with(http.StatusServiceUnavailable) == waiting && there.with(http.StatusServiceUnavailable) == waiting
	})
	s.Kill()
	for _, a := range there.wait(t) {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("a copy that waited for the other gateway: %d, want 503 with Retry-After", a.status)
		}
	}
	sent, keys := degrade(t, one)
	close(finish)
	wantForwarded(t, "in flight when the server died", first.wait(t)[0])
	for _, a := range here.wait(t) {
		if a.status != http.StatusServiceUnavailable {
			wantDuplicate(t, "a copy of it here", a)
		}
	}
	if attempts, _ := d.seen(); attempts != 1 {
		t.Errorf("the app was called %d times for it, want once", attempts)
	}

	s.Restart() // empty: it has no persistence
	recovered(t, one, s, append(keys, first.answers[0].header.Get("Webhook-Delivery")))
	for _, m := range append(sent, flying) {
		wantDuplicate(t, "of what the other gateway took meanwhile", two.once(t, m))
	}
}

// TestRedisDownReject: those who would rather wait than risk a second copy.
func TestRedisDownReject(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	g := start(t, setup{global: redisStore(s.Addr, "down reject"), site: githubSite})
	m, _ := g.done(t)
	s.Kill()
	for range 8 { // before and after the store is taken for down
		id := newCase()
		a, err := g.post(t.Context(), g.h1, id, at("/").message(t))
		if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || len(g.app.got(id)) != 0 {
			t.Errorf("answered %d, Retry-After %q, %v; app called %d times; want 503 with it, never",
				a.status, a.header.Get("Retry-After"), err, len(g.app.got(id)))
		}
		wantDuplicate(t, "of what this gateway took itself", g.once(t, m))
	}
	g.log.refused(t, "github", "store_down")
	g.wantLog(t, `"level":"error"`, "the dedupe store is down; until it is back, deliveries are answered 503 with Retry-After")
	if n := g.metric(t, degraded); n != 1 {
		t.Errorf("%s %v, want 1", degraded, n)
	}
	s.Restart()
	g.wantLog(t, "the dedupe store is back")
	m, _ = g.done(t)
	wantDuplicate(t, "afterwards", g.once(t, m))
}

// TestRedisUnreachableAtStart: the start goes on, loudly, and so do deliveries.
func TestRedisUnreachableAtStart(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Kill()
	g := start(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	g.wantLog(t, `"level":"error"`, "the dedupe store is down")
	eventually(t, degraded+" 1", func() bool { return g.metric(t, degraded) == 1 })
	m, key := g.done(t)
	wantDuplicate(t, "a copy", g.once(t, m))
	s.Restart()
	recovered(t, g, s, []string{key})
	wantDuplicate(t, "a copy afterwards", g.once(t, m))
}

// TestRedisPaused: a server that hangs costs a delivery at most the budget of a
// claim and a done, and soon nothing.
func TestRedisPaused(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	g := start(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	before, _ := g.done(t)
	redisDo(t, s, "CLIENT", "PAUSE", "6000", "ALL")
	sent, keys := degrade(t, g)
	recovered(t, g, s, keys)
	for _, m := range append(sent, before) {
		wantDuplicate(t, "afterwards", g.once(t, m))
	}
}

// TestRedisFull: a server that refuses to write is taken for one that is down.
func TestRedisFull(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--maxmemory-policy", "noeviction")
	g := start(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	before, _ := g.done(t)
	redisDo(t, s, "CONFIG", "SET", "maxmemory", "1kb")
	sent, keys := degrade(t, g)
	redisDo(t, s, "CONFIG", "SET", "maxmemory", "0")
	recovered(t, g, s, keys)
	for _, m := range append(sent, before) {
		wantDuplicate(t, "afterwards", g.once(t, m))
	}
}

// TestRedisFlushed: what a gateway did and does itself it remembers though the
// server has forgotten it, and tells it again. What it forgot on purpose stays
// forgotten.
func TestRedisFlushed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	g := start(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	other := g.beside(t, setup{global: redisStore(s.Addr, ""), site: githubSite})
	done, _ := g.done(t)
	forgotten, key := g.done(t)
	id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
	g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
		g.app.until(finish)
		_, _ = io.WriteString(w, "taken")
	}))
	var first, more crowd
	first.send(t, g, id, m, 1)
	next(t, "the app", d.arrived)
	redisDo(t, s, "FLUSHALL")
	more.send(t, g, id, m, 2*waiting)
	eventually(t, "eight wait", func() bool { return more.with(http.StatusServiceUnavailable) == waiting })
	close(finish)
	wantForwarded(t, "in flight", first.wait(t)[0])
	for _, a := range more.wait(t) {
		if a.status != http.StatusServiceUnavailable {
			wantDuplicate(t, "a copy of it", a)
		}
	}
	wantDuplicate(t, "marked after the flush", g.do(t, g.h1, g.request(t, id, m)))
	wantDuplicate(t, "of before the flush", g.once(t, done))
	wantDuplicate(t, "and known to the server again", other.once(t, done))

	wantDuplicate(t, "of another one", g.once(t, forgotten))
	if a := other.forget(t, http.MethodDelete, key); a.status != http.StatusOK {
		t.Errorf("forget: %d %s", a.status, a.body)
	}
	wantForwarded(t, "that a person made the other gateway forget", g.once(t, forgotten))
}

const redisPassword = "redis-password-6a11"

// TestRedisPassword: it is used, and shown nowhere; a wrong one is told as such.
func TestRedisPassword(t *testing.T) {
	t.Parallel()
	confide(redisPassword, "not-"+redisPassword)
	s := redistest.Start(t, "--requirepass", redisPassword)
	global := redisStore(s.Addr, "password {env.REDIS_PASSWORD}")
	right := setup{global: global, site: githubSite, env: []string{"REDIS_PASSWORD=" + redisPassword}}
	one := start(t, right)
	two := one.beside(t, right)
	m, _ := one.done(t)
	wantDuplicate(t, "over the shared server", two.once(t, m))
	wrong := start(t, setup{global: global, site: githubSite, env: []string{"REDIS_PASSWORD=not-" + redisPassword}})
	line := wrong.wantLog(t, `"level":"error"`, "the dedupe store is down")
	if !strings.Contains(line.raw, "WRONGPASS") {
		t.Errorf("the log does not say that the password is wrong: %s", line.raw)
	}
	own, _ := wrong.done(t)
	wantDuplicate(t, "alone", wrong.once(t, own))
	for _, g := range []*gateway{one, wrong} {
		config := g.adminGet(t, "/config/")
		if !strings.Contains(config, "{env.REDIS_PASSWORD}") || strings.Contains(config, redisPassword) {
			t.Error("/config/ does not show the placeholder, or shows the password")
		}
	}
}

// TestStoreErrors: what is wrong with a store's lines is told with their line.
func TestStoreErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, c := range []struct{ lines, want string }{
		{"store redis {\naddress 127.0.0.1:1\n}", "namespace"},
		{"store redis {\nnamespace x\n}", "address"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\ndown maybe\n}", "degrade or reject"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\nmode ring\n}", "mode"},
		{"store redis {\naddress 127.0.0.1:1 127.0.0.1:2\nnamespace x\n}", "mode"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\nmode sentinel\n}", "master"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\npassword {env.NOT_SET_ANYWHERE}\n}", "NOT_SET_ANYWHERE"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\npassword\n}", "password"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\ntls DIR/missing.pem\n}", "missing.pem"},
		{"store redis {\naddress 127.0.0.1:1\nnamespace x\nnamespace y\n}", "namespace"},
		{"store bolt {\nmax_entries 0\n}", "max_entries"},
		{"store bolt {\nfile x\n}", "known are max_entries, path"},
		{"store memory {\nmax_entries -1\n}", "max_entries"},
		{"store etcd", "memory and bolt are built in"},
		{"store", "memory, bolt or redis"},
		{"store memory\nstore bolt", "is already set"},
	} {
		path := filepath.Join(dir, fmt.Sprintf("Caddyfile-%d", i))
		text := "{\nverify_webhook {\n" + strings.ReplaceAll(c.lines, "DIR", filepath.ToSlash(dir)) + "\n}\n}\nhttp://:1 {\nverify_webhook github {env.GITHUB_KEY}\n}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := caddy(t, dir, nil, "validate", "--adapter", "caddyfile", "--config", path)
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%q: want an error with %q, got %v\n%s", c.lines, c.want, err, out)
		}
	}
}
