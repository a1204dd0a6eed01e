package integration

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A kept is one delivery in the admin API.
type kept struct {
	Cursor, Name, Outcome, Reason, ID, Event, Key, Delivery string
	Status, Attempt                                         int
}

// following is "caddy webhook deliveries --follow --json" as it runs.
type following struct{ lines chan string }

func (g *gateway) follow(t testing.TB) following {
	t.Helper()
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "webhook", "deliveries", "--follow", "--json", "--address", g.admin)
	cmd.Env = caddyEnv(t.TempDir(), nil)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f := following{make(chan string, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	return f
}

func (f following) next(t testing.TB) (k kept) {
	t.Helper()
	line := next(t, "caddy webhook deliveries --follow", f.lines)
	if err := json.Unmarshal([]byte(line), &k); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return k
}

// stream opens a stream of the admin endpoint.
func (g *gateway) stream(t testing.TB) *bufio.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.admin+"/verify_webhook/deliveries?limit=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("answered %d, %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "retry: 1000\n" {
		t.Fatalf("%v, %q", err, line)
	}
	return lines
}

// ends reads the rest of a stream.
func ends(lines *bufio.Reader) (text string) {
	for {
		line, err := lines.ReadString('\n')
		text += line
		if err != nil {
			return text
		}
	}
}

// TestDeliveriesOverReloadsAndRestarts: a follower sees each delivery once, and open
// streams delay neither a reload nor a stop: Caddy's admin server waits ten seconds
// for its requests, and then fails.
func TestDeliveriesOverReloadsAndRestarts(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: generation(1)})
	id, m := newCase(), at("/").message(t)
	send := func() string {
		t.Helper()
		a := g.do(t, g.h1, g.request(t, id, m))
		if a.header.Get("Webhook-Delivery") == "" {
			t.Fatalf("answered %s", a.outside())
		}
		return a.header.Get("Webhook-Delivery")
	}
	key := send()
	f := g.follow(t)
	if k := f.next(t); k.Delivery != key || k.Outcome != "delivered" || k.Status != http.StatusOK || k.Name != "github" || k.Key != "1" || k.Attempt != 1 {
		t.Errorf("told %+v", k)
	}
	send()
	if k := f.next(t); k.Outcome != "duplicate" || k.Delivery != key || k.Attempt != 2 {
		t.Errorf("told %+v", k)
	}
	lines := g.stream(t)
	g.reload(t, generation(2))
	if text := ends(lines); strings.Contains(text, "data:") {
		t.Errorf("after a reload the stream has %q", text)
	}
	send()
	if k := f.next(t); k.Outcome != "duplicate" || k.Attempt != 3 {
		t.Errorf("after a reload: %+v", k)
	}
	lines = g.stream(t)
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(lines)
	select {
	case <-g.exited:
	case <-time.After(patience):
		t.Fatalf("caddy did not end; its log:\n%s", g.log)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(g.log.String(), "unclean shutdown") {
		t.Errorf("caddy ends with %d; its log:\n%s", code, g.log)
	}
	restart(t, g)
	send()
	if k := f.next(t); k.Outcome != "delivered" || k.Attempt != 1 { // a memory store has forgotten it
		t.Errorf("after a restart: %+v", k)
	}
}

// TestQuietStream: Caddy's admin server allows ten seconds to read a request. A
// stream without deliveries lasts longer, with keep-alives.
func TestQuietStream(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a heartbeat, 15 s")
	}
	g := start(t, setup{site: githubSite})
	lines := g.stream(t)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ends: %v", err)
		}
		if strings.HasPrefix(line, ": ") {
			break
		}
	}
	g.do(t, g.h1, g.request(t, newCase(), at("/").message(t)))
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ends: %v", err)
		}
		if strings.HasPrefix(line, "data: ") {
			break
		}
	}
}

// TestForgetByID: "Redeliver" by someone who knows only the sender's id.
func TestForgetByID(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: githubSite})
	m := at("/").message(t)
	id := newCase()
	wantForwarded(t, "the delivery", g.do(t, g.h1, g.request(t, id, m)))
	wantDuplicate(t, "a copy", g.do(t, g.h1, g.request(t, id, m)))
	sent := m.header.Get("X-GitHub-Delivery")
	if out, code := g.webhook(t, "deliveries", "--name", "github", "--id", sent, "--event", m.header.Get("X-GitHub-Event"), "--outcome", "delivered"); code != 0 || sent == "" || !strings.Contains(out, sent) {
		t.Errorf("caddy webhook deliveries --id %q: exit %d:\n%s", sent, code, out)
	}
	if out, code := g.webhook(t, "forget", "--name", "github", "--id", sent); code != 0 || !strings.Contains(out, "Forgotten: ") {
		t.Errorf("caddy webhook forget: exit %d:\n%s", code, out)
	}
	wantForwarded(t, "redelivered", g.do(t, g.h1, g.request(t, id, m)))
	if out, code := g.webhook(t, "forget", "--name", "github", "--id", "another"); code != 1 || !strings.Contains(out, "no delivery with that id is kept") {
		t.Errorf("an unknown id: exit %d:\n%s", code, out)
	}
}
