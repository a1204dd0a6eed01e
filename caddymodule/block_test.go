package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A jsonRoute is the part of a route that the tests read.
type jsonRoute struct {
	Group    string
	Match    []map[string]json.RawMessage
	Handle   []map[string]json.RawMessage
	Terminal bool
}

func handlerOf(h map[string]json.RawMessage) (name string) {
	_ = json.Unmarshal(h["handler"], &name)
	return name
}

func routesOf(h map[string]json.RawMessage) (routes []jsonRoute) {
	_ = json.Unmarshal(h["routes"], &routes)
	return routes
}

// checkBlocks finds every verify_webhooks handler of a configuration and checks that
// no route bypasses its senders.
func checkBlocks(config any) (blocks int, err error) {
	switch c := config.(type) {
	case []any:
		for _, v := range c {
			n, err := checkBlocks(v)
			if err != nil {
				return 0, err
			}
			blocks += n
		}
	case map[string]any:
		raw, _ := json.Marshal(c)
		var h map[string]json.RawMessage
		_ = json.Unmarshal(raw, &h)
		if routes := routesOf(h); len(routes) == 2 && len(routes[0].Handle) == 1 && handlerOf(routes[0].Handle[0]) == "verify_webhooks" {
			return 1, checkBlock(routes)
		}
		if c["handler"] == "verify_webhooks" {
			return 0, fmt.Errorf("verify_webhooks outside its subroute")
		}
		for _, v := range c {
			n, err := checkBlocks(v)
			if err != nil {
				return 0, err
			}
			blocks += n
		}
	}
	return blocks, nil
}

func checkBlock(routes []jsonRoute) error {
	guard, owned := routes[0], routes[1]
	prefix := string(guard.Handle[0]["prefix"])
	if len(guard.Match) != 0 || guard.Group != "" || prefix == "" {
		return fmt.Errorf("the guard has a matcher, a group or no prefix")
	}
	if !owned.Terminal || len(owned.Match) != 1 || len(owned.Match[0]) != 1 || string(owned.Match[0]["verify_webhook_prefix"]) != prefix || len(owned.Handle) != 1 {
		return fmt.Errorf("the route of the prefix is not terminal, or has another matcher than %s", prefix)
	}
	inner := routesOf(owned.Handle[0])
	if len(inner) < 3 || inner[0].Group == "" {
		return fmt.Errorf("%d routes, want a group of senders and what follows", len(inner))
	}
	for i, route := range inner {
		if route.Group != inner[0].Group {
			return fmt.Errorf("the group of senders does not end in an error")
		}
		switch handlerOf(route.Handle[0]) {
		case "verify_webhook":
			if len(route.Match) != 1 || len(route.Match[0]) != 1 || len(route.Match[0]["path"]) == 0 {
				return fmt.Errorf("route %d: a sender is matched by something else than its path", i)
			}
			continue
		case "error":
			if len(route.Match) == 1 && len(route.Match[0]["path_regexp"]) != 0 && string(route.Handle[0]["status_code"]) == "404" {
				continue // near another sender's path
			}
			if i == 0 || len(route.Match) != 0 || string(route.Handle[0]["status_code"]) != "404" {
				return fmt.Errorf("route %d: the group does not end in a 404 for everything else", i)
			}
			if strings.Contains(string(owned.Handle[0]["routes"]), `"verify_webhook"`) && i == len(inner)-1 {
				return fmt.Errorf("nothing follows the senders")
			}
			return nil
		}
		return fmt.Errorf("route %d is neither a sender nor an error", i)
	}
	return fmt.Errorf("no error ends the group of senders")
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
