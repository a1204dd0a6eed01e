package check

import (
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// eventName matches the name of a header by which an app may decide what to do.
var eventName = regexp.MustCompile(`(?i)event|topic|type|action|trigger`)

// originName matches the name of a header that may say which shop, project, site or app a
// delivery is of.
var originName = regexp.MustCompile(`(?i)shop|store|source|origin|instance|domain|project|repo|site|workspace|organi[sz]ation|account|merchant|tenant|client|api-?key|-key$`)

// notOrigins match, and name the key that signs or the delivery.
var notOrigins = []string{"X-Adobe-Public-Key2-Path", "Idempotency-Key"}

// TestUnsignedEventHeadersCount: someone who sends a captured delivery again chooses
// every header that its signature does not cover. An app that ignores the event of that
// copy must still get the sender's own, so the header is part of the identity.
func TestUnsignedEventHeadersCount(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, name := range unsigned(t, p, eventName) {
			t.Errorf("%s.json: an app may decide by the header %s, which is not signed: name it in event_header", p.ID, name)
		}
	}
}

// TestUnsignedOriginHeadersCount: an app with several shops may go by the header that names
// the shop, and ignore one that it does not know.
func TestUnsignedOriginHeadersCount(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, name := range unsigned(t, p, originName) {
			if !slices.Contains(notOrigins, textproto.CanonicalMIMEHeaderKey(name)) {
				t.Errorf("%s.json: an app may decide by the header %s, which is not signed: name it in origin_header", p.ID, name)
			}
		}
	}
}

// alsoSent are unsigned headers by which apps decide and that no vector has, because what
// signed it made only the signed ones.
var alsoSent = map[string][]string{
	"adobe_io":             {"X-Adobe-Event-Code", "X-Adobe-Provider"},
	"adobe_io_cloudevents": {"X-Adobe-Event-Code", "X-Adobe-Provider"},
	"bitbucket":            {"X-Hook-UUID"},
	"boldsign":             {"X-BoldSign-Event"},
	"certn":                {"Certn-Team-ID"},
	"linq":                 {"X-Webhook-Event"},
	"netlify":              {"X-Netlify-Event"},
	"plain":                {"Plain-Event-Type", "Plain-Workspace-Id"},
	"shopify":              {"X-Shopify-Sub-Topic", "X-Shopify-Name", "X-Shopify-Test", "Shopify-Handle", "Shopify-Resource-Id"},
	"square":               {"square-environment"},
	"twitch":               {"Twitch-Eventsub-Subscription-Version"},
	"uber":                 {"X-Environment"},
	"woocommerce":          {"X-WC-Webhook-ID"},
	"zendesk":              {"X-Zendesk-Webhook-Id"},
}

// TestHeadersBesideTheVectorsCount: as above, for headers that the sender documents or that
// its receivers read.
func TestHeadersBesideTheVectorsCount(t *testing.T) {
	for id, names := range alsoSent {
		p, err := providers.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !slices.Contains(p.DecidingHeaders(), name) {
				t.Errorf("%s.json: an app may decide by the header %s, which is not signed: name it in event_header or origin_header", id, name)
			}
		}
	}
}

// TestHeadersOfAnAttemptDoNotCount: one that is new for each request would forward every retry.
func TestHeadersOfAnAttemptDoNotCount(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, name := range p.DecidingHeaders() {
			if regexp.MustCompile(`(?i)retry|attempt|triggered-at|^X-Gitlab-Webhook-UUID$`).MatchString(name) {
				t.Errorf("%s.json: the header %s differs between attempts", p.ID, name)
			}
		}
	}
}

// unsigned lists the headers of genuine vectors whose names match, that the file does not
// name, and that can have another value without being refused.
func unsigned(t *testing.T, p *providers.Provider, match *regexp.Regexp) (names []string) {
	known := slices.Concat(p.Scheme.HeaderNames(), p.DecidingHeaders())
	for i := range p.Vectors {
		vec := &p.Vectors[i]
		if vec.Expect != providers.Genuine {
			continue
		}
		for name := range vec.Headers {
			is := func(other string) bool { return strings.EqualFold(name, other) }
			if !match.MatchString(name) || is("Content-Type") || slices.ContainsFunc(known, is) || slices.ContainsFunc(names, is) {
				continue
			}
			delivery, err := newTrial(p, vec)
			if err != nil {
				t.Fatalf("%s: %v", p.ID, err)
			}
			delivery.req.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{"another"}
			if delivery.run() == providers.Genuine {
				names = append(names, name)
			}
		}
	}
	return names
}
