package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/xcaddy"
)

// checkout writes a folder that looks like a fork: a Go module, and the config
// text as its xcaddy.toml.
func checkout(t *testing.T, module, text string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, configName)
	write(t, filepath.Join(dir, "go.mod"), "module "+module+"\n")
	write(t, file, text)
	return dir, file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadConfig(t *testing.T) {
	dir, file := checkout(t, "example.com/gateway", `
caddy  = "v2.11.9"
output = "out/caddy"
expect = ["http.handlers.a", "b"]

[[plugin]]
package = "example.com/gateway"
replace = "."

[[plugin]]
package = "example.com/gateway/sub/redis"

[[plugin]]
package = "example.com/other"
version = "v1.2.3"

[[plugin]]
package = "example.com/newest"
`)
	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "out", "caddy"); c.Output != want {
		t.Errorf("output = %s, want %s", c.Output, want)
	}
	if want := []string{"http.handlers.a", "b"}; !reflect.DeepEqual(c.Expect, want) {
		t.Errorf("expect = %q, want %q", c.Expect, want)
	}
	got, err := c.builder()
	if err != nil {
		t.Fatal(err)
	}
	want := xcaddy.Builder{
		CaddyVersion: "v2.11.9",
		Plugins: []xcaddy.Dependency{
			{PackagePath: "example.com/gateway", Version: "v0.0.0"},
			{PackagePath: "example.com/gateway/sub/redis"},
			{PackagePath: "example.com/other", Version: "v1.2.3"},
			{PackagePath: "example.com/newest"},
		},
		Replacements: []xcaddy.Replace{xcaddy.NewReplace("example.com/gateway", dir)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("builder\n got %+v\nwant %+v", got, want)
	}
}

func TestReadConfigDefaultOutput(t *testing.T) {
	dir, file := checkout(t, "example.com/gateway", "caddy = \"v2.11.9\"\n[[plugin]]\npackage = \"example.com/other\"\n")
	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "build", "caddy"); c.Output != want {
		t.Errorf("output = %s, want %s", c.Output, want)
	}
}

func TestConfigErrors(t *testing.T) {
	const head = "caddy = \"v2.11.9\"\n"
	for name, tc := range map[string]struct {
		text string
		want []string // parts of the message: what, where, what to do
	}{
		"syntax":               {head + "output = \n", []string{configName, "line 2"}},
		"wrong type":           {"caddy = 2\n", []string{configName, "line 1", `"caddy"`}},
		"unknown key":          {head + "outptu = \"x\"\n", []string{configName, `"outptu"`, "output"}},
		"unknown plugin key":   {head + "[[plugin]]\npackage = \"a.b/c\"\nwith = \"x\"\n", []string{`"plugin.with"`, "replace"}},
		"no caddy":             {"[[plugin]]\npackage = \"a.b/c\"\n", []string{"caddy is missing", "v2.11.9"}},
		"empty output":         {head + "output = \"\"\n[[plugin]]\npackage = \"a.b/c\"\n", []string{"output is empty", defaultOutput}},
		"no plugin":            {head, []string{"no [[plugin]]"}},
		"no package":           {head + "[[plugin]]\nversion = \"v1.0.0\"\n", []string{"number 1", "import path"}},
		"twice":                {head + strings.Repeat("[[plugin]]\npackage = \"a.b/c\"\n", 2), []string{"a.b/c", "twice"}},
		"version and replace":  {head + "[[plugin]]\npackage = \"example.com/gateway\"\nversion = \"v1.0.0\"\nreplace = \".\"\n", []string{"both version and replace"}},
		"version of a package": {head + "[[plugin]]\npackage = \"example.com/gateway\"\nreplace = \".\"\n[[plugin]]\npackage = \"example.com/gateway/x\"\nversion = \"v1.0.0\"\n", []string{"example.com/gateway/x", "no effect"}},
		"folder without go.mod": {
			head + "[[plugin]]\npackage = \"example.com/gateway\"\nreplace = \"nowhere\"\n",
			[]string{"example.com/gateway", "go.mod", "nowhere"},
		},
		"folder of another module": {
			head + "[[plugin]]\npackage = \"example.com/gatewayfork\"\nreplace = \".\"\n",
			[]string{"example.com/gatewayfork", "holds the Go module example.com/gateway:"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, file := checkout(t, "example.com/gateway", tc.text)
			c, err := readConfig(file)
			if err == nil {
				_, err = c.builder()
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := readConfig(filepath.Join(t.TempDir(), configName))
	if err == nil || !strings.Contains(err.Error(), "-config") {
		t.Errorf("%v does not say what to do", err)
	}
}

func TestTwoFoldersForOneModule(t *testing.T) {
	dir, file := checkout(t, "example.com/gateway", `
caddy = "v2.11.9"
[[plugin]]
package = "example.com/gateway"
replace = "."
[[plugin]]
package = "example.com/gateway/redis"
replace = "copy"
`)
	if err := os.Mkdir(filepath.Join(dir, "copy"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "copy", "go.mod"), "module example.com/gateway\n")
	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.builder(); err == nil || !strings.Contains(err.Error(), "keep one") {
		t.Errorf("%v does not say what to do", err)
	}
}

func TestPlaceholderVersion(t *testing.T) {
	for module, want := range map[string]string{
		"example.com/a":      "v0.0.0",
		"example.com/a/v2":   "v2.0.0",
		"example.com/a/v12":  "v12.0.0",
		"example.com/a/v1":   "v0.0.0",
		"example.com/a/vent": "v0.0.0",
	} {
		if got := placeholderVersion(module); got != want {
			t.Errorf("placeholderVersion(%q) = %s, want %s", module, got, want)
		}
	}
}

// The file that this repository ships must build this checkout.
func TestOwnConfig(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got := findRoot(cwd); got != root {
		t.Errorf("findRoot(%s) = %s, want %s", cwd, got, root)
	}
	c, err := readConfig(filepath.Join(root, configName))
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.builder()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Replacements) != 1 || string(b.Replacements[0].New) != root {
		t.Errorf("replacements = %v, want this checkout, %s", b.Replacements, root)
	}
	if len(c.Expect) == 0 {
		t.Error("expect is empty: a build without the handler would pass")
	}
}

func TestMissingModules(t *testing.T) {
	const listing = "http.handlers.a\n\n  Standard modules: 1\n\nhttp.handlers.verify_webhook_extra\n"
	got := missingModules(listing, []string{"http.handlers.a", "http.handlers.verify_webhook"})
	if want := []string{"http.handlers.verify_webhook"}; !reflect.DeepEqual(got, want) {
		t.Errorf("missing = %q, want %q", got, want)
	}
}
