package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write what the adapter gives into testdata/adapt")

// marker is the secret that no error may contain.
const marker = "SECRET-MARKER"

// adapt turns a Caddyfile into indented JSON. Relative paths of provider files start
// at file's directory.
func adapt(file, caddyfile string) (string, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": file})
	if err != nil {
		return "", err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		return "", err
	}
	return pretty.String(), nil
}

// TestAdapt adapts every testdata/adapt/*.caddyfiletest: a Caddyfile, a line of
// dashes, and the resulting JSON, or lines of the error in any order. Files of errors
// are called error_*.
func TestAdapt(t *testing.T) {
	t.Setenv("ADAPT_SECRET", "from-the-environment")
	t.Setenv("ADAPT_UPSTREAM", "whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo")
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(data), "----------\n")
			if !found {
				t.Fatal("no line of ten dashes between the Caddyfile and what it becomes")
			}
			got, err := adapt(filepath.ToSlash(file), input)
			if err != nil {
				got = err.Error()
			}
			if wantError := strings.HasPrefix(name, "error_"); wantError != (err != nil) {
				t.Fatalf("an error is expected: %t; got: %s", wantError, got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(input+"----------\n"+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				if got != strings.TrimSpace(want) {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
				provisions(t, got)
				return
			}
			for line := range strings.Lines(want) {
				if line = strings.TrimSpace(line); !strings.Contains(got, line) {
					t.Errorf("got the error:\n%s\nwithout:\n%s", got, line)
				}
			}
			if strings.Contains(got, marker) {
				t.Errorf("the error repeats a secret: %s", got)
			}
		})
	}
}

// provisions runs a configuration as far as caddy validate does.
func provisions(t *testing.T, config string) {
	t.Helper()
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON([]byte(config), &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	cfg.Logging = silent()
	if err := caddy.Validate(&cfg); err != nil {
		t.Errorf("the adapted configuration does not provision: %v", err)
	}
}

// silent is the logging of configurations whose log is not checked.
func silent() *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
}

// TestMisplacedSecret puts a secret in every wrong place: as the provider, as a word
// of the block, after each option. Errors must not contain it.
func TestMisplacedSecret(t *testing.T) {
	secrets := []string{marker, "SECRET/MARKER+=", `"SECRET MARKER"`, "sha256=SECRET", "{SECRET}", "SECRET."}
	lines := []string{"", "header ", "header X-A ", "header X-A kv ", "header X-A list ", "header X-A prefix ", "kv ", "json ", "form ", "json a ", "header X-A s "}
	var blocks []string
	for _, s := range secrets {
		blocks = append(blocks,
			"verify_webhook "+s,
			"verify_webhook "+s+" "+s,
			"verify_webhook * /"+s,
			"verify_webhook github ok {\n"+s+"\n}",
			"verify_webhook github ok {\n"+s+" "+s+"\n}")
		for _, option := range optionNames() {
			for _, before := range lines {
				line := option + " " + before + s
				blocks = append(blocks,
					"verify_webhook stripe ok {\n"+line+"\n}",
					"verify_webhook stripe ok {\n"+line+" "+s+"\n}",
					"verify_webhook stripe ok {\n"+line+" {env.X}x\n}",
					"verify_webhook stripe ok {\n"+line+" {\n"+s+"\n}\n}")
			}
		}
	}
	texts := make([]string, 0, len(blocks))
	for _, block := range blocks {
		texts = append(texts, ":80 {\n"+block+"\n}")
	}
	for _, s := range secrets {
		for _, line := range []string{
			"", "sender ", "sender github ", "sender " + s + " ", "sender github ok {\n", "sender github ok {\npath ", "sender github ok {\nname ",
			"sender github ok {\n}\nsender github ok {\npath ", "sender github ok\n", "sender github ok\nsecret ",
		} {
			end := "\n}\n}"
			if strings.HasSuffix(line, "path ") || strings.HasSuffix(line, "name ") || strings.HasSuffix(line, "{\n") {
				end = "\n}" + end
			}
			texts = append(texts, ":80 {\nverify_webhooks "+s+" {\n"+line+s+end, ":80 {\nverify_webhooks /hooks/* "+s+" {\n"+line+s+end, ":80 {\nverify_webhooks /hooks/* {\n"+line+s+end)
		}
		for _, routes := range []string{"handle {\n", "route {\nhandle /x {\n", "handle_path /hooks/* {\nroute {\nhandle {\n"} {
			end := strings.Repeat("}\n", strings.Count(routes, "{")+2)
			texts = append(texts, ":80 {\nverify_webhooks /hooks/* {\nsender github ok\n"+routes+s+"\n"+end, ":80 {\nverify_webhooks /hooks/* {\nsender github ok\n"+routes+"respond 200\n"+s+" x\n"+end)
		}
		for _, line := range []string{"", "key ", "window ", "wait ", "duplicate_response ", "duplicate_response 200 a "} {
			texts = append(texts, ":80 {\nverify_webhook stripe ok {\ndedupe {\n"+line+s+"\n}\n}\n}")
		}
		for _, line := range []string{"", "max_buffered ", "store ", "store memory ", "store bolt ", "store memory {\n", "store bolt {\n", "store memory {\nmax_entries ", "store bolt {\nmax_entries ", "store bolt {\npath a "} {
			end := "\n}\n}"
			if strings.Contains(line, "{") {
				end += "\n}"
			}
			texts = append(texts, "{\nverify_webhook {\n"+line+s+end+"\n:80")
		}
	}
	refused := 0
	for _, block := range texts {
		_, err := adapt("Caddyfile", block)
		if err == nil {
			continue
		}
		refused++
		if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s\nrepeats it: %v", block, err)
		}
	}
	if refused < len(texts)/2 {
		t.Errorf("only %d of %d blocks were refused: the test sees too little", refused, len(texts))
	}
}
