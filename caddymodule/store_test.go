package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// begin starts the app, and returns a function that stops it.
func (g *gateway) begin(t testing.TB) (stop func()) {
	t.Helper()
	limit := buffered.limit.Load()
	t.Cleanup(func() { buffered.limit.Store(limit) })
	if err := g.app.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := g.app.shut(); err != nil {
			t.Error(err)
		}
	}
}

// references counts the users of the gateway's store.
func (g *gateway) references() int {
	n, _ := gates.References(g.app.store.Identity())
	return n
}

// boltAt is an app's configuration whose store is a file.
func boltAt(path string, more ...string) string {
	return fmt.Sprintf(`{"store":{"store":"bolt","path":%q%s}}`, filepath.ToSlash(path), strings.Join(more, ""))
}

func memoryOf(entries int) string {
	return fmt.Sprintf(`{"store":{"store":"memory","max_entries":%d}}`, entries)
}

// TestReferences: a store is open from the first start or delivery to the last stop
// or delivery, over any number of reloads.
func TestReferences(t *testing.T) {
	defer poolIsEmpty(t)
	g := mustProvision(t, "", once())
	check := func(when string, want int) {
		t.Helper()
		if got := g.references(); got != want {
			t.Errorf("%s: %d references, want %d", when, got, want)
		}
	}
	check("provisioned", 0)
	g.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
		check("a delivery before the start", 2)
		return errors.New("not taken")
	}).isForwarded(t)
	check("after it", 1)

	stop := g.begin(t)
	check("started", 1)
	for range 3 {
		renewed := mustProvision(t, "", once())
		check("another is provisioned", 1)
		stopRenewed := renewed.begin(t)
		check("another is started", 2)
		g.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
			check("a delivery in flight", 3)
			stop()
			check("its configuration is stopped", 2)
			return errors.New("not taken")
		}).isForwarded(t)
		check("only the renewed one is left", 1)
		g, stop = renewed, stopRenewed
	}
	g.send(at("/", "x"), answering(200))
	check("a forged one", 1)
	g.send(post(), answering(200)).isForwarded(t)
	check("one that was taken", 1)
	g.send(post(), answering(500)).isDuplicate(t)
	check("a duplicate", 1)
	g.handlers[0].recogniser.scope = "another"
	g.send(post(), func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }).isForwarded(t)
	check("a panic", 1)
	stop()
	check("stopped", 0)
}

