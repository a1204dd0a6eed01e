package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestText: {env.NAME} and {file./path} are replaced anywhere; all else that a program
// should have replaced is an error without the text.
func TestText(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "name")
	for name, content := range map[string]string{"name": "gateway\n", "lines": "one\ntwo", "unrendered": "{{ .Values.x }}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TEXT_DIR", "/var/lib/hooks")
	t.Setenv("TEXT_LEFT", "${STATE_DIR}")
	for text, want := range map[string]string{ // want with a colon: the error
		"":                             "",
		"/srv/dedupe.db":               "/srv/dedupe.db",
		"{env.TEXT_DIR}/inbox.db":      "/var/lib/hooks/inbox.db",
		"{env.TEXT_DIR}{env.TEXT_DIR}": "/var/lib/hooks/var/lib/hooks",
		"a-{file." + file + "}":        "a-gateway",
		"100%-sure$":                   "100%-sure$",
		"vault:6379":                   "vault:6379",
		"a~b":                          "a~b",
		"{env.TEXT_UNSET}/inbox.db":    "path: the environment variable TEXT_UNSET is not set or empty",
		"{env.TEXT_LEFT}/inbox.db":     "path: the environment variable TEXT_LEFT: this is a name",
		"{env.TEXT_DIR:/tmp}/x":        "path: {env.TEXT_DIR…}: defaults are not supported",
		"{env.}":                       "path: {env.…} is not supported here",
		"{file." + dir + "/missing}":   "path: stat ",
		"{file." + dir + "/lines}":     "path: several lines",
		"${env.TEXT_DIR}":              "path: it holds",
		"{{env.TEXT_DIR}}":             "path: it holds",
		"%{env.TEXT_DIR}%":             "path: it holds",
		"{data.dir}/x":                 "path: it holds",
		"{http.request.host}":          "path: it holds",
		"/x/$STATE_DIR/y":              "path: it holds",
		"$(pwd)":                       "path: it holds",
		"%APPDATA%\\x":                 "path: it holds",
		"~/inbox.db":                   "path: it holds",
		"~hooks/inbox.db":              "path: it holds",
		"op://vault/item/field":        "path: it holds",
		"env:STATE_DIR":                "path: it holds",
		"<path>":                       "path: it holds",
	} {
		got := text
		err := Text("path", &got)
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.HasPrefix(got, want)) {
			t.Errorf("%s became %q, want %q", text, got, want)
		}
		if err != nil && strings.Contains(got, "${STATE_DIR}") {
			t.Errorf("%s: the error quotes the variable: %s", text, got)
		}
	}
}

// TestURL: what may be in a URL only is no variable.
func TestURL(t *testing.T) {
	t.Setenv("URL_PASSWORD", "p%40ss")
	for text, want := range map[string]string{ // "": an error
		"tls://gateway:{env.URL_PASSWORD}@nats:4222": "tls://gateway:p%40ss@nats:4222",
		"nats://u:%C3%A9%AB%41@nats:4222":            "nats://u:%C3%A9%AB%41@nats:4222",
		"nats://u:{env.URL_UNSET}@nats:4222":         "",
		"nats://u:$PASSWORD@nats:4222":               "",
		"nats://{vault.x}@nats:4222":                 "",
	} {
		got := text
		if err := URL("url", &got); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s became %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestOneFileHasOnePath: whatever links lead to it, before it exists and afterwards.
func TestOneFileHasOnePath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"link": filepath.Join(dir, "real"), "relative": "real", "real/sub/up.db": "../new/one.db", "last.db": "link/new/one.db",
		"loop": "loop", "loop2": "loop3/x", "loop3": "loop2/x",
	} {
		if err := os.Symlink(filepath.FromSlash(target), filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Skip(err)
		}
	}
	want := filepath.Join(dir, "real", "new", "one.db")
	check := func(when string) {
		t.Helper()
		for _, name := range []string{"real/new/one.db", "link/new/one.db", "relative/new/one.db", "link/sub/up.db", "last.db", "link/sub/../new/one.db"} {
			path := dir + "/" + name
			if err := DataFile("path", &path, "inbox.db"); err != nil || path != want {
				t.Errorf("%s: %s is %s, want %s (%v)", when, name, path, want, err)
			}
		}
	}
	check("before it exists")
	if err := os.Mkdir(filepath.Dir(want), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("afterwards")
	for _, name := range []string{"loop", "loop/a", "loop2", "loop2/a/b"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := DataFile("path", &path, "inbox.db"); err != nil || !filepath.IsAbs(path) {
			t.Errorf("%s: %q, %v", name, path, err) // opening it fails
		}
	}
}
