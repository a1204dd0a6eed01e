package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beside starts another gateway in front of the same app.
func (g *gateway) beside(t testing.TB, s setup) *gateway {
	t.Helper()
	other, err := launch(t.TempDir(), g.app, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.stop(); err != nil {
			t.Error(err)
		}
	})
	return other
}

// kill ends the process as a crash does, and returns when it is gone.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.exited
}

// quit ends the process as an operator does, and leaves the app running.
func (g *gateway) quit(t testing.TB) {
	t.Helper()
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.exited:
	case <-time.After(patience):
		t.Fatalf("caddy did not end within %s; its log:\n%s", patience, g.log)
	}
}

// again restarts the process after its end, on the same addresses and directory, with
// an empty log.
func (g *gateway) again() error {
	if err := g.log.check(); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		g.log, g.exited = newLogbook(), make(chan struct{})
		err := g.begin()
		if err != nil && attempt < 5 && strings.Contains(g.log.String(), "address already in use") {
			continue // some connection of this machine has the port for a moment
		}
		return err
	}
}

func restart(t testing.TB, g *gateway) {
	t.Helper()
	if err := g.again(); err != nil {
		t.Fatal(err)
	}
}

// reload loads another site, and returns when it is in force.
func (g *gateway) reload(t testing.TB, site string) {
	t.Helper()
	if err := g.write(site); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(g.caddyfile())
	if err != nil {
		t.Fatal(err)
	}
	var resp *http.Response
	for attempt := 0; attempt < 3; attempt++ { // the admin API's listener changes as well
		resp, err = http.Post("http://"+g.admin+"/load", "text/caddyfile", bytes.NewReader(text))
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("reload: %d %s", resp.StatusCode, answer)
	}
	g.redial(t)
}

// redial waits until one configuration's server alone listens, and gives up the
// connections to another, which closes them at any moment. Caddy answers a reload
// as soon as the old server's shutdown is under way: until its listener closes, it
// still accepts new connections.
func (g *gateway) redial(t testing.TB) {
	t.Helper()
	g.reloaded.Store(true)
	eventually(t, "one server on "+g.address, func() bool { return listeners(t, g.address) <= 1 })
	g.h1.CloseIdleConnections()
	g.h2.CloseIdleConnections()
}

// listeners counts the sockets that listen on an address's port. Systems without
// Linux's table of sockets tell none.
func listeners(t testing.TB, address string) (n int) {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	const localAddress, state, listening = 1, 3, "0A"
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > state && fields[state] == listening && strings.HasSuffix(fields[localAddress], fmt.Sprintf(":%04X", number)) {
				n++
			}
		}
	}
	return n
}

// withLease makes of the gateway's Caddyfile a configuration with a lease, which
// only JSON can say.
func (g *gateway) withLease(binary, lease string) (path string, err error) {
	out, err := g.adapted(binary)
	if err != nil {
		return "", err
	}
	var config any
	if err := json.Unmarshal(out, &config); err != nil {
		return "", err
	}
	setLease(config, lease)
	if out, err = json.Marshal(config); err != nil {
		return "", err
	}
	path = filepath.Join(g.dir, "caddy.json")
	return path, os.WriteFile(path, out, 0o600)
}

func setLease(config any, lease string) {
	switch c := config.(type) {
	case map[string]any:
		if c["handler"] == "verify_webhook" {
			options, _ := c["dedupe"].(map[string]any)
			if options == nil {
				options = make(map[string]any)
			}
			options["lease"] = lease
			c["dedupe"] = options
		}
		for _, v := range c {
			setLease(v, lease)
		}
	case []any:
		for _, v := range c {
			setLease(v, lease)
		}
	}
}

