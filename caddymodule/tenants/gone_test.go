package tenants

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReplacedFile: a file that is missing at one look refuses nothing, as a tool that
// replaces it may remove it first. At the second look, 100 ms later, its tenant is gone,
// and its keys verify nothing later than two seconds after the file.
func TestReplacedFile(t *testing.T) {
	terms := new(File).Terms()
	gone := func(t *testing.T, after time.Duration) (b *bench, want string) {
		b = newBench(t, terms, 0)
		b.expect(t, "acme", "secret-of-acme", 1)
		delete(b.source.has, "acme")
		b.now = b.now.Add(after)
		if want = "unavailable"; after < terms.Fresh {
			want = "secret-of-acme"
		}
		return b, want
	}
	for name, after := range map[string]time.Duration{"while its keys are fresh": time.Second, "then": terms.Fresh, "an hour later": time.Hour} {
		t.Run(name, func(t *testing.T) {
			b, want := gone(t, after)
			came := b.now
			for range 3 { // looked at once
				if got := b.mismatch(t, "acme", b.Peek("acme"), came, client); !strings.HasPrefix(got, "in ") && got != "unavailable" {
					t.Errorf("another secret: %q", got)
				}
				b.expect(t, "acme", want, 2)
			}
			b.source.set("acme", "newer-secret")
			b.now = b.now.Add(terms.Again)
			if got := b.mismatch(t, "acme", b.Peek("acme"), came, client); got != "newer-secret" {
				t.Errorf("there again: %q", got)
			}

			b, _ = gone(t, after)
			_ = b.mismatch(t, "acme", b.Peek("acme"), b.now, client)
			b.now = b.now.Add(terms.Again)
			if got := b.mismatch(t, "acme", b.Peek("acme"), b.now, client); got != "" || b.Len() != 0 {
				t.Errorf("removed: %q, %d cached", got, b.Len())
			}
			b.expect(t, "acme", "unknown", 3)
			if b.results[ResultFailed] != 0 || b.Figures().Problem != nil || b.log.FilterMessage("cannot get the keys of a tenant").Len() != 0 {
				t.Errorf("a tenant who leaves is a failure: %v, %v", b.results, b.log.All())
			}
		})
	}
	for name, back := range map[string]time.Duration{"the clock is set back": -time.Hour, "several deliveries look at once": 0} {
		t.Run(name, func(t *testing.T) {
			b, _ := gone(t, terms.Fresh)
			b.expect(t, "acme", "unavailable", 2)
			b.now = b.now.Add(back)
			_, _ = b.look(t.Context(), "acme", nil, b.now)
			b.now = b.now.Add(terms.Again)
			b.expect(t, "acme", "unknown", 4)
		})
	}
	t.Run("a reload", func(t *testing.T) {
		b, _ := gone(t, terms.Fresh)
		b.expect(t, "acme", "unavailable", 2)
		next := newBench(t, terms, 0)
		next.now = b.now
		delete(next.source.has, "acme")
		next.Adopt(b.Cache)
		next.expect(t, "acme", "unavailable", 0)
		next.now = next.now.Add(terms.Again)
		next.expect(t, "acme", "unknown", 1)
	})
}

// TestFileThatGoesWhileItIsRead: the kubelet removes the folder that its link led to.
func TestFileThatGoesWhileItIsRead(t *testing.T) {
	f, dir := folderOf(t, map[string]string{"acme": "secret", "bravo/a": "one"}, "{tenant}")
	for _, name := range []string{"acme", "bravo"} {
		files, _, err := f.stat(name, f.now())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := read(files, f.now()); !errors.Is(err, ErrDown) || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplacedKeyOfSeveral: a key that is missing among others refuses nothing either at
// the first look, and verifies nothing.
func TestReplacedKeyOfSeveral(t *testing.T) {
	f, dir := folderOf(t, map[string]string{"acme/a": "one", "acme/b": "two"}, "{tenant}")
	stop(f)
	found, err := f.Find(t.Context(), "acme", nil)
	step := func(want string, soon bool) {
		t.Helper()
		if found, err = f.Find(t.Context(), "acme", found); texts(found, err) != want || found.Soon != soon {
			t.Errorf("%s, soon %t; want %s, %t", texts(found, err), found.Soon, want, soon)
		}
	}
	step("a=one b=two", false)
	remove := func() {
		if err := os.Remove(filepath.Join(dir, "acme/b")); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	step("a=one", true)
	write(t, filepath.Join(dir, "acme/b"), "three")
	step("a=one b=three", false)
	remove()
	step("a=one", true)
	step("a=one", false)

	reloaded, _ := folderOf(t, nil, "{tenant}")
	reloaded.folders[0].dir, reloaded.now = f.folders[0].dir, f.now
	if f = reloaded; found.Soon {
		t.Error("still changing")
	}
	step("a=one", false)
}
