package integration

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// inFile reports whether a delivery's key is in a file that a gateway has open:
// it looks into a copy of what is there now.
func inFile(t testing.TB, path, key string) (found bool) {
	t.Helper()
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != 16 {
		t.Fatalf("Webhook-Delivery: %q", key)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() != nil { // copied while it was being written
			found = false
		}
	}()
	db, err := bbolt.Open(copied, 0o600, nil)
	if err != nil {
		return false
	}
	defer db.Close()
	_ = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, value []byte) error {
				found = found || bytes.HasPrefix(value, raw)
				return nil
			})
		})
	})
	return found
}

// done sends a delivery that is taken, and returns it with its key.
func (g *gateway) done(t testing.TB) (m message, key string) {
	t.Helper()
	m = at("/").message(t)
	a := g.once(t, m)
	wantForwarded(t, "a delivery", a)
	return m, a.header.Get("Webhook-Delivery")
}

// TestBoltOutlivesTheProcess: what is done is known after a restart, and after a
// kill -9 if it was written by then, which takes 100 ms.
func TestBoltOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: boltStore("DIR/kept/dedupe.db"), site: githubSite})
	path := filepath.Join(g.dir, "kept", "dedupe.db")
	first, _ := g.done(t)
	g.quit(t) // writes what is left
	restart(t, g)
	wantDuplicate(t, "after a restart", g.once(t, first))

	second, key := g.done(t)
	eventually(t, "the delivery is in the file", func() bool { return inFile(t, path, key) })
	g.kill()
	restart(t, g)
	for _, m := range []message{first, second} {
		wantDuplicate(t, "after kill -9", g.once(t, m))
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode: %v, %v; want 0600", st.Mode(), err)
	}
}

// TestBoltInFlightEndsWithItsProcess: a claim is not kept: the retry after a
// crash need not wait for a lease.
func TestBoltInFlightEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: boltStore("DIR/dedupe.db"), site: githubSite})
	m, id, d := at("/").message(t), newCase(), newDesk()
	g.app.answer(id, d.serve(func(int, http.ResponseWriter, *http.Request) { <-g.app.released }))
	go func() { _, _ = g.post(t.Context(), g.h1, id, m) }() // its sender gets no answer
	next(t, "the app", d.arrived)
	g.kill()
	restart(t, g)
	wantForwarded(t, "the retry", g.once(t, m))
}

// TestBoltOfTwoProcesses: the second runs in memory and says so; when the first
// has ended it has the file, and knows what the first had done.
func TestBoltOfTwoProcesses(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: boltStore("DIR/dedupe.db"), site: githubSite})
	global := boltStore(filepath.ToSlash(filepath.Join(g.dir, "dedupe.db")))
	m, _ := g.done(t)
	second := g.beside(t, setup{global: global, site: githubSite})
	second.wantLog(t, `"level":"error"`, "cannot be opened", "in use by another process")
	own, _ := second.done(t)
	wantDuplicate(t, "in memory", second.once(t, own))
	g.quit(t)
	second.wantLog(t, "open again")
	wantDuplicate(t, "of the first process", second.once(t, m))
	second.quit(t)
	restart(t, second)
	for _, m := range []message{m, own} {
		wantDuplicate(t, "after a restart", second.once(t, m))
	}
	restart(t, g) // for its stop; it finds the file locked
	g.wantLog(t, "in use by another process")
}

// TestBoltDamaged: a damaged file is set aside, and the start goes on.
func TestBoltDamaged(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: boltStore("DIR/dedupe.db"), site: githubSite})
	path := filepath.Join(g.dir, "dedupe.db")
	for range 20 {
		g.done(t)
	}
	for what, damage := range map[string]func(text []byte) []byte{
		"both heads flipped": func(text []byte) []byte {
			page := os.Getpagesize()
			text[20] ^= 1 // the version, behind the magic number
			text[page+20] ^= 1
			return text
		},
		"cut in half":   func(text []byte) []byte { return text[:len(text)/2] },
		"cut to a page": func(text []byte) []byte { return text[:os.Getpagesize()] },
	} {
		g.quit(t)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(text), 0o600); err != nil {
			t.Fatal(err)
		}
		restart(t, g)
		g.wantLog(t, `"level":"error"`, "set aside", "damaged-")
		m, _ := g.done(t)
		wantDuplicate(t, what, g.once(t, m))
		g.quit(t)
		restart(t, g)
		wantDuplicate(t, what+", in the new file", g.once(t, m))
		aside, err := filepath.Glob(path + ".damaged-*")
		if err != nil || len(aside) == 0 {
			t.Errorf("%s: nothing was set aside", what)
		}
	}
}

// TestBoltAnyBit: whichever bit of the file is flipped, the start goes on and
// deliveries as well.
func TestBoltAnyBit(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: boltStore("DIR/dedupe.db"), site: githubSite})
	path := filepath.Join(g.dir, "dedupe.db")
	for range 20 {
		g.done(t)
	}
	g.quit(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := min(len(whole), 10*os.Getpagesize()) // the rest is free
	for range 12 {
		text := append([]byte(nil), whole...)
		at := rand.IntN(8 * used)
		text[at/8] ^= 1 << (at % 8)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.again(); err != nil {
			t.Fatalf("bit %d of byte %d flipped: %v", at%8, at/8, err)
		}
		m, _ := g.done(t)
		wantDuplicate(t, "with a flipped bit", g.once(t, m))
		g.quit(t)
	}
	restart(t, g)
}

// TestBoltWithoutRoom: a directory that cannot be written is an error in the log,
// and deliveries go on.
func TestBoltWithoutRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "readonly", "dedupe.db")
	if err := os.Mkdir(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // to whom modes mean nothing
		path = "/proc/self/dedupe.db"
	}
	g := start(t, setup{global: boltStore(path), site: githubSite})
	g.wantLog(t, `"level":"error"`, "cannot be opened", "deliveries go on")
	m, _ := g.done(t)
	wantDuplicate(t, "in memory", g.once(t, m))
	g.reload(t, generation(2))
	wantDuplicate(t, "after a reload", g.once(t, m))
}
