package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// smallDisk mounts one.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("needs to mount a small disk: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// backlog stores until the disk is full, as in an outage of the app, and then lets
// the app accept some from all over the file, so that many pages change at once. It
// returns how many were stored, why no more were, and how many accepted ones would be
// sent again after a restart.
func backlog(t *testing.T, reserve int64) (stored int, why inbox.Why, again int) {
	t.Helper()
	path := filepath.Join(smallDisk(t, "8m"), "inbox.db")
	s, _ := begin(t, Options{Path: path, Reserve: reserve})
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	for ; why == ""; stored++ {
		d := delivery(stored)
		d.Body = make([]byte, 200)
		_, err := s.Accept(t.Context(), d, false)
		var refused *inbox.NotStoredError
		switch {
		case errors.As(err, &refused):
			why = refused.Why
			stored--
		case err != nil:
			t.Fatal(err)
		}
		if stored > 100_000 {
			t.Fatal("the disk does not fill up")
		}
	}
	if why == inbox.WhyUnavailable {
		until(t, "it does not open again", func() bool { return s.Status().Health == nil })
	}
	var attempts []*inbox.Attempt
	for n := range 3000 {
		a, err := s.Take(t.Context(), shop, inbox.NextDue)
		if err != nil || a == nil {
			t.Fatalf("take %d: %v", n, err)
		}
		if n%16 == 0 {
			attempts = append(attempts, a)
		}
	}
	for _, a := range attempts {
		s.Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
	}
	taken := len(attempts)
	until(t, "the marks are neither written nor refused", func() bool { return s.Status().Unwritten == 0 || s.Status().Health != nil })
	left, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := filepath.Join(t.TempDir(), "after.db")
	if err := os.WriteFile(after, left, 0o600); err != nil {
		t.Fatal(err)
	}
	restarted := open(t, Options{Path: after})
	all, err := restarted.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pending := 0
	for _, q := range all {
		pending += q.Pending
	}
	again = pending - (stored - taken)
	if again < 0 {
		t.Errorf("%d stored, %d taken, but only %d pending: some are lost", stored, taken, pending)
	}
	// With space, the pending marks are written.
	if err := syscall.Mount("tmpfs", filepath.Dir(path), "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	until(t, "the marks are not written when there is space", func() bool { return s.Status().Unwritten == 0 && s.Status().Health == nil })
	return stored, why, again
}

// Marks need space too: without a reserve, all deliveries of an outage that fills the
// disk would be delivered twice.
func TestAFullDisk(t *testing.T) {
	stored, why, again := backlog(t, 4<<20)
	t.Logf("with a reserve: %d stored, then %s; %d would be sent again", stored, why, again)
	if stored < 500 || why != inbox.WhyDisk || again != 0 {
		t.Errorf("%d stored, then %s; %d of what the app took would be sent again", stored, why, again)
	}
	stored, why, again = backlog(t, -1)
	t.Logf("without: %d stored, then %s; %d would be sent again", stored, why, again)
	if again == 0 {
		t.Error("the reserve makes no difference: this test does not test it")
	}
}

// A disk that is full before the file exists, and a read-only one.
func TestAFullOrReadOnlyDiskAtStart(t *testing.T) {
	dir := smallDisk(t, "64k")
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := begin(t, Options{Path: filepath.Join(dir, "inbox.db"), Reserve: -1})
	until(t, "nobody notices", func() bool { return s.Status().Health != errOpening })
	refuses(t, s, inbox.WhyUnavailable, "no space left")
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	until(t, "it does not open when there is space", func() bool { return s.Status().Health == nil })
	put(t, s, 1)
	closeStore(t, s)

	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, _ = begin(t, Options{Path: filepath.Join(dir, "inbox.db"), Reserve: -1})
	until(t, "nobody notices", func() bool { return s.Status().Health != errOpening })
	refuses(t, s, inbox.WhyUnavailable, "read-only")
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	until(t, "it does not open when it may write", func() bool { return s.Status().Health == nil })
	found(t, s, 1, true)
}