// TestStoreOutlivesStop: Caddy stops apps in no particular order, and the server
// still accepts deliveries during shutdown_delay. Dones are known to the end.
func TestStoreOutlivesStop(t *testing.T) {
	for name, config := range map[string]string{"memory": "", "bolt": boltAt(filepath.Join(t.TempDir(), "dedupe.db"))} {
		t.Run(name, func(t *testing.T) {
			defer poolIsEmpty(t)
			g := mustProvision(t, config, once())
			g.begin(t)
			g.send(post(), answering(200)).isForwarded(t)
			if err := g.app.Stop(); err != nil {
				t.Fatal(err)
			}
			if n := g.references(); n != 1 {
				t.Errorf("%d references after Stop, want 1", n)
			}
			g.send(post(), answering(500)).isDuplicate(t)
			if err := g.app.Cleanup(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMarkBeforeStart: Caddy starts apps in no particular order, so a delivery may
// arrive before the store's app starts. Its mark remains.
func TestMarkBeforeStart(t *testing.T) {
	g := mustProvision(t, "", once())
	g.send(post(), answering(200)).isForwarded(t)
	stop := g.begin(t)
	g.send(post(), answering(500)).isDuplicate(t)
	stop()
	poolIsEmpty(t)

	never := mustProvision(t, "", once()) // another app keeps it from starting
	never.send(post(), answering(200)).isForwarded(t)
	if err := never.app.Cleanup(); err != nil {
		t.Error(err)
	}
	poolIsEmpty(t)
	never.send(post(), answering(200)).isForwarded(t) // its last requests have their own references
	poolIsEmpty(t)
}

// TestReloadInFlight: a delivery that ends after its configuration was stopped is
// known to the next one, even with the memory store.
func TestReloadInFlight(t *testing.T) {
	for name, config := range map[string]string{"memory": "", "bolt": boltAt(filepath.Join(t.TempDir(), "dedupe.db"))} {
		t.Run(name, func(t *testing.T) {
			defer poolIsEmpty(t)
			old := mustProvision(t, config, once(`"dedupe":{"wait":0}`))
			renewed := mustProvision(t, config, once(`"dedupe":{"wait":0}`))
			stopOld := old.begin(t)
			var stopRenewed func()
			old.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
				stopRenewed = renewed.begin(t)
				stopOld()
				renewed.send(post(), answering(200)).isRefused(t, "in_flight", "3")
				w.WriteHeader(200)
				return nil
			}).isForwarded(t)
			renewed.send(post(), answering(500)).isDuplicate(t)
			stopRenewed()
		})
	}
}

// TestRestart: the file survives the last user of a store, the memory does not.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dedupe.db")
	for config, want := range map[string]string{"": "absent", boltAt(path): "duplicate"} {
		for i := range 2 {
			g := mustProvision(t, config, once())
			stop := g.begin(t)
			if i == 0 {
				g.send(post(), answering(200)).isForwarded(t)
			} else if got := g.state(t); got != want {
				t.Errorf("%s: after a restart the delivery is %s, want %s", config, got, want)
			}
			stop()
			poolIsEmpty(t)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestResize: the configuration started last determines the size, not one that was
// only validated.
func TestResize(t *testing.T) {
	for name, config := range map[string]func(int) string{
		"memory": memoryOf,
		"bolt": func() func(int) string {
			path := filepath.Join(t.TempDir(), "dedupe.db")
			return func(n int) string { return boltAt(path, fmt.Sprintf(`,"max_entries":%d`, n)) }
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			defer poolIsEmpty(t)
			g := mustProvision(t, config(3), once())
			defer g.begin(t)()
			gate, err := acquire(g.app.store)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := release(g.app.store); err != nil {
					t.Error(err)
				}
			}()
			for i := range 3 {
				gate.Claim(t.Context(), dedupe.NewKey(fmt.Sprint(i)), dedupe.Terms{}).Claim.Done(200)
			}
			smaller := mustProvision(t, config(1), once())
			if n := gate.Stats().Entries; n != 3 {
				t.Errorf("provisioning left %d entries of 3", n)
			}
			if smaller.app.store.Identity() != g.app.store.Identity() {
				t.Error("another size is another store")
			}
			evicted := gaugeOf(t, g, "caddy_verify_webhook_evicted_early_total")
			defer smaller.begin(t)()
			if n := gate.Stats().Entries; n != 1 {
				t.Errorf("starting left %d entries, want 1", n)
			}
			if n := gaugeOf(t, g, "caddy_verify_webhook_evicted_early_total") - evicted; n != 2 {
				t.Errorf("evicted_early_total grew by %v, want 2", n)
			}
		})
	}
}

// TestAnotherStore: another file or kind is another store; another path to the same
// file is not.
func TestAnotherStore(t *testing.T) {
	defer poolIsEmpty(t)
	dir := t.TempDir()
	var open []*gateway
	for _, config := range []string{"", boltAt(filepath.Join(dir, "a.db")), boltAt(filepath.Join(dir, "b.db"))} {
		g := mustProvision(t, config, once())
		defer g.begin(t)()
		for _, earlier := range open {
			if earlier.app.store.Identity() == g.app.store.Identity() {
				t.Errorf("%s is the same store as an earlier one", config)
			}
		}
		g.send(post(), answering(200)).isForwarded(t)
		g.send(post(), answering(500)).isDuplicate(t)
		open = append(open, g)
	}
	t.Chdir(dir)
	for _, path := range []string{"a.db", "./x/../a.db", dir + "//a.db"} {
		s := &stores.Bolt{Path: path}
		if err := s.Provision(caddy.Context{}); err != nil || s.Identity() != open[1].app.store.Identity() {
			t.Errorf("%s: %q, %v", path, s.Path, err)
		}
	}
	s := new(stores.Bolt)
	if err := s.Provision(caddy.Context{}); err != nil || s.Path != filepath.Join(caddy.AppDataDir(), "verify_webhook", "dedupe.db") {
		t.Errorf("the default is %s, %v", s.Path, err)
	}
}

// TestProvisionOpensNothing: caddy validate next to a running gateway opens no file
// and takes no reference.
func TestProvisionOpensNothing(t *testing.T) {
	defer poolIsEmpty(t)
	path := filepath.Join(t.TempDir(), "new", "dedupe.db")
	for range 2 {
		mustProvision(t, boltAt(path), once())
		provisions(t, `{"apps":{"verify_webhook":`+boltAt(path)+`,"http":{"servers":{"a":{"listen":["127.0.0.1:0"],"routes":[
			{"handle":[{"handler":"verify_webhook",`+once()[1:]+`]}]}}}}}`)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	poolIsEmpty(t)
	running := mustProvision(t, boltAt(path), once())
	defer running.begin(t)()
	mustProvision(t, boltAt(path), once())
	if n := running.references(); n != 1 {
		t.Errorf("%d references", n)
	}
}

// TestFailedStart: neither a failed start nor a stop without a start takes or
// releases a reference, which would be the running configuration's.
func TestFailedStart(t *testing.T) {
	defer poolIsEmpty(t)
	broken := mustProvision(t, "", once())
	broken.app.store = &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) { return nil, errors.New("no such directory") }}
	if err := broken.app.Start(); err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("started: %v", err)
	}
	poolIsEmpty(t)
	if err := broken.app.shut(); err != nil {
		t.Error(err)
	}

	running := mustProvision(t, "", once())
	defer running.begin(t)()
	if err := mustProvision(t, "", once()).app.shut(); err != nil {
		t.Error(err)
	}
	if n := running.references(); n != 1 {
		t.Errorf("the running configuration has %d references left", n)
	}
}

func TestStoreConfig(t *testing.T) {
	for config, want := range map[string]string{
		memoryOf(0):                            "max_entries: 0: give a positive number",
		memoryOf(-1):                           "max_entries: -1",
		boltAt("/a", `,"max_entries":0`):       "max_entries: 0",
		boltAt("/a", `,"max_entrys":1`):        "unknown field",
		`{"store":{"store":"redis"}}`:          "--with github.com/verify-webhook/caddy-verify-webhook --with github.com/verify-webhook/caddy-verify-webhook/caddymodule/redis",
		`{"store":{"store":"` + marker + `"}}`: "memory and bolt are built in",
		`{"store":{"path":"/a"}}`:              "store",
		`{"store":7}`:                          "store",
	} {
		_, err := provision(t, config)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", config, err, want)
		}
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
	for config, want := range map[string]string{"": "memory", `{"store":{"store":"memory"}}`: "memory", memoryOf(5): "memory"} {
		if got := mustProvision(t, config).app.store.Identity(); got != want {
			t.Errorf("%s: %q", config, got)
		}
	}
}

// The API shows each value that is set, and no other.
func TestStoreJSON(t *testing.T) {
	for _, config := range []string{`{}`, `{"max_entries":1}`, `{"path":"/a","max_entries":1}`} {
		var s stores.Bolt
		if err := json.Unmarshal([]byte(config), &s); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(&s); err != nil || string(got) != config {
			t.Errorf("%s became %s, %v", config, got, err)
		}
	}
}

// TestStoreHealth: a file that cannot be written shows up for operators.
func TestStoreHealth(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	g := watched(t, boltAt(filepath.Join(dir, "dedupe.db")), once())
	g.send(post(), answering(200)).isForwarded(t)
	g.send(post(), answering(500)).isDuplicate(t) // from memory
	s := get[adminapi.Status](t, adminapi.StatusPath).Store
	if !s.Degraded || !strings.Contains(s.Problem, "cannot be opened") || !strings.Contains(s.Problem, "not a directory") {
		t.Errorf("status: %+v", s)
	}
	if n := gaugeOf(t, g, "caddy_verify_webhook_store_degraded"); n != 1 {
		t.Errorf("store_degraded is %v", n)
	}
	if err := os.Remove(dir); err != nil { // so that closing can write pending dones
		t.Error(err)
	}
}

// TestRooms: a flood by one sender evicts its own deliveries, not another's.
func TestRooms(t *testing.T) {
	named := func(name string) string {
		return acme(topsecret, withID, `"name":"`+name+`"`)
	}
	g := running(t, memoryOf(20), named("quiet"), named("flood"))
	deliver := func(h *Handler, id int) (forwarded bool) {
		text := fmt.Sprintf(`{"id":"evt_%d"}`, id)
		return serve(t, at("/", text), accepting, h).forward != nil
	}
	quiet, flood := g.handlers[0], g.handlers[1]
	if !deliver(quiet, 1) {
		t.Error("the first is not forwarded")
	}
	for i := range 100 {
		if !deliver(flood, i) {
			t.Errorf("delivery %d of the flood is not forwarded", i)
		}
	}
	if deliver(quiet, 1) {
		t.Error("a copy passes after another sender's flood")
	}
}

// TestATenantsFloodLeavesOthers: a flood that one tenant of a handler signs evicts its
// own deliveries, not another tenant's.
func TestATenantsFloodLeavesOthers(t *testing.T) {
	dir := secretsOf(t, map[string]string{"acme": "secret-of-acme", "bravo": "secret-of-bravo"})
	g := running(t, memoryOf(20), shop(dir))
	deliver := func(tenant string, id int) (forwarded bool) {
		text := fmt.Sprintf(`{"id":"evt_%d"}`, id)
		r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/shop/"+tenant, strings.NewReader(text))
		r.Header.Set("X-Signature", sign("secret-of-"+tenant, text))
		return serve(t, r, accepting, g.handlers...).forward != nil
	}
	if !deliver("acme", 1) {
		t.Error("the first is not forwarded")
	}
	for i := range 100 {
		if !deliver("bravo", i) {
			t.Errorf("delivery %d of the flood is not forwarded", i)
		}
	}
	if deliver("acme", 1) {
		t.Error("a copy passes after another tenant's flood")
	}
	if !deliver("bravo", 0) {
		t.Error("the flood fits: nothing was shown")
	}
}
