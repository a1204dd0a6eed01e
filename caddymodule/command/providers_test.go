package command

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestProvidersList: every sender, by category, in 80 columns, with how its copies are
// recognised.
func TestProvidersList(t *testing.T) {
	out, errs, code := webhook(t, "", "providers")
	all, _ := providers.All()
	if lines := strings.Count(out, "\n"); code != exitOK || lines != 1+len(providers.Categories)+len(all) {
		t.Fatalf("exit %d, %v, %d lines of %d providers", code, errs, lines, len(all))
	}
	for _, want := range []string{`(?m)^development: source code`, `(?m)^  github {5,}GitHub {5,}id\+body {4}exact$`, `(?m)^  webex {5,}Cisco Webex {5,}none {7}none$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("over 80 columns: %s", line)
		}
	}
}

// TestProvidersSearch: an id in any case shows its provider; any other word, and
// --category, list what they find.
func TestProvidersSearch(t *testing.T) {
	for args, want := range map[string][]string{
		"Stripe":                          {"Stripe (stripe)\n", "\tverify_webhooks"},
		"CISCO_WEBEX":                     {"Cisco Webex (webex"},
		"pay":                             {"payments: ", "  paypal ", "  stripe ", "billing: ", "  openpay "},
		"Cloud notif":                     {"no provider matches"},
		"hub":                             {"  github ", "  hubspot "},
		"--category Email":                {"email: ", "  resend "},
		"--category email post":           {"  postmark "},
		"--category email stripe":         {`no provider matches "stripe"`},
		"--category mail":                 {`unknown category "mail": known are ai, `},
		"--category email --json":         {`"id": "resend"`, `"recognised_by": "id"`},
		"hub --json":                      {`"id": "github"`, `"replay": "exact"`},
		"--category email --check a.json": {"--check accepts a file"},
		"--catalogue":                     {"--catalogue belongs to --check"},
	} {
		words := strings.Fields(args)
		if args == "Cloud notif" {
			words = []string{args}
		}
		out, errs, _ := webhook(t, "", append([]string{"providers"}, words...)...)
		for _, text := range want {
			if !strings.Contains(out+errs, text) {
				t.Errorf("%s: no %q in\n%s%s", args, text, out, errs)
			}
		}
		if strings.HasPrefix(args, "--category email post") && strings.Contains(out, "resend") {
			t.Errorf("%s lists others:\n%s", args, out)
		}
	}
}

func TestProvidersOne(t *testing.T) {
	out, errs, code := webhook(t, "", "providers", "cisco_webex") // an alias
	if code != exitOK {
		t.Fatal(code, errs)
	}
	for _, want := range []string{
		"Cisco Webex (webex, cisco_webex)\n", "sender webex {env.WEBEX_SECRET}\n",
		"hmac-sha1 over the raw body.", "every copy is forwarded", "https://developer.webex.com/docs/api/guides/webhooks",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestProvidersJSON(t *testing.T) {
	out, errs, code := webhook(t, "", "providers", "--json", "sinch_app")
	if code != exitOK {
		t.Fatal(code, errs)
	}
	var one []map[string]any
	if err := json.Unmarshal([]byte(out), &one); err != nil || len(one) != 1 || one[0]["id"] != "sinch_app" || one[0]["docs"] != "docs/providers/sinch_app.md" {
		t.Errorf("%v in %s", err, out)
	}
	index, err := os.ReadFile(filepath.Join("..", "..", "docs", "providers", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	out, _, _ = webhook(t, "", "providers", "--json")
	var printed, published any
	if err := errors.Join(json.Unmarshal([]byte(out), &printed), json.Unmarshal(index, &published)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(printed, published) {
		t.Error("providers --json and docs/providers/index.json differ")
	}
}

func TestProvidersUsage(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"mistyped":       {[]string{"stirpe"}, `unknown provider "stirpe": did you mean "stripe"?`},
		"unheard of":     {[]string{"qqqqqqq"}, "caddy webhook providers lists them"},
		"a path":         {[]string{"../../etc/passwd"}, "caddy webhook providers lists them"},
		"two":            {[]string{"stripe", "github"}, "one provider at a time, not 2"},
		"check and id":   {[]string{"--check", "a.json", "stripe"}, "--check accepts a file and no argument"},
		"check and json": {[]string{"--check", "a.json", "--json"}, "--check accepts a file and no argument"},
		"check nothing":  {[]string{"--check", ""}, "--check: no file"},
		"no file":        {[]string{"--check", "gone.json"}, "gone.json"},
		"a directory":    {[]string{"--check", t.TempDir()}, "is a directory"},
	} {
		out, errs, code := webhook(t, "", append([]string{"providers"}, tc.args...)...)
		if code != exitUsage || !strings.Contains(errs, tc.want) || out != "" {
			t.Errorf("%s: exit %d, %v, printed %q; want 2 and %q", name, code, errs, out, tc.want)
		}
	}
}

// TestProvidersCheck spoils the file that CONTRIBUTING.md shows whole.
func TestProvidersCheck(t *testing.T) {
	text := contributingExample(t)
	for name, tc := range map[string]struct {
		old, new, file string
		code           int
		want           string // in what is printed, or in the error
	}{
		"as shown":          {code: exitOK, want: ": complete. Next, in a verify_webhooks block: sender ./acme.json …\n"},
		"another name":      {file: "other.json", code: exitNot, want: `wrong: id: "acme" is not the file's name`},
		"an alias in use":   {old: `"acme_corp"`, new: `"github"`, code: exitNot, want: `wrong: aliases: "github" means github in the catalogue`},
		"no sources":        {old: `"sources"`, new: `"Sources":[],"sources"`, code: exitOK, want: "complete"}, // Go's decoder is lax about case: the last counts
		"no confidence":     {old: `"confidence": "official-doc",`, code: exitNot, want: "wrong: confidence: missing"},
		"a wrong secret":    {old: `"acme-example-secret"`, new: `"another"`, code: exitNot, want: "wrong: vectors[0]: got signature_mismatch, want genuine"},
		"unsigned body":     {old: `"{timestamp}.{body}"`, new: `"{timestamp}"`, code: exitUsage, want: "scheme: message: does not cover the body"},
		"unknown slot":      {old: `{body}"`, new: `{boddy}"`, code: exitUsage, want: "scheme: message: unknown slot {boddy}"},
		"ambiguous":         {old: `"{timestamp}.{body}"`, new: `"{json:id}{body}"`, code: exitUsage, want: "scheme: timestamp: the message does not contain it"},
		"unknown field":     {old: `"confidence"`, new: `"confidense"`, code: exitUsage, want: `: unknown field "confidense": did you mean "confidence"?`},
		"not JSON":          {old: `"scheme": {`, new: `"scheme": `, code: exitUsage, want: "acme.json: line "},
		"two objects":       {old: "\n}\n", new: "\n}\n{}\n", code: exitUsage, want: "more text after the provider's object"},
		"a bad id":          {old: `"id": "acme"`, new: `"id": "Acme!"`, code: exitUsage, want: `id "Acme!": give it an id of lower-case letters`},
		"a wrong algorithm": {old: `"signature": {`, new: `"algorithm": "hmac-md5", "signature": {`, code: exitUsage, want: "scheme: algorithm: hmac-md5 is weak"},
		"advice alone":      {old: `"span": "24h"`, new: `"span": "1h"`, code: exitOK, want: "complete"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.old != "" && !strings.Contains(text, tc.old) {
				t.Fatalf("the example has no %s", tc.old)
			}
			if tc.file == "" {
				tc.file = "acme.json"
			}
			path := filepath.Join(t.TempDir(), tc.file)
			spoilt := text
			if tc.old != "" {
				spoilt = strings.Replace(text, tc.old, tc.new, 1)
			}
			if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			out, errs, code := webhook(t, "", "providers", "--check", path, "--catalogue")
			out += errs
			if code != tc.code || !strings.Contains(out, tc.want) || !strings.Contains(out, path) {
				t.Errorf("exit %d, want %d and %q with %s:\n%s", code, tc.code, tc.want, path, out)
			}
			if (errs != "") != (code == exitUsage) {
				t.Errorf("exit %d with error %v", code, errs)
			}
			own, _, code := webhook(t, "", "providers", "--check", path)
			switch advice := strings.Replace(tc.want, "wrong: ", "advice: ", 1); {
			case tc.code != exitNot || name == "a wrong secret":
				if code != tc.code {
					t.Errorf("a file of one's own: exit %d, want %d:\n%s", code, tc.code, own)
				}
			case code != exitOK || !strings.Contains(own, advice) || !strings.Contains(own, tc.file+": correct. Next"):
				t.Errorf("a file of one's own: exit %d, want 0 and %q:\n%s", code, advice, own)
			}
		})
	}
}

// contributingExample is the json block of CONTRIBUTING.md.
func contributingExample(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("CONTRIBUTING.md has no json block")
	}
	return text
}

func TestProvidersCheckOfSlotsThatTouch(t *testing.T) {
	for message, want := range map[string]string{
		"{header:X-Run}{body}":  ": advice: scheme.message: no text separates {header:X-Run} and {body}, so bytes of",
		"{header:X-Run}.{body}": "",
	} {
		path := filepath.Join(t.TempDir(), "acme.json")
		if err := os.WriteFile(path, []byte(`{"id": "acme", "scheme": {"signature": {"header": "X-Sig"}, "message": "`+message+`"}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, code := webhook(t, "", "providers", "--check", path)
		if code != exitOK || strings.Contains(out, "no text separates") != (want != "") || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, want %q:\n%s", message, code, want, out)
		}
	}
}
