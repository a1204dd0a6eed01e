package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestDocumentedJSON validates every configuration in JSON of the documentation:
// a whole one, or one store of the app.
func TestDocumentedJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seen := map[string]int{}
	for n, b := range codeBlocks(t) {
		var config map[string]any
		if b.language != "json" || json.Unmarshal([]byte(b.text), &config) != nil {
			continue
		}
		if store, ok := config["store"].(string); ok {
			seen[store]++
			delete(config, "ca") // a file of the reader's
			config = map[string]any{"apps": map[string]any{"verify_webhook": map[string]any{"store": config}}}
		}
		if config["apps"] == nil {
			continue // a provider file, a log line
		}
		seen["apps"]++
		config["admin"] = map[string]any{"disabled": true}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.json", n))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := caddy(t, dir, dummyEnv(b.text), "validate", "--config", path); err != nil {
			t.Errorf("%s: %v\n%s", b.place, err, lastLines(out, 3))
		}
	}
	for _, kind := range []string{"apps", "bolt", "redis"} {
		if seen[kind] == 0 {
			t.Errorf("no example of %s", kind)
		}
	}
}
