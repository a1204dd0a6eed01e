package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestExitCodes runs "caddy webhook" as a shell would. The codes are a contract: 0
// success, 1 failure, 2 usage error.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	template, err := os.ReadFile(filepath.Join("..", "verifier", "providers", "_template.json"))
	if err != nil {
		t.Fatal(err)
	}
	stripe, err := os.ReadFile(filepath.Join("..", "verifier", "providers", "stripe.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"your_sender.json": string(template), "stripe.json": string(stripe), "broken.json": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"", 0, "caddy webhook [command]"},
		{"bogus", 2, `unknown command "bogus": see caddy webhook --help`},
		{"providers", 0, "COPIES BY"},
		{"providers stripe", 0, "sender stripe {env.STRIPE_SECRET}"},
		{"providers strpe", 2, `unknown provider "strpe": did you mean "stripe"?`},
		{"providers --jsn", 2, "unknown flag: --jsn: see caddy webhook providers --help"},
		{"providers --check", 2, "flag needs an argument"},
		{"providers --check gone.json", 2, "gone.json: no such file"},
		{"providers --check broken.json", 2, "provider file broken.json: unexpected EOF"},
		{"providers --check your_sender.json", 1, "advice: name: missing"},
		{"providers --check your_sender.json", 1, "wrong: vectors[0]: cannot be run"},
		{"providers --check your_sender.json --catalogue", 1, "wrong: name: missing"},
		{"providers --check stripe.json", 0, "stripe.json: complete"},
		{"verify", 2, "no SCHEME: name a provider"},
		{"verify strpe", 2, `unknown provider "strpe": did you mean "stripe"?`},
		{"verify stripe gone.http --secret a", 2, "open gone.http: no such file"},
		{"verify stripe broken.json --secret a", 2, "broken.json: it begins like JSON and is no HAR"},
		{"verify stripe -H X:1 --secret a", 1, "missing_signature"},
		{"sign stripe --secret a", 2, "no body: add --body-file"},
		{"send stripe --secret a --to http://127.0.0.1:1", 2, "no answer from"},
		{"listen stripe --secret a --addr nine", 2, "--addr: write a port"},
		{"verify --help", 0, "caddy webhook verify stripe delivery.http"},
		{"sign --help", 0, "--format curl"},
		{"send --help", 0, "--tamper body"},
		{"listen --help", 0, "--save deliveries"},
		{"providers --help", 0, "caddy webhook providers --check ./acme.json"},
	} {
		out, err := caddy(t, dir, nil, append([]string{"webhook"}, strings.Fields(tc.args)...)...)
		code := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			code = e.ExitCode()
		}
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("caddy webhook %s: exit %d, want %d and %q:\n%s", tc.args, code, tc.code, tc.want, lastLines(out, 6))
		}
	}
}

// TestCompletion asks as a shell does.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"verify strip": "stripe\tStripe", "sign stripe --format ": "curl", "send stripe --tam": "--tamper\t", "lis": "listen\t",
	} {
		out, err := caddy(t, t.TempDir(), nil, append([]string{"__complete", "webhook"}, strings.Split(words, " ")...)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %s; want %q", words, err, out, want)
		}
	}
}

// TestProvidersForPrograms checks the promises of --json.
func TestProvidersForPrograms(t *testing.T) {
	t.Parallel()
	out, err := caddy(t, t.TempDir(), nil, "webhook", "providers", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		ID            string
		Signable      bool
		CoversBody    bool   `json:"covers_body"`
		ExampleSecret string `json:"example_secret"`
		Params        []providers.Param
		Docs          string
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if all, _ := providers.All(); len(list) != len(all) {
		t.Errorf("%d providers, want %d", len(list), len(all))
	}
	body := []byte(`{"any":"body"}`)
	for _, one := range list {
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(one.Docs))); err != nil {
			t.Errorf("%s: docs: %v", one.ID, err)
		}
		if !one.Signable {
			continue
		}
		p, err := providers.Get(one.ID)
		if err != nil {
			t.Fatal(err)
		}
		scheme := p.Scheme
		scheme.Params = make(map[string]string)
		for _, param := range one.Params {
			scheme.Params[param.Name] = "any"
		}
		v, err := verifier.New(scheme, []verifier.Key{{Text: one.ExampleSecret}})
		if err != nil {
			t.Errorf("%s: example_secret: %v", one.ID, err)
			continue
		}
		req := &verifier.Request{Method: "POST", Host: "localhost:9000", Target: "/"}
		if err := v.Sign(req, "id-1", time.Unix(1800000000, 0), body); err != nil {
			t.Errorf("%s: signable, but: %v", one.ID, err)
			continue
		}
		for _, sent := range []string{string(body), string(body) + " "} {
			_, err := v.Judge(req, []byte(sent), time.Unix(1800000000, 0))
			if altered := sent != string(body); altered && one.CoversBody && err == nil {
				t.Errorf("%s: covers_body, but an altered body passes", one.ID)
			} else if !altered && err != nil {
				t.Errorf("%s: signable, but what is signed is refused: %v", one.ID, err)
			}
		}
	}
}
