package tenants

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKeyOfTheSameSizeAndTime: a key is noticed that tar, rsync or a restore writes in
// place of another of the same size, with the same time.
func TestKeyOfTheSameSizeAndTime(t *testing.T) {
	f, dir := folderOf(t, nil, "{tenant}")
	now := time.Now()
	f.now = func() time.Time { return now }
	at := now.Add(-time.Hour)
	replace := func(path, text string, recreated bool) {
		t.Helper()
		path = filepath.Join(dir, path)
		if recreated { // the file system may give the new file the old one's identity
			_ = os.Remove(path)
		}
		write(t, path, text)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, files := range map[string][2]string{"acme": {"acme", ""}, "folder": {"folder/a", "a="}} {
		for _, recreated := range []bool{false, true} {
			replace(files[0], "old1", recreated)
			found, err := f.Find(t.Context(), name, nil)
			if got := texts(found, err); got != files[1]+"old1" {
				t.Fatalf("%s: %s", name, got)
			}
			replace(files[0], "new2", recreated) // perhaps within one tick of the file system's clock
			now = now.Add(rereads)
			if got := texts(f.Find(t.Context(), name, found)); got != files[1]+"new2" {
				t.Errorf("%s, recreated %t: %s", name, recreated, got)
			}
		}
	}
}

// TestWhenFilesAreReadAgain: files that may have changed unseen are read again, but not for each delivery of a flood.
func TestWhenFilesAreReadAgain(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		changed int64
		age     time.Duration
		settled bool
		want    bool
	}{
		{changed: 1, age: time.Hour, settled: true, want: true},
		{changed: now.Add(-time.Hour - settles).UnixNano(), age: time.Hour, settled: true, want: true},
		{changed: now.Add(-time.Hour - settles + 1).UnixNano(), age: time.Hour, settled: true, want: false}, // changed just before it was read
		{changed: 1, age: 0, settled: false, want: false},
		{changed: 0, age: rereads - 1, settled: true, want: true},
		{changed: 0, age: rereads, settled: true, want: false},
		{changed: 0, age: -time.Hour, settled: true, want: false}, // the clock was set back
	} {
		s := fileState{files: []stamped{{stamp: stamp{changed: 1}}, {stamp: stamp{changed: c.changed}}}, settled: c.settled, at: now.Add(-c.age)}
		if got := s.lasts(now); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
