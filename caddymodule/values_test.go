package caddymodule

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseValue(t *testing.T) {
	for text, want := range map[string]struct {
		kind valueKind
		name string
		err  string // holds this; "" for none
	}{
		"{env.A_B}":             {envValue, "A_B", ""},
		"{file./run/a key}":     {fileValue, "/run/a key", ""},
		"{file.relative}":       {fileValue, "relative", ""},
		`{file.C:\keys\acme}`:   {fileValue, `C:\keys\acme`, ""},
		marker:                  {literalValue, "", ""},
		"{not.a.placeholder}":   {literalValue, "", ""},
		"{":                     {literalValue, "", ""},
		"{env.UNCLOSED":         {literalValue, "", ""},
		"a b{}c":                {literalValue, "", ""},
		"":                      {0, "", "empty: "},
		"{env.}":                {0, "", "{env.…} is not resolved here"},
		"{http.request.host}":   {0, "", "{http.…} is not resolved here"},
		"{http.vars.x}":         {0, "", "{http.…} is not resolved here"},
		"{system.hostname}":     {0, "", "{system.…} is not resolved here"},
		"{time.now}":            {0, "", "{time.…} is not resolved here"},
		marker + "{env.A}":      {0, "", "{env.A} stands inside a longer text"},
		"{env.A}" + marker:      {0, "", "{env.A} stands inside a longer text"},
		"{env.A}{env.B}":        {0, "", "{env.A} stands inside a longer text"},
		" {file./a}":            {0, "", "{file./a} stands inside a longer text"},
		marker + "{http.a}":     {0, "", "{http.a} stands inside a longer text"},
		"{env." + "A}\n":        {0, "", "{env.A} stands inside a longer text"},
		"{vars." + "a" + "}":    {0, "", "{vars.…} is not resolved here"},
		"{caddy.version_short}": {0, "", "{caddy.…} is not resolved here"},
	} {
		kind, name, err := parseValue(text)
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) || strings.Contains(err.Error(), marker) {
				t.Errorf("%q: got the error %v, want one with %q", text, err, want.err)
			}
			continue
		}
		if err != nil || kind != want.kind || name != want.name {
			t.Errorf("%q: got %d %q %v, want %d %q", text, kind, name, err, want.kind, want.name)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, text := range []string{"{env.A}", "{file./a}", "a{env.B}c", "{http.x}", "", "{env.}", "\n{file.}", marker} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kind, name, err := parseValue(text)
		switch {
		case err != nil:
			if kind != 0 || name != "" {
				t.Errorf("%q: an error and %d %q", text, kind, name)
			}
		case kind == literalValue:
			if text == "" || inner.MatchString(text) || placeholder.MatchString(text) {
				t.Errorf("%q is taken as it stands", text)
			}
		case text != "{env."+name+"}" && text != "{file."+name+"}" || name == "":
			t.Errorf("%q: read as %d %q, which is something else", text, kind, name)
		}
	})
}

func TestReadEnv(t *testing.T) {
	for value, want := range map[string]string{
		"text": "text", "text\n": "text", "text\r\n": "text", " te xt ": " te xt ", "a\nb\n": "a\nb", "{env.OTHER}": "{env.OTHER}",
	} {
		t.Setenv("VALUES_TEST", value)
		if got, err := readEnv("VALUES_TEST"); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{"", "\n", "\r\n\n"} {
		t.Setenv("VALUES_TEST", value)
		if _, err := readEnv("VALUES_TEST"); err == nil || !strings.Contains(err.Error(), "VALUES_TEST") {
			t.Errorf("%q: got %v, want an error with the variable's name", value, err)
		}
	}
	if _, err := readEnv("VALUES_TEST_UNSET"); err == nil || !strings.Contains(err.Error(), "VALUES_TEST_UNSET") {
		t.Errorf("unset: got %v", err)
	}
}

func write(t testing.TB, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain": "text", "newline": "text\n", "crlf": "text\r\n", "lines": "a\r\nb\n", "spaces": " text ",
		"empty": "", "only-newlines": "\r\n\n",
		"largest": strings.Repeat("x", maxKeyFile), "too-large": strings.Repeat("x", maxKeyFile+1),
		"keys/b": "two\n", "keys/a": "one", "keys/.hidden": marker, "keys/..data/a": marker,
		"dots/.only": marker, "nested/sub/key": marker, "partly/a": "one", "partly/b": "",
	} {
		write(t, text, dir, name)
	}
	if err := os.Symlink("plain", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]labelled{
		"plain": {{"", "text"}}, "newline": {{"", "text"}}, "crlf": {{"", "text"}}, "lines": {{"", "a\r\nb"}},
		"spaces": {{"", " text "}}, "link": {{"", "text"}}, "largest": {{"", strings.Repeat("x", maxKeyFile)}},
		"keys": {{"a", "one"}, {"b", "two"}},
	} {
		if got, err := readFiles(filepath.Join(dir, name)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %.60q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"missing": "missing", "empty": "the file is empty", "only-newlines": "the file is empty", "too-large": "65537 bytes",
		"dots": "no key file", "none": "no key file", "nested": "not a regular file", "partly": "the file is empty",
	} {
		got, err := readFiles(filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) || got != nil {
			t.Errorf("%s: got %q, %v, want an error with the path and %q", name, got, err, want)
		}
	}
}
