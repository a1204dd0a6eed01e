package bolt

import (
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
		s.Done(t.Context(), key(0), 200, time.Hour)
		time.Sleep(time.Second)
		os.WriteFile(filler, nil, 0o600)
		for appendTo(filler, 4096) == nil {
		}
		const n = 2000
		for i := range n {
			s.Done(t.Context(), key(i), 200, time.Hour)
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
