package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

func TestADamagedFileIsLeftAlone(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	fill(t, whole, 500)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"not a database": []byte("hello"),
		"zeros":          make([]byte, 1<<16),
		"cut in a page":  good[:len(good)/2+100],
		"cut short":      good[:100],
		"no meta pages":  append(make([]byte, 8192), good[8192:]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "inbox.db")
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s, l := begin(t, Options{Path: path})
			until(t, "nobody notices", func() bool { return s.Status().Health != errOpening })
			refuses(t, s, inbox.WhyUnavailable, "left alone")
			if kept, _ := os.ReadFile(path); !bytes.Equal(kept, bad) {
				t.Error("the file was changed")
			}
			if n, _ := filepath.Glob(path + "*"); len(n) != 1 {
				t.Errorf("files: %v", n)
			}
			if err := os.WriteFile(path+".new", good, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil { // from a backup
				t.Fatal(err)
			}
			until(t, "it does not open", func() bool { return s.Status().Health == nil })
			found(t, s, 7, true)
			if n := strings.Count(l.String(), "left alone"); n != 1 {
				t.Errorf("said %d times:\n%s", n, l)
			}
		})
	}
}

// Whichever bit flips, the store starts, delivers nothing in an altered form, and has
// all that is intact.
func TestFlippedBits(t *testing.T) {
	dir := fastDir(t)
	whole := filepath.Join(dir, "whole.db")
	const stored = 100
	fill(t, whole, stored)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	opened, hit := 0, 0
	for i := range 120 {
		bad := bytes.Clone(good)
		for range 1 + i%3 {
			at := rnd.IntN(len(bad))
			if i%2 == 0 { // the first bytes of a page are its structure
				at = at&^4095 + rnd.IntN(64)
			}
			bad[at] ^= 1 << rnd.IntN(8)
		}
		path := filepath.Join(dir, fmt.Sprint(i), "inbox.db")
		copied(t, whole, path)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, l := begin(t, Options{Path: path})
		until(t, "it neither opens nor fails", func() bool { return s.Status().Health != errOpening })
		if s.Status().Health != nil {
			closeStore(t, s)
			continue
		}
		opened++
		readable := 0
		for n := range stored {
			d, _, err := s.Get(t.Context(), key(n))
			switch {
			case err == nil && !bytes.Equal(d.Body, delivery(n).Body):
				t.Errorf("flip %d: delivery %d is another", i, n)
			case err == nil:
				readable++
			case !errors.Is(err, inbox.ErrLocked) && !errors.Is(err, inbox.ErrNotFound):
				t.Errorf("flip %d: %v", i, err)
			}
		}
		if readable < stored {
			hit++
		}
		if lost := stored - readable; lost > 3 && s.Status().Damaged == 0 {
			t.Errorf("flip %d: %d lost, and nobody says so\n%s", i, lost, l)
		}
		closeStore(t, s)
	}
	t.Logf("opened %d of 120, %d with deliveries that were hit", opened, hit)
	if opened < 20 || hit == 0 {
		t.Errorf("opened %d, hit %d: the flips test nothing", opened, hit)
	}
}

func TestADamagedDeliveryIsLockedAndOthersGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	fill(t, path, 5)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(b, []byte(`"secret body":2`)) // pages hold older copies, too
	for at >= 0 {
		b[at] ^= 1
		at = bytes.LastIndex(b, []byte(`"secret body":2`))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, l := begin(t, Options{Path: path})
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	for _, want := range []int{0, 1, 3, 4} {
		a, err := s.Take(t.Context(), shop, inbox.NextDue)
		if err != nil || a == nil || a.Entry.Key != key(want) {
			t.Fatalf("got %+v %v, want %d", a, err, want)
		}
		s.Settle(a, inbox.Settlement{To: inbox.Delivered})
	}
	all, err := s.Queues(t.Context())
	if err != nil || len(all) != 1 || all[0].Locked != 1 || all[0].Pending != 0 {
		t.Errorf("%+v %v", all, err)
	}
	if !strings.Contains(l.String(), key(2).String()) || strings.Contains(l.String(), "secret body") {
		t.Errorf("log: %s", l)
	}
	if _, _, err := s.Get(t.Context(), key(2)); !errors.Is(err, inbox.ErrLocked) {
		t.Errorf("get: %v", err)
	}
}
