package providerpage

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestPagesAreFresh compares docs/providers with the catalogue.
func TestPagesAreFresh(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "providers")
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "run: go generate ./... and commit docs/providers"
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatalf("%v: %s", err, remedy)
		}
		if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), want) { // git may check out CRLF
			t.Errorf("docs/providers/%s is stale: %s", name, remedy)
		}
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if files[filepath.Base(path)] == nil {
			t.Errorf("docs/providers/%s has no provider: %s", filepath.Base(path), remedy)
		}
	}
}

// TestPagesHoldNoEmptyWords looks for gaps left by a field that this package
// does not know.
func TestPagesHoldNoEmptyWords(t *testing.T) {
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	delete(files, "index.json") // empty where the file says nothing
	delete(files, "index.html") // has a script
	for name, text := range files {
		for _, bad := range []string{"%!", "``", "()", "  ,", "<>", "<nil>", " .\n"} {
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(line, "```") && strings.Contains(line, bad) {
					t.Errorf("%s: %q in: %s", name, bad, line)
				}
			}
		}
	}
}

func TestMessage(t *testing.T) {
	for template, want := range map[string]string{
		"{body}":                             "the raw body",
		"{timestamp}.{body}":                 "the timestamp, `.`, the raw body",
		`{method}\n{body|md5|base64}`:        "the method, `\\n`, the MD5 of the raw body in base64",
		`\{{body}\}`:                         "`{`, the raw body, `}`",
		"{header:X-A|lower} {json:data.id}":  "the header `X-A` in lower case, a space, `data.id` of the JSON body",
		"{url}{body_digest:hash|sha256|hex}": "the whole URL, (nothing: the query parameter `hash` must be the SHA-256 of the body in hex)",
		"{body|crc32}{param:hook}{form:a}":   "the CRC-32 of the raw body, the param `hook`, the form field `a`",
		"{something:new|odd}{body}":          "`{something:new|odd}{body}`",
		"{json_pairs:Data,a,b}":              "the members of `Data` in the JSON body but for `a`, `b`, sorted by name, each as `name=value`, joined by commas",
		"{form_pairs:sign,sign_type}":        "the form fields but for `sign`, `sign_type`, sorted, each as `name=value`, joined by `&`",
		"{json_is:Event.Code=1}{json:a}":     "(if `Event.Code` of the JSON body is `1`), `a` of the JSON body",
		"{body|sha256|base64url}":            "the SHA-256 of the raw body in base64url",
		"{unclosed":                          "`{unclosed`",
	} {
		if got := message(template); got != want {
			t.Errorf("%s: %s, want %s", template, got, want)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

// example has most of what a file can say.
func example() *providers.Provider {
	return &providers.Provider{
		ID: "acme", Name: "Acme", Aliases: []string{"acme_corp"}, Category: "payments",
		Scheme: verifier.Scheme{
			Algorithm: verifier.Ed25519, PublicKeyEncoding: "hex", PublicURL: "",
			Signature:     &verifier.Signature{Header: verifier.StringList{"X-Sig"}, Prefix: "v1=", Encoding: "base64"},
			Message:       verifier.StringList{"{url}{timestamp}{body}", "{timestamp}{body}"},
			Timestamp:     &verifier.Timestamp{Header: verifier.StringList{"X-Time"}, Unit: "ms"},
			DeliveryID:    &verifier.DeliveryID{Header: verifier.StringList{"X-Id"}},
			RequireHeader: []verifier.RequiredHeader{{Name: "X-App", Values: verifier.StringList{"a", "b"}}},
		},
		Params:  []providers.Param{{Name: "hook", Description: "the hook's id, <hook>"}, {Name: "team", Description: "the team", Optional: true}},
		Methods: []string{"POST", "PUT"}, MaxBody: 1000, RejectStatus: 403, ReadsAnswer: true,
		UniqueID: true, BodiesDiffer: true,
		Retry:      providers.Retry{Schedule: "every hour", Span: verifier.Duration(49 * 3600e9)},
		Sources:    []providers.Source{{URL: "https://acme.example/docs", Proves: "what *it* says", Read: "2026-11-29"}, {URL: "https://acme.example/api", Proves: "the size"}},
		Confidence: "official-doc", Notes: []string{"Use <key> and x-*, `<not this>`."},
		Vectors: []providers.Vector{
			{Source: "Acme documentation", Proof: providers.VendorDoc, Headers: map[string]string{"X-Sig": "v1=AA==", "X-Time": "1", "X-Other": "no"}, Expect: "genuine"},
			{Source: "edited: body", Expect: "signature_mismatch"},
		},
	}
}

// TestWhichAnswersAreUsed: the page says to which requests the response is used, and what
// becomes of inbox first.
func TestWhichAnswersAreUsed(t *testing.T) {
	const used = "The sender uses the app's response"
	for _, c := range []struct {
		p    providers.Provider
		want string
	}{
		{providers.Provider{}, ""},
		{providers.Provider{ReadsAnswer: true}, used + ", so `inbox first` is an error; `inbox` works."},
		{providers.Provider{ReadsAnswerTo: "inline *hooks*"}, used + ` to inline \*hooks\*. With ` + "`inbox first` it gets `duplicate_response` instead, and the start warns of that; `inbox` works."},
	} {
		if got := strings.Join(limits(&c.p), "\n"); got != c.want {
			t.Errorf("%+v: %q, want %q", c.p, got, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{1000: "1000 bytes", 1 << 20: "1 MiB", 25 << 20: "25 MiB", 1<<20 + 1: "1048577 bytes"} {
		if got := size(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}

func TestGolden(t *testing.T) {
	list, err := export([]*providers.Provider{example()})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"acme.md": string(Markdown(example())), "acme.txt": Text(example()), "acme.json": string(list)} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; go test ./internal/providerpage -update rewrites it. Got:\n%s", path, got)
		}
	}
}

// TestCopies: pages and handler follow the same rule.
func TestCopies(t *testing.T) {
	for want, change := range map[string]func(*providers.Provider){
		"The body: two events never share one. The id in the header `X-Id` does not count":                                                                                                                       func(*providers.Provider) {},
		"together with the body, because the signature does not cover the id. A delivery that the app accepted is remembered for 7 days by default. One without an id is recognised by its body for 15 minutes.": func(p *providers.Provider) { p.BodiesDiffer = false },
		"together with the body and the header `X-Event`, because the signature does not cover the id.":                                                                                                          func(p *providers.Provider) { p.EventHeader = verifier.StringList{"X-Event"} },
		"the body and the headers `X-Event` and `X-Shop`, because the signature does not cover the id.": func(p *providers.Provider) {
			p.EventHeader, p.OriginHeader = verifier.StringList{"X-Event"}, verifier.StringList{"X-Shop"}
		},
		"together with the header `X-Shop`, because the signature does not cover where it is from.": func(p *providers.Provider) {
			p.Scheme.DeliveryID, p.BodiesDiffer, p.OriginHeader = &verifier.DeliveryID{JSON: "id"}, false, verifier.StringList{"X-Shop"}
		},
		"`id` of the JSON body, which is signed and new for each event.": func(p *providers.Provider) {
			p.Scheme.DeliveryID, p.BodiesDiffer = &verifier.DeliveryID{JSON: "id"}, false
		},
		"because the id may not be new": func(p *providers.Provider) {
			p.Scheme.DeliveryID, p.UniqueID = &verifier.DeliveryID{JSON: "id"}, false
		},
		"The body: two events never share one.":                                    func(p *providers.Provider) { p.Scheme.DeliveryID = nil },
		"The method counts too, because the signature does not cover it":           func(p *providers.Provider) { p.Methods = []string{"POST", "PUT"} },
		"The signature does not cover the method: a copy with another value there": func(p *providers.Provider) { p.Methods = []string{"POST", "PUT"} },
		"recognised by its body for 15 minutes.": func(p *providers.Provider) {
			p.BodiesDiffer, p.Scheme.Tolerance = false, new(verifier.Duration(time.Hour))
		},
		"configure `dedupe { key content }`: a body is then remembered for 2 days 1 hour.": func(p *providers.Provider) { p.Scheme.DeliveryID, p.BodiesDiffer = nil, false },
		"Replay: no copy of a captured delivery reaches the app for 7 days.":               func(*providers.Provider) {},
		"Replay: exact copies of a captured delivery do not reach the app for 7 days. The signature does not cover the header `X-Id` and the header `X-Event`:": func(p *providers.Provider) {
			p.EventHeader = verifier.StringList{"X-Event"}
		},
		"Replay: exact copies of a captured delivery do not reach the app for 2 days 1 hour. The signature does not cover all of the body:": func(p *providers.Provider) {
			p.Scheme.DeliveryID, p.Scheme.Timestamp, p.Scheme.Message, p.Scheme.BodyUnsigned = nil, nil, verifier.StringList{"{json:id}"}, true
		},
		"Replay: copies of a captured delivery reach the app.": func(p *providers.Provider) { p.Scheme.DeliveryID, p.BodiesDiffer = nil, false },
	} {
		p := example()
		p.Methods = []string{"POST"}
		change(p)
		if got := strings.Join(copies(p), " "); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}

// TestRetryHeaders: the page says what the app does not get.
func TestRetryHeaders(t *testing.T) {
	p := &providers.Provider{RetryHeader: verifier.StringList{"X-Retry", "X-Why"}}
	const want = "The app does not get `X-Retry` and `X-Why`, by which apps drop retries, of a handler with `inbox`, which retries itself."
	if got := limits(p); len(got) != 1 || got[0] != want {
		t.Errorf("%q", got)
	}
}

// TestKeyLines: a page says of the key only what its file says.
func TestKeyLines(t *testing.T) {
	for want, k := range map[string]providers.Key{
		"":                                   {},
		"Where to find it: Settings > Keys.": {Where: "Settings > Keys."},
		"It begins with `whsec_`.":           {Prefix: verifier.StringList{"whsec_"}},
		"It begins with `a_` or `b_` and has at least 9 characters.": {Prefix: verifier.StringList{"a_", "b_"}, MinLength: 9},
		"It has at least 32 characters.":                             {MinLength: 32},
	} {
		if got := strings.Join(keyLines(&providers.Provider{Key: k}), "|"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSpan: durations read as people say them.
func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		7 * 24 * time.Hour: "7 days", 24 * time.Hour: "1 day", 3629 * time.Minute: "2 days 12 hours 29 minutes", 371 * time.Hour: "15 days 11 hours",
		75*time.Hour + 35*time.Minute + 5*time.Second: "3 days 3 hours 35 minutes 5 seconds", 15 * time.Minute: "15 minutes", time.Second: "1 second",
		0: "0s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := span(verifier.Duration(d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// TestNamesAreNotDoubled: no page says webhooks twice where the name says it.
func TestNamesAreNotDoubled(t *testing.T) {
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	doubled := regexp.MustCompile(`(?i)(hooks?|events?|callbacks?|notifications?)\)? webhooks in front|webhooks webhooks`)
	for name, text := range files {
		if found := doubled.Find(text); found != nil {
			t.Errorf("%s: %s", name, found)
		}
	}
}

// TestRetriesNotFound: where a note says that the pages do not say it, and when, so does
// the section.
func TestRetriesNotFound(t *testing.T) {
	for note, want := range map[string]string{
		"Not found in the pages below on 2026-11-29: retries, time to answer.":      "Not found in the sources below on 2026-11-29.",
		"Sends twice. Not found in the pages below on 2026-11-29: a size, retries.": "Not found in the sources below on 2026-11-29.",
		"Not found in the pages below on 2026-11-29: time to answer, size limit.":   "Not documented.",
		"A retry has a new id.": "Not documented.",
	} {
		if got := retries(&providers.Provider{Notes: []string{note}}); got != want {
			t.Errorf("%q: %s, want %s", note, got, want)
		}
	}
}

// TestTextFitsATerminal: prose fits 80 columns without Markdown; only what is copied, a
// Caddyfile and a command, and addresses are longer.
func TestTextFitsATerminal(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		command := strings.Join(delivery(p), "\n")
		for line := range strings.Lines(strings.Replace(Text(p), command, "(the command)", 1)) {
			line = strings.TrimSuffix(line, "\n")
			if utf8.RuneCountInString(line) > 80 && strings.Contains(strings.TrimLeft(line, " -"), " ") || strings.ContainsAny(line, "`") || strings.Contains(line, "**") {
				t.Errorf("%s: %s", p.ID, line)
			}
		}
	}
}
