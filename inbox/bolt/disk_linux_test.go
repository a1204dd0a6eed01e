package bolt

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// A disk is a small one for an inbox, which a test fills and empties.
type disk struct {
	path  string                         // of the inbox
	space func(dir string) int64         // as Options.free
	fill  func(t *testing.T, left int64) // leaves that much for another file
	empty func(t *testing.T)
}

const diskSize = 8 << 20

// mounted is a real one, for those who may mount.
func mounted(t *testing.T) *disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs to mount a small disk: %v; a limit of the size of files takes its place", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	fill := func(t *testing.T, left int64) {
		t.Helper()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		size := int64(0)
		for page := make([]byte, 4096); err == nil; size += int64(len(page)) {
			_, err = f.Write(page)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := f.Truncate(max(size-4096-left, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return &disk{path: filepath.Join(dir, "inbox.db"), space: freeBytes, fill: fill, empty: func(t *testing.T) {
		t.Helper()
		if err := errors.Join(syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"), os.RemoveAll(filler)); err != nil {
			t.Fatal(err)
		}
	}}
}

// limited is a limit of the size of each file that this process writes, which needs no
// privilege: the system refuses what is beyond it, as a full disk does.
func limited(t *testing.T) *disk {
	t.Helper()
	d := &disk{path: filepath.Join(fastDir(t), "inbox.db")}
	limit := func(t *testing.T, size int64) {
		t.Helper()
		var l syscall.Rlimit
		err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l)
		if l.Cur = min(uint64(size), l.Max); err == nil {
			err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	size := func() int64 {
		st, err := os.Stat(d.path)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	limit(t, diskSize)
	var roomy atomic.Bool
	d.space = func(string) int64 {
		if roomy.Load() {
			return 1 << 40
		}
		return diskSize - size()
	}
	d.fill = func(t *testing.T, left int64) {
		t.Helper()
		if left == 0 { // what a file has is overwritten on a full disk, too
			left = size()
		}
		limit(t, left)
	}
	d.empty = func(t *testing.T) {
		t.Helper()
		roomy.Store(true)
		limit(t, 1<<40)
	}
	return d
}

// onEachDisk runs a test on a mounted disk, and in a process with limited files.
func onEachDisk(t *testing.T, run func(t *testing.T, d *disk)) {
	t.Helper()
	if os.Getenv("INBOX_TEST_LIMITED") != "" {
		run(t, limited(t))
		return
	}
	t.Parallel()
	t.Run("mounted", func(t *testing.T) { t.Parallel(); run(t, mounted(t)) })
	t.Run("limited", func(t *testing.T) {
		t.Parallel()
		name, _, _ := strings.Cut(t.Name(), "/")
		child := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
		child.Env = append(os.Environ(), "INBOX_TEST_LIMITED=1")
		out, err := child.CombinedOutput()
		if t.Log(string(out)); err != nil || !bytes.Contains(out, []byte("--- PASS: "+name)) {
			t.Errorf("with limited files: %v", err)
		}
	})
}

// exhaust accepts deliveries until the disk is full. It returns the number of the first
// refused one, and why.
func (d *disk) exhaust(t *testing.T, s *Store, from, size int) (n int, why inbox.Why) {
	t.Helper()
	for n = from; ; n++ {
		r := delivery(n)
		r.Body = make([]byte, size)
		_, err := s.Accept(t.Context(), r, false)
		var refused *inbox.NotStoredError
		switch {
		case errors.As(err, &refused):
			return n, refused.Why
		case err != nil:
			t.Fatal(err)
		case n > 100_000:
			t.Fatal("the disk does not fill up")
		}
	}
}

// begin opens a store on the disk, with a reserve.
func (d *disk) begin(t *testing.T, reserve int64) (*Store, *enginetest.Log) {
	t.Helper()
	s, l := begin(t, Options{Path: d.path, Reserve: reserve, free: d.space})
	opens(t, s)
	return s, l
}

func opens(t *testing.T, s *Store) {
	t.Helper()
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
}

// crashed opens what a kill -9 leaves, on a disk with space.
func (d *disk) crashed(t *testing.T) *Store {
	t.Helper()
	left, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "crashed.db")
	if err := os.WriteFile(path, left, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, Options{Path: path})
}

// take takes what is due, also while the file is opened again.
func (d *disk) take(t *testing.T, s *Store) (a *inbox.Attempt) {
	t.Helper()
	until(t, "nothing is taken", func() bool {
		var err error
		a, err = s.Take(t.Context(), shop, inbox.NextDue)
		return err == nil && a != nil
	})
	return a
}
