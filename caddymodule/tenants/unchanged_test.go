package tenants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLookAtAnUnchangedFile: it finds the file that a tenant had, and no other one: not
// even the same one, outside of the folder.
func TestLookAtAnUnchangedFile(t *testing.T) {
	for _, pattern := range []string{"{tenant}", "{tenant}/secret"} {
		for name, change := range map[string]func(t *testing.T, dir, file string){
			"":                         nil,
			"a file, written":          func(t *testing.T, _, file string) { write(t, file, "longer") },
			"a file, a second younger": func(t *testing.T, _, file string) { age(t, file, time.Hour-time.Second) },
			"a file, replaced":         func(t *testing.T, _, file string) { write(t, file+"~", "one"); rename(t, file+"~", file) },
			"a file, removed":          func(t *testing.T, _, file string) { _ = os.Remove(file) },
			"a file, moved out, and a link to it": func(t *testing.T, dir, file string) {
				rename(t, file, dir+"/moved")
				symlink(t, dir+"/moved", file)
			},
			"a file, moved out, and a relative link to it": func(t *testing.T, dir, file string) {
				rename(t, file, dir+"/moved")
				symlink(t, strings.Repeat("../", strings.Count(file[len(dir)+1:], "/"))+"moved", file)
			},
			"its folder, moved out, and a link to it": func(t *testing.T, dir, _ string) {
				rename(t, dir+"/keys/acme", dir+"/moved")
				symlink(t, "../moved", dir+"/keys/acme")
			},
			"the target, swapped": func(t *testing.T, dir, _ string) {
				symlink(t, "..2", dir+"/keys/..tmp")
				rename(t, dir+"/keys/..tmp", dir+"/keys/..data")
			},
			"the target, moved out, and a link to it": func(t *testing.T, dir, _ string) {
				rename(t, dir+"/keys/..1", dir+"/moved")
				symlink(t, "../moved", dir+"/keys/..1")
			},
		} {
			for _, linked := range []bool{false, true} {
				if linked && strings.HasPrefix(name, "a file") || !linked && strings.HasPrefix(name, "the target") {
					continue
				}
				path := strings.Replace(pattern, variable, "acme", 1)
				own := "keys/" + path
				if linked {
					own = "keys/..1/" + path
				}
				f, dir := folderOf(t, map[string]string{own: "one", "keys/..2/" + path: "one"}, "keys/"+pattern)
				if linked {
					symlink(t, "..1", dir+"/keys/..data")
					symlink(t, "..data/acme", dir+"/keys/acme")
				}
				stop(f)
				found, err := f.Find(t.Context(), "acme", nil)
				if err != nil {
					t.Fatal(err)
				}
				if change != nil {
					change(t, dir, filepath.Join(dir, "keys", path))
				}
				if got := f.unchanged(found.State.(*fileState).files, f.now()); got != (change == nil) {
					t.Errorf("%s, linked %t, %q: unchanged %t", pattern, linked, name, got)
				}
			}
		}
	}
}

func symlink(t testing.TB, to, from string) {
	t.Helper()
	if err := os.Symlink(to, from); err != nil {
		t.Fatal(err)
	}
}
