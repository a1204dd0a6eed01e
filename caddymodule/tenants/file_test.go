package tenants

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// folderOf returns a source over files, by path below a folder, that are an hour old.
func folderOf(t testing.TB, files map[string]string, pattern string) (f *File, dir string) {
	t.Helper()
	dir = t.TempDir()
	for path, text := range files {
		write(t, filepath.Join(dir, path), text)
	}
	f = &File{Secret: []string{filepath.Join(dir, pattern)}}
	if err := f.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return f, dir
}

// write writes a file whose last change is an hour ago.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, path, time.Hour)
}

// age makes a file's last change lie so far in the past.
func age(t testing.TB, path string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// texts shows found keys, or the kind of error.
func texts(found *Found, err error) string {
	switch {
	case errors.Is(err, ErrUnknown):
		return "unknown"
	case errors.Is(err, ErrDown):
		return "down"
	case err != nil:
		return "other: " + err.Error()
	}
	var all []string
	for _, k := range found.Keys {
		text := k.Text
		if k.Label != "" {
			text = k.Label + "=" + text
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestFilesOfATenant(t *testing.T) {
	files := map[string]string{
		"acme": "one\n", "two": "old\nnew\n", "crlf": "old\r\n\r\nnew\r\n", "empty": "\n", "folder/2024": "old", "folder/2025": "new", "folder/.hidden": "x",
		"none/.hidden": "x", "partly/a": "one", "partly/b": "\n", "large": strings.Repeat("x", maxBytes+1), "deep/a/b": "x", "pem": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	}
	f, dir := folderOf(t, files, "{tenant}")
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "outside"), []byte("stolen"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link": "acme", "escape": "../outside", "absolute": filepath.Join(dir, "acme"), "loop": "loop", "dangling": "nothing", "upfolder": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	makePipe(t, filepath.Join(dir, "pipe"))
	for name, want := range map[string]string{
		"acme": "one", "two": "old\nnew", "crlf": "old\r\n\r\nnew", "folder": "2024=old 2025=new", "link": "one", "pem": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
		"missing": "unknown", "escape": "unknown", "absolute": "unknown", "loop": "unknown", "dangling": "unknown", "upfolder": "unknown", "pipe": "unknown", "none": "unknown",
		"empty": "down", "partly": "down", "large": "down", "deep": "down",
	} {
		if got := texts(f.Find(t.Context(), name, nil)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestKindsAndPatterns: {tenant} may have a suffix, be a folder, or be there in the
// paths of secrets and public keys.
func TestKindsAndPatterns(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "acme.pem"), "public")
	write(t, filepath.Join(dir, "acme/webhook/secret"), "secret")
	write(t, filepath.Join(dir, "other.pem"), "public")
	f := &File{Secret: []string{dir + "/{tenant}/webhook/secret"}, PublicKey: []string{dir + "/{tenant}.pem"}}
	if err := f.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]verifier.Key{
		"acme":  {{Text: "secret"}, {Text: "public", Kind: verifier.PublicKey}},
		"other": {{Text: "public", Kind: verifier.PublicKey}},
	} {
		if found, err := f.Find(t.Context(), name, nil); err != nil || !slices.Equal(found.Keys, want) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}

// TestSecondFileOfATenant: an unchanged file says nothing of a key in another place.
func TestSecondFileOfATenant(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	f := &File{Secret: []string{dir + "/{tenant}"}, PublicKey: []string{other + "/{tenant}.pem"}}
	if err := f.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "acme"), "secret")
	found, err := f.Find(t.Context(), "acme", nil)
	if got := texts(found, err); got != "secret" || found.Soon {
		t.Fatalf("%s, soon %t", got, found.Soon)
	}
	write(t, filepath.Join(other, "acme.pem"), "public")
	if got := texts(f.Find(t.Context(), "acme", found)); got != "secret public" {
		t.Error(got)
	}
}

// stop keeps a source at the time that it is: what is written from then on is new for it,
// however long the test takes.
func stop(f *File) {
	now := time.Now()
	f.now = func() time.Time { return now }
}

// TestRotation: a change counts once the file is a second old or two reads are equal.
func TestRotation(t *testing.T) {
	f, dir := folderOf(t, map[string]string{"acme": "old"}, "{tenant}")
	stop(f)
	path := filepath.Join(dir, "acme")
	found, err := f.Find(t.Context(), "acme", nil)
	if got := texts(found, err); got != "old" || found.Soon {
		t.Fatalf("at first: %s, soon %t", got, found.Soon)
	}
	if again, _ := f.Find(t.Context(), "acme", found); again != found {
		t.Error("an unchanged file is read again")
	}
	step := func(text, want string, soon bool, change func()) {
		t.Helper()
		change()
		if found, err = f.Find(t.Context(), "acme", found); err != nil || texts(found, err) != want || found.Soon != soon {
			t.Errorf("%s: %s, soon %t, %v; want %s, %t", text, texts(found, err), found.Soon, err, want, soon)
		}
	}
	rewrite := func(text string) func() {
		return func() {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	step("half-written", "old", true, rewrite("ne"))
	step("written on", "old", true, rewrite("new"))
	step("read twice", "new", false, func() {})
	step("replaced by a file of an hour ago", "newer", false, func() { write(t, path+"~", "newer"); rename(t, path+"~", path) })
	step("written within a tick of the clock, with the same length", "newer", true, func() { rewrite("NEWER")(); age(t, path, -time.Hour) })
	step("read twice, with a time of the future", "NEWER", false, func() {})

	_ = os.Remove(path)
	if got := texts(f.Find(t.Context(), "acme", found)); got != "unknown" {
		t.Errorf("removed: %s", got)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestNewTenantOfANewFile: the first text counts at once, as at the start.
func TestNewTenantOfANewFile(t *testing.T) {
	f, dir := folderOf(t, nil, "{tenant}")
	stop(f)
	if got := texts(f.Find(t.Context(), "acme", nil)); got != "unknown" {
		t.Fatal(got)
	}
	if err := os.WriteFile(filepath.Join(dir, "acme"), []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := f.Find(t.Context(), "acme", nil); texts(found, err) != "one" || !found.Soon {
		t.Errorf("%s, %v", texts(found, err), err)
	}
}

// TestKubernetesSecret: a mounted secret is links into a folder that is swapped.
func TestKubernetesSecret(t *testing.T) {
	f, dir := folderOf(t, map[string]string{"..1/acme": "old", "..2/acme": "new"}, "{tenant}")
	link := func(to, from string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/acme", "acme")
	found, err := f.Find(t.Context(), "acme", nil)
	if got := texts(found, err); got != "old" {
		t.Fatal(got, err)
	}
	link("..2", "..tmp")
	rename(t, filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
	if got := texts(f.Find(t.Context(), "acme", found)); got != "new" {
		t.Error(got)
	}
}

// TestReplacedFolder: a deployment may put another folder in its place; a folder that is
// missing is a source that is down, not tenants that are gone.
func TestReplacedFolder(t *testing.T) {
	f, dir := folderOf(t, map[string]string{"keys/acme": "old", "next/acme": "new"}, "keys/{tenant}")
	now := time.Now()
	f.now = func() time.Time { return now }
	found, err := f.Find(t.Context(), "acme", nil)
	if got := texts(found, err); got != "old" {
		t.Fatal(got)
	}
	rename(t, dir+"/keys", dir+"/before")
	now = now.Add(rootLasts)
	if got := texts(f.Find(t.Context(), "acme", found)); got != "down" {
		t.Errorf("without the folder: %s", got)
	}
	rename(t, dir+"/next", dir+"/keys")
	if got := texts(f.Find(t.Context(), "acme", found)); got != "new" {
		t.Errorf("with the new folder: %s", got)
	}
}

func TestFileErrors(t *testing.T) {
	for path, says := range map[string]string{
		"/run/keys/acme": "no {tenant}", "/run/{tenant}/{tenant}": "more than one", "/run/keys/{tenant}/{http.request.host}": "more than one",
		"/run/keys/../{tenant}": "element ..", "/run/keys/{tenant}/../x": "element ..",
	} {
		f := &File{Secret: []string{path}}
		if err := f.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := new(File).Provision(caddy.Context{}); err == nil {
		t.Error("no path is no error")
	}
	for err, want := range map[error]string{
		&fs.PathError{Err: syscall.EACCES}: "down", &fs.PathError{Err: syscall.EIO}: "down", &fs.PathError{Err: syscall.EMFILE}: "down",
		&fs.PathError{Err: syscall.ENOENT}: "unknown", &fs.PathError{Err: syscall.ELOOP}: "unknown", &fs.PathError{Err: syscall.ENOTDIR}: "unknown", errors.New("path escapes"): "unknown",
	} {
		if got := texts(nil, classify(err)); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// TestUnrenderedFileOfATenant: what a template left is no key.
func TestUnrenderedFileOfATenant(t *testing.T) {
	f, _ := folderOf(t, map[string]string{"acme": "{{ .Values.secret }}", "initech": "9f31c0a2d47be586"}, "{tenant}")
	for name, want := range map[string]string{"acme": "down", "initech": "9f31c0a2d47be586"} {
		if got := texts(f.Find(t.Context(), name, nil)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestFileSystemThatIgnoresCase is told from one where two spellings are two files.
func TestFileSystemThatIgnoresCase(t *testing.T) {
	f, dir := folderOf(t, map[string]string{"acme": "x", "7": "x"}, "{tenant}")
	if err := f.CheckCase(); err != nil {
		t.Skipf("the file system of the tests ignores case: %v", err)
	}
	write(t, filepath.Join(dir, "ACME"), "y")
	if err := f.CheckCase(); err != nil {
		t.Errorf("two files: %v", err)
	}
	ignores := func(path string) (fs.FileInfo, error) {
		return os.Lstat(filepath.Join(filepath.Dir(path), strings.ToLower(filepath.Base(path))))
	}
	if !foldsCase(filepath.Join(dir, "nothing"), func(string) (fs.FileInfo, error) { return os.Lstat(dir) }) || !foldsCase(dir, ignores) {
		t.Error("a file system that ignores case is not noticed")
	}
}

// TestFolderOfManyFiles: more than a rotation has are not read, and the keys in use stay.
func TestFolderOfManyFiles(t *testing.T) {
	files := make(map[string]string)
	for i := range keys.MaxTenantKeys {
		files[fmt.Sprintf("acme/%02d", i)] = fmt.Sprint("key-", i)
	}
	f, dir := folderOf(t, files, "{tenant}")
	found, err := f.Find(t.Context(), "acme", nil)
	if err != nil || len(found.Keys) != keys.MaxTenantKeys {
		t.Fatalf("%+v, %v", found, err)
	}
	write(t, filepath.Join(dir, "acme", "more"), "one-more")
	if _, err := f.Find(t.Context(), "acme", found); !errors.Is(err, ErrDown) || err.Error() != "acme: more than 16 key files in this folder" {
		t.Errorf("one more: %v", err)
	}
	for i := range maxEntries {
		write(t, filepath.Join(dir, "acme", fmt.Sprint(".hidden-", i)), "x")
	}
	if _, err := f.Find(t.Context(), "acme", found); !errors.Is(err, ErrDown) || err.Error() != "acme: more than 64 files in this folder" {
		t.Errorf("dot files, too: %v", err)
	}
}
