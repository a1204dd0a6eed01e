package bolt

import (
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs to mount a small disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	path, filler := filepath.Join(dir, "d.db"), filepath.Join(dir, "filler")

	synctest.Test(t, func(t *testing.T) {
		s, l := open(t, path)
		s.Done(t.Context(), key(0), dedupe.Mark{Status: 200, TTL: time.Hour})
		time.Sleep(time.Second)
		os.WriteFile(filler, nil, 0o600)
		for appendTo(filler, 4096) == nil {
		}
		const n = 2000
		for i := range n {
			s.Done(t.Context(), key(i), dedupe.Mark{Status: 200, TTL: time.Hour})
		}
		time.Sleep(10 * time.Second)
		if st := s.File(); st.Pending != n || strings.Count(l.String(), "cannot be written") != 1 {
			t.Errorf("%+v, want %d pending; log:\n%s", st, n, l)
		}
		expect(t, s, key(n-1), true)

		os.Remove(filler)
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := s.File(); st.Pending != 0 {
			t.Errorf("after there was room: %+v; log:\n%s", st, l)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s, _ = open(t, path)
		defer s.Close()
		expect(t, s, key(0), true)
		expect(t, s, key(n-1), true)
	})
}

func appendTo(path string, size int) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(make([]byte, size))
	return err
}

// A disk that is mounted read-only after a crash can still be read.
func TestAFileThatMayOnlyBeReadIsLoaded(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("needs to mount a disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	path := filepath.Join(dir, "d.db")
	fill(t, path, 3)
	remount := func(flags uintptr) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, "size=64m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	synctest.Test(t, func(t *testing.T) {
		s, l := open(t, path)
		expect(t, s, key(2), true)
		if s.File().Attached || s.Health() == nil || !strings.Contains(l.String(), "read-only") {
			t.Errorf("%+v, health %v, log: %s", s.File(), s.Health(), l)
		}
		s.Done(t.Context(), key(3), dedupe.Mark{Status: 200, TTL: time.Hour})
		remount(0)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !s.File().Attached || s.Health() != nil {
			t.Errorf("when it is writable again: %+v, health %v", s.File(), s.Health())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s, _ = open(t, path)
		defer s.Close()
		for i := range 4 {
			expect(t, s, key(i), true)
		}
	})
}
