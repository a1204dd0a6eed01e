package providerpage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestExportHasEveryField: none is missing or null, whatever a file leaves out.
func TestExportHasEveryField(t *testing.T) {
	bare := &providers.Provider{ID: "bare", Scheme: verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Sig"}}}}
	data, err := export([]*providers.Provider{bare})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "null") {
		t.Errorf("null in %s", data)
	}
	var list []map[string]any
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if want := reflect.TypeFor[Sender]().NumField(); len(list[0]) != want {
		t.Errorf("%d fields, want %d", len(list[0]), want)
	}
}

// TestExportIsDocumented: docs/providers.md names every field.
func TestExportIsDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "providers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## The catalogue as JSON\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, kind := range []reflect.Type{reflect.TypeFor[Sender](), reflect.TypeFor[keyFacts](), reflect.TypeFor[schemeFacts](), reflect.TypeFor[copyFacts](), reflect.TypeFor[retryFacts](), reflect.TypeFor[sourceFact](), reflect.TypeFor[providers.Param]()} {
		for field := range kind.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("%s.%s is not in the section", kind.Name(), name)
			}
		}
	}
}

// TestExportedHeaders: those of the signature, id, events and handshakes, each once.
func TestExportedHeaders(t *testing.T) {
	p := example()
	p.EventHeader, p.OriginHeader = verifier.StringList{"X-Event", "x-id"}, verifier.StringList{"X-Shop"}
	p.Handshake = []verifier.Handshake{{When: verifier.HandshakeWhen{HandshakeFields: verifier.HandshakeFields{Header: map[string]verifier.StringList{"X-Hook-Secret": {"*"}}}}}}
	if got, want := headers(p), []string{"X-App", "X-Event", "X-Hook-Secret", "X-Id", "X-Shop", "X-Sig", "X-Time"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestExportedKey says what verifies a delivery.
func TestExportedKey(t *testing.T) {
	for id, want := range map[string]string{"stripe": "secret", "discord": "public_key", "aws_sns": "published", "apple_app_store": "x5c"} {
		p, err := providers.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := scheme(p).Key; got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
