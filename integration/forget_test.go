package integration

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// forget calls the admin API for a key.
func (g *gateway) forget(t testing.TB, method, key string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.admin+"/verify_webhook/deliveries/"+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// TestForget: "Redeliver" is deliberate.
func TestForget(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, global string) {
		g := start(t, setup{global: global, site: githubSite})
		want := func(status int, method, key string) {
			t.Helper()
			if a := g.forget(t, method, key); a.status != status || len(key) > 8 && status == http.StatusBadRequest && strings.Contains(a.body, key) {
				t.Errorf("%s %q: %d %s, want %d", method, key, a.status, a.body, status)
			}
		}
		unknown := strings.Repeat("0f", 16)
		want(http.StatusNotFound, http.MethodDelete, unknown)
		for _, garbage := range []string{"", "garbage", unknown[2:], unknown + "00", strings.Repeat("xy", 16), unknown + "/x", "..%2f" + unknown[6:]} {
			want(http.StatusBadRequest, http.MethodDelete, garbage)
		}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
			want(http.StatusMethodNotAllowed, method, unknown)
		}

		id, m, d, finish := newCase(), at("/").message(t), newDesk(), make(chan struct{})
		g.app.answer(id, d.serve(func(_ int, w http.ResponseWriter, _ *http.Request) {
			g.app.until(finish)
			_, _ = io.WriteString(w, "taken")
		}))
		var c crowd
		c.send(t, g, id, m, 1)
		next(t, "the app", d.arrived)
		key := g.app.got(id)[0].Header.Get("Webhook-Delivery")
		want(http.StatusConflict, http.MethodDelete, key)
		if out, code := g.webhook(t, "forget", key); code != 1 || !strings.Contains(out, "in flight: wait for the app's answer") {
			t.Errorf("caddy webhook forget: exit %d:\n%s", code, out)
		}
		close(finish)
		wantForwarded(t, "the delivery", c.wait(t)[0])
		wantDuplicate(t, "a copy", g.do(t, g.h1, g.request(t, id, m)))
		want(http.StatusOK, http.MethodDelete, key)
		want(http.StatusNotFound, http.MethodDelete, key)
		wantForwarded(t, "redelivered", g.do(t, g.h1, g.request(t, id, m)))
		wantDuplicate(t, "its copy", g.do(t, g.h1, g.request(t, id, m)))
		want(http.StatusOK, http.MethodDelete, strings.ToUpper(key))

		// The file forgets too, and the server anyway.
		if global != "" {
			wantForwarded(t, "before the restart", g.do(t, g.h1, g.request(t, id, m)))
			want(http.StatusOK, http.MethodDelete, key)
			g.quit(t)
			restart(t, g)
			wantForwarded(t, "forgotten over a restart", g.do(t, g.h1, g.request(t, id, m)))
			g.quit(t)
			restart(t, g)
			wantDuplicate(t, "remembered over a restart", g.do(t, g.h1, g.request(t, id, m)))
		}
	})
}
