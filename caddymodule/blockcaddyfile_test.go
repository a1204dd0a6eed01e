package caddymodule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkBlocks finds every verify_webhooks handler of a configuration and checks that no
// route bypasses its senders: its own has no matcher, and it holds nothing but
// verify_webhook handlers with paths, and routes behind them, or neither: a guard.
func checkBlocks(config any) (blocks int, err error) {
	var list []any
	switch c := config.(type) {
	case []any:
		list = c
	case map[string]any:
		handlers, _ := c["handle"].([]any)
		if slices.ContainsFunc(handlers, isBlock) && (c["match"] != nil || c["group"] != nil) {
			return 0, fmt.Errorf("the route of a block has a matcher or a group")
		}
		if isBlock(c) {
			blocks, err = 1, checkBlock(c)
		}
		list = slices.Collect(maps.Values(c))
	}
	for _, v := range list {
		n, bad := checkBlocks(v)
		blocks, err = blocks+n, cmp.Or(err, bad)
	}
	return blocks, err
}

func isBlock(v any) bool {
	h, ok := v.(map[string]any)
	return ok && h["handler"] == "verify_webhooks"
}

func checkBlock(block map[string]any) error {
	senders, _ := block["senders"].([]any)
	routes, _ := block["routes"].([]any)
	if block["prefix"] == "" || (len(senders) == 0) != (len(routes) == 0) {
		return fmt.Errorf("a block with prefix %q, %d senders and %d routes", block["prefix"], len(senders), len(routes))
	}
	for _, s := range senders {
		s := s.(map[string]any)
		verify, _ := s["verify"].(map[string]any)
		if path, _ := s["path"].(string); !strings.HasPrefix(path, "/") || verify["handler"] != "verify_webhook" {
			return fmt.Errorf("a sender with path %q and handler %q", path, verify["handler"])
		}
	}
	return nil
}

// TestBlockLetsNothingPast: in every block's routes the senders come first, and other
// requests end there.
func TestBlockLetsNothingPast(t *testing.T) {
	t.Setenv("ADAPT_SECRET", "from-the-environment")
	files, err := filepath.Glob("testdata/adapt/block*.caddyfiletest")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d golden files: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, adapted, _ := strings.Cut(string(data), "----------\n")
		var config any
		if err := json.Unmarshal([]byte(adapted), &config); err != nil {
			t.Fatal(err)
		}
		n, err := checkBlocks(config)
		if want := strings.Count(input, "verify_webhooks "); err != nil || n != want {
			t.Errorf("%s: %d blocks, want %d: %v", file, n, want, err)
		}
	}
}

// FuzzBlock: no text makes the parser panic, our errors repeat no secret, and an
// accepted block lets nothing bypass its senders.
func FuzzBlock(f *testing.F) {
	files, _ := filepath.Glob("testdata/adapt/*block*.caddyfiletest")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), "----------\n")
		if i := strings.Index(input, "verify_webhooks"); i >= 0 {
			f.Add(strings.TrimSuffix(strings.TrimSpace(input[i:]), "}"))
		}
	}
	f.Add("verify_webhooks " + marker)
	f.Add("verify_webhooks /a/* {\n\tsender " + marker + "\n\tsender github " + marker + " {\n\t\tpath " + marker + "\n\t}\n\trespond 204\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		// Imports and provider files read the files they name, and other directives
		// may do anything with their arguments.
		if len(text) > 4096 || strings.Contains(text, "import") || strings.Contains(text, "json") || !strings.HasPrefix(text, "verify_webhooks") {
			return
		}
		adapted, err := adapt("Caddyfile", ":80 {\n"+text+"\n}")
		if err != nil {
			own := strings.HasPrefix(err.Error(), "parsing caddyfile tokens for 'verify_webhooks': ") && strings.Count(err.Error(), "parsing caddyfile tokens") == 1
			if own && strings.Contains(err.Error(), marker) && strings.Contains(text, " "+marker+"\n") && strings.Count(text, marker) == strings.Count(text, " "+marker+"\n") {
				t.Errorf("the error repeats a secret: %v", err)
			}
			return
		}
		var config any
		if err := json.Unmarshal([]byte(adapted), &config); err != nil {
			t.Fatal(err)
		}
		if _, err := checkBlocks(config); err != nil {
			t.Errorf("%v:\n%s", err, adapted)
		}
	})
}