// post sends a message without a test to fail: for goroutines, and for gateways
// that may be down.
func (g *gateway) post(ctx context.Context, client *http.Client, id string, m message) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.address+m.path+"?case="+id, bytes.NewReader(m.body))
	if err != nil {
		return answer{}, err
	}
	maps.Copy(r.Header, m.header)
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := g.roundTrip(client, r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// roundTrip sends a request. On a reload Linux resets the connections that the
// old configuration's listener has not yet accepted: as any sender would, it
// tries again.
func (g *gateway) roundTrip(client *http.Client, r *http.Request) (*http.Response, error) {
	resp, err := client.Do(r)
	for attempt := 0; attempt < 3 && err != nil && g.reloaded.Load() && r.GetBody != nil; attempt++ {
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		if r.Body, err = r.GetBody(); err == nil {
			resp, err = client.Do(r)
		}
	}
	return resp, err
}

// A crowd is copies of one delivery that are sent at once.
type crowd struct {
	mu      sync.Mutex
	answers []answer
	errs    []error
	all     sync.WaitGroup
}

// send sends copies, half of them over HTTP/2.
func (c *crowd) send(t testing.TB, g *gateway, id string, m message, copies int) {
	for i := range copies {
		client := g.client(protocols[i%2])
		c.all.Go(func() {
			a, err := g.post(t.Context(), client, id, m)
			c.mu.Lock()
			defer c.mu.Unlock()
			if err != nil {
				c.errs = append(c.errs, err)
				return
			}
			c.answers = append(c.answers, a)
		})
	}
}

// with counts the answers of a status so far.
func (c *crowd) with(status int) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.answers {
		if a.status == status {
			n++
		}
	}
	return n
}

// wait returns all answers. Each copy must have got one.
func (c *crowd) wait(t testing.TB) []answer {
	t.Helper()
	c.all.Wait()
	if err := errors.Join(c.errs...); err != nil {
		t.Fatalf("copies without an answer: %v", err)
	}
	return c.answers
}

// A desk is how an app takes deliveries: it notes how many it works on at once.
type desk struct {
	mu            sync.Mutex
	working, most int
	attempts      int
	arrived       chan int // numbers of attempts, as they begin
}

func newDesk() *desk { return &desk{arrived: make(chan int, 4096)} }

// serve makes an app's handler of what an attempt does, given its number from 1.
func (d *desk) serve(do func(n int, w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.attempts++
		d.working++
		d.most = max(d.most, d.working)
		n := d.attempts
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			d.working--
			d.mu.Unlock()
		}()
		d.arrived <- n
		do(n, w, r)
	}
}

// seen returns how many attempts there were, and how many at once.
func (d *desk) seen() (attempts, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attempts, d.most
}

// next waits for the next attempt.
func next[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case v := <-c:
		return v
	case <-bound.C:
		t.Fatalf("%s: not within %s", what, patience)
		panic("unreachable")
	}
}

// wantDuplicate fails unless the gateway itself answered.
func wantDuplicate(t testing.TB, what string, a answer) {
	t.Helper()
	if a.status != http.StatusOK || a.body != "" || a.header.Get("Webhook-Duplicate") != "true" {
		t.Errorf("%s: answered %d %q, Webhook-Duplicate %q; want 200, empty, true", what, a.status, a.body, a.header.Get("Webhook-Duplicate"))
	}
}

// wantForwarded fails unless this copy reached the app, which took it.
func wantForwarded(t testing.TB, what string, a answer) {
	t.Helper()
	if a.status != http.StatusOK || a.body != "taken" || a.header.Get("Webhook-Duplicate") != "" {
		t.Errorf("%s: answered %d %q, Webhook-Duplicate %q; want the app's 200 taken", what, a.status, a.body, a.header.Get("Webhook-Duplicate"))
	}
}

// once sends a message to which no app's answer was set.
func (g *gateway) once(t testing.TB, m message) answer {
	t.Helper()
	a, err := g.post(t.Context(), g.h1, newCase(), m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// clone is a copy whose headers can be changed.
func (m message) clone() message {
	m.header = m.header.Clone()
	return m
}

// from is a message to another host or path.
func (m message) to(host, path string) message {
	m = m.clone()
	if host != "" {
		m.header.Set("Host", host)
	}
	if path != "" {
		m.path = path
	}
	return m
}

// wantLog waits for one of our lines that holds all texts.
func (g *gateway) wantLog(t testing.TB, texts ...string) logLine {
	t.Helper()
	return g.log.await(t, fmt.Sprint(texts), func(l logLine) bool {
		for _, text := range texts {
			if !strings.Contains(l.raw, text) {
				return false
			}
		}
		return l.ours()
	})
}
