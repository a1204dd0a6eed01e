package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestAppsGetOneIDAndTime of every sender of the catalogue whose deliveries have them in one
// of several headers: what a stranger adds under the other name is not for the app.
func TestAppsGetOneIDAndTime(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	var tested []string
	for _, p := range all {
		var alternatives [][]string
		if id := p.Scheme.DeliveryID; id != nil && len(id.Header) > 1 {
			alternatives = append(alternatives, id.Header)
		}
		if at := p.Scheme.Timestamp; at != nil && len(at.Header) > 1 {
			alternatives = append(alternatives, at.Header)
		}
		for _, names := range alternatives {
			for _, vec := range p.Vectors {
				if vec.Expect != providers.Genuine || vec.Secret == "" {
					continue
				}
				tested = append(tested, p.ID)
				for _, own := range names {
					for _, other := range names {
						if own != other {
							addOther(t, p, vec, own, other, p.ID != "shopify") // which signs neither
						}
					}
				}
			}
		}
	}
	for _, id := range []string{"svix", "fathom", "recall_ai", "shopify"} {
		if !slices.Contains(tested, id) {
			t.Errorf("%s is not tested", id)
		}
	}
}

// addOther sends a delivery that has one header, and also the other one.
func addOther(t *testing.T, p *providers.Provider, vec providers.Vector, own, other string, signed bool) {
	sent := make(http.Header)
	for name, value := range vec.Headers {
		sent.Set(name, value)
	}
	genuine := sent.Get(own)
	if genuine == "" || sent.Get(other) != "" {
		return
	}
	config, err := json.Marshal(map[string]any{"provider": p.ID, "secret": []string{"{file." + filepath.ToSlash(write(t, vec.Secret, t.TempDir(), "key")) + "}"}, "dedupe": map[string]bool{"off": true}})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(vec.Body)
	if vec.BodyBase64 != nil {
		text = vec.BodyBase64
	}
	for _, value := range []string{genuine, "1", ""} {
		g := mustProvision(t, "", string(config))
		g.handlers[0].now = func() time.Time { return time.Unix(vec.Now, 0) }
		r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/a", bytes.NewReader(text))
		r.Header = sent.Clone()
		r.Header.Set(other, value)
		a := serve(t, r, accepting, g.handlers...)
		if a.forward == nil {
			if value == genuine || value == "" { // otherwise the other name may be the one that is read
				t.Errorf("%s, %s: %q beside %s: %v", p.ID, other, value, own, a.err)
			}
			continue
		}
		if a.forward.Header.Get(own) != genuine && a.forward.Header.Get(other) != value {
			t.Errorf("%s: the app gets neither %s nor %s", p.ID, own, other)
		}
		got := a.forward.Header.Get(other)
		if !signed {
			if got != value {
				t.Errorf("%s: the app gets %s: %q, want %q", p.ID, other, got, value)
			}
			continue
		}
		if got != value && value == genuine || got == "1" && a.forward.Header.Get(own) != "" {
			t.Errorf("%s: the app gets %s: %q beside %s: %q", p.ID, other, got, own, a.forward.Header.Get(own))
		}
	}
}

// TestOneIDOfASignedApp: the gateway's own Webhook-Id replaces one that was verified, and
// what a stranger wrote into svix-id goes.
func TestOneIDOfASignedApp(t *testing.T) {
	p, err := providers.Get("recall_ai")
	if err != nil {
		t.Fatal(err)
	}
	vec := p.Vectors[slices.IndexFunc(p.Vectors, func(v providers.Vector) bool {
		return v.Expect == providers.Genuine && (v.Headers["webhook-id"] != "" || v.Headers["Webhook-Id"] != "")
	})]
	g := mustProvision(t, "", `{"provider":"recall_ai","secret":["{file.`+filepath.ToSlash(write(t, vec.Secret, t.TempDir(), "key"))+`}"],`+signUpstream+`}`)
	g.handlers[0].now = func() time.Time { return time.Unix(vec.Now, 0) }
	r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/a", bytes.NewReader([]byte(vec.Body)))
	for name, value := range vec.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("svix-id", "msg_another")
	a := serve(t, r, accepting, g.handlers...)
	if a.err != nil || a.forward == nil {
		t.Fatal(a.err)
	}
	if got := a.forward.Header; got.Get("Svix-Id") != "" || got.Get("Webhook-Id") != a.placeholder("delivery") {
		t.Errorf("the app gets %q", got)
	}
}
