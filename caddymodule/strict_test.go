package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEmptyTextsAreRefused empties each text of the handlers and apps that the golden
// Caddyfiles become: in JSON too an empty variable must not mean the default.
func TestEmptyTextsAreRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]bool)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, adapted, _ := strings.Cut(string(data), "----------\n")
		var config map[string]any
		if json.Unmarshal([]byte(adapted), &config) != nil {
			continue // an error
		}
		eachModule(config, func(module map[string]any, into func() any) {
			if raw := jsonOf(t, module); json.Unmarshal(raw, into()) != nil {
				t.Fatalf("%s: not accepted as it is: %s", file, raw)
			}
			eachText(module, "", func(path string) {
				tried[path] = true
				raw := jsonOf(t, module)
				if err := json.Unmarshal(raw, into()); err == nil || !strings.Contains(err.Error(), path+": empty") && !strings.Contains(err.Error(), `duration ""`) {
					t.Errorf("%s: got %v, want an error with %q", raw, err, path+": empty")
				}
			})
		})
	}
	for _, path := range []string{
		"name", "provider", "secret.value", "secret.label", "sign_upstream", "public_url", "algorithm", "message", "dedupe.key",
		"dedupe.duplicate_response.body", "require_header.values", "param.hook", "store.path", "inbox.encrypt",
	} {
		if !tried[path] {
			t.Errorf("no golden file has %s", path)
		}
	}
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// eachModule calls do with each handler and app of a configuration, and with what
// makes a value to decode it into.
func eachModule(config any, do func(module map[string]any, into func() any)) {
	switch c := config.(type) {
	case []any:
		for _, item := range c {
			eachModule(item, do)
		}
	case map[string]any:
		if c["handler"] == "verify_webhook" {
			delete(c, "handler")
			do(c, func() any { return new(Handler) })
			return
		}
		for name, value := range c {
			if app, ok := value.(map[string]any); ok && name == "verify_webhook" {
				do(app, func() any { return new(App) })
				continue
			}
			eachModule(value, do)
		}
	}
}

// eachText calls do while each text below v is empty, one after the other. path is its
// place, without the positions in lists.
func eachText(v any, path string, do func(path string)) {
	try := func(path string, text any, set func(any)) {
		if _, ok := text.(string); !ok {
			eachText(text, path, do)
			return
		}
		set("")
		do(path)
		set(text)
	}
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			try(path, item, func(to any) { v[i] = to })
		}
	case map[string]any:
		for name, value := range v {
			if _, definition := value.(map[string]any); !definition || name != "provider" {
				try(strings.TrimPrefix(path+"."+name, "."), value, func(to any) { v[name] = to })
			}
		}
	}
}
