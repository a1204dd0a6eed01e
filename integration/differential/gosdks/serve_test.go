// Package gosdks answers questions to the vendors' Go SDKs, as
// ../javascript/serve.mjs does for those of npm: one JSON object a line on
// standard input, one on standard output.
//
// It is a test binary because several of these SDKs ask time.Now, and a bubble
// of testing/synctest is where that can be set: inside it the clock begins in
// 2000 and jumps ahead when everyone sleeps.
package gosdks

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"code.gitea.io/sdk/gitea"
	"github.com/PagerDuty/go-pagerduty/webhookv3"
	"github.com/buildkite/go-buildkite/v4"
	"github.com/bwmarrin/discordgo"
	"github.com/google/go-github/v74/github"
	line "github.com/line/line-bot-sdk-go/v8/linebot/webhook"
	"github.com/mailgun/mailgun-go/v4"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v82/webhook"
	svix "github.com/svix/svix-webhooks/go"
	"github.com/twilio/twilio-go/client"
)

type question struct {
	SDK      string   `json:"sdk"`
	Provider string   `json:"provider"`
	Op       string   `json:"op"`
	Delivery delivery `json:"delivery"`
}

type answer struct {
	Version  string              `json:"version,omitempty"`
	Calls    string              `json:"calls,omitempty"`
	Headers  map[string][]string `json:"headers,omitempty"`
	Accepted bool                `json:"accepted"`
	Why      string              `json:"why,omitempty"`
	Error    string              `json:"error,omitempty"`
}

type delivery struct {
	Method     string
	URL        string
	Headers    map[string][]string
	Body       string
	BodyBase64 []byte `json:"body_base64"`
	Secret     string
	PublicKey  string `json:"public_key"`
	Now        int64
}

func (d *delivery) body() []byte {
	if d.BodyBase64 != nil {
		return d.BodyBase64
	}
	return []byte(d.Body)
}

func (d *delivery) header() http.Header {
	h := make(http.Header)
	for name, lines := range d.Headers {
		for _, text := range lines {
			h.Add(name, text)
		}
	}
	return h
}

func (d *delivery) request() *http.Request {
	r, err := http.NewRequest(d.Method, d.URL, bytes.NewReader(d.body()))
	if err != nil {
		panic(err)
	}
	r.Header = d.header()
	return r
}

// A subject is one SDK with what is asked of it.
type subject struct {
	calls  string
	sign   func(d *delivery) (map[string][]string, error)
	verify func(d *delivery) error
}

// judge takes a panic, which a server answers with 500 or a closed connection, for a
// refusal.
func (s *subject) judge(d *delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the SDK panics: %v", p)
		}
	}()
	return s.verify(d)
}

var errRefused = errors.New("refused")

func whether(ok bool) error {
	if !ok {
		return errRefused
	}
	return nil
}

var subjects = map[string]subject{
	"code.gitea.io/sdk/gitea": {calls: "VerifyWebhookSignature", verify: func(d *delivery) error {
		ok, err := gitea.VerifyWebhookSignature(d.Secret, d.header().Get("X-Gitea-Signature"), d.body())
		return errors.Join(err, whether(ok))
	}},
	"github.com/buildkite/go-buildkite/v4": {calls: "ValidatePayload", verify: func(d *delivery) error {
		_, err := buildkite.ValidatePayload(d.request(), []byte(d.Secret))
		return err
	}},
	"github.com/PagerDuty/go-pagerduty": {calls: "webhookv3.VerifySignature", verify: func(d *delivery) error {
		return webhookv3.VerifySignature(d.request(), d.Secret)
	}},
	"github.com/bwmarrin/discordgo": {calls: "VerifyInteraction", verify: func(d *delivery) error {
		key, err := hex.DecodeString(d.PublicKey)
		if err != nil {
			return err
		}
		return whether(discordgo.VerifyInteraction(d.request(), ed25519.PublicKey(key)))
	}},
	"github.com/google/go-github/v74": {calls: "github.ValidateSignature", verify: func(d *delivery) error {
		return github.ValidateSignature(d.header().Get("X-Hub-Signature-256"), d.body(), []byte(d.Secret))
	}},
	"github.com/line/line-bot-sdk-go/v8": {calls: "webhook.ValidateSignature", verify: func(d *delivery) error {
		return whether(line.ValidateSignature(d.Secret, d.header().Get("X-Line-Signature"), d.body()))
	}},
	"github.com/mailgun/mailgun-go/v4": {calls: "VerifyWebhookSignature", verify: func(d *delivery) error {
		var payload mailgun.WebhookPayload
		if err := json.Unmarshal(d.body(), &payload); err != nil {
			return err
		}
		mg := mailgun.NewMailgun("example.com", "key")
		mg.SetWebhookSigningKey(d.Secret)
		ok, err := mg.VerifyWebhookSignature(payload.Signature)
		return errors.Join(err, whether(ok))
	}},
	"github.com/openai/openai-go/v3": {calls: "Webhooks.VerifySignature", verify: func(d *delivery) error {
		c := openai.NewClient(option.WithAPIKey("key"), option.WithWebhookSecret(d.Secret))
		return c.Webhooks.VerifySignature(d.body(), d.header())
	}},
	"github.com/sendgrid/sendgrid-go": {calls: "eventwebhook.VerifySignature", verify: func(d *delivery) error {
		key, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(d.PublicKey)
		if err != nil {
			return err
		}
		h := d.header()
		ok, err := eventwebhook.VerifySignature(key, d.body(), h.Get(eventwebhook.VerificationHTTPHeader), h.Get(eventwebhook.TimestampHTTPHeader))
		return errors.Join(err, whether(ok))
	}},
	"github.com/slack-go/slack": {calls: "NewSecretsVerifier, Ensure", verify: func(d *delivery) error {
		v, err := slack.NewSecretsVerifier(d.header(), d.Secret)
		if err != nil {
			return err
		}
		if _, err := v.Write(d.body()); err != nil {
			return err
		}
		return v.Ensure()
	}},
	"github.com/standard-webhooks/standard-webhooks/libraries": {
		calls: "NewWebhook, Sign, Verify",
		sign: func(d *delivery) (map[string][]string, error) {
			wh, err := standardwebhooks.NewWebhook(d.Secret)
			if err != nil {
				return nil, err
			}
			value, err := wh.Sign(d.header().Get("webhook-id"), time.Unix(d.Now, 0), d.body())
			return map[string][]string{"webhook-timestamp": {fmt.Sprint(d.Now)}, "webhook-signature": {value}}, err
		},
		verify: func(d *delivery) error {
			wh, err := standardwebhooks.NewWebhook(d.Secret)
			if err != nil {
				return err
			}
			return wh.Verify(d.body(), d.header())
		},
	},
	"github.com/stripe/stripe-go/v82": {
		calls: "webhook.GenerateTestSignedPayload, webhook.ValidatePayload",
		sign: func(d *delivery) (map[string][]string, error) {
			signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: d.body(), Secret: d.Secret, Timestamp: time.Unix(d.Now, 0)})
			return map[string][]string{"Stripe-Signature": {signed.Header}}, nil
		},
		verify: func(d *delivery) error {
			return webhook.ValidatePayload(d.body(), d.header().Get("Stripe-Signature"), d.Secret)
		},
	},
	"github.com/svix/svix-webhooks": {
		calls: "NewWebhook, Sign, Verify",
		sign: func(d *delivery) (map[string][]string, error) {
			wh, err := svix.NewWebhook(d.Secret)
			if err != nil {
				return nil, err
			}
			value, err := wh.Sign(d.header().Get("svix-id"), time.Unix(d.Now, 0), d.body())
			return map[string][]string{"svix-timestamp": {fmt.Sprint(d.Now)}, "svix-signature": {value}}, err
		},
		verify: func(d *delivery) error {
			wh, err := svix.NewWebhook(d.Secret)
			if err != nil {
				return err
			}
			return wh.Verify(d.body(), d.header())
		},
	},
	"github.com/twilio/twilio-go": {calls: "RequestValidator.Validate, ValidateBody", verify: func(d *delivery) error {
		v := client.NewRequestValidator(d.Secret)
		signature := d.header().Get("X-Twilio-Signature")
		if strings.Contains(d.URL, "bodySHA256=") {
			return whether(v.ValidateBody(d.URL, d.body(), signature))
		}
		form, err := url.ParseQuery(string(d.body()))
		if err != nil {
			return err
		}
		params := make(map[string]string)
		for name := range form {
			params[name] = form.Get(name)
		}
		return whether(v.Validate(d.URL, params, signature))
	}},
}

// version reads go.mod: a test binary does not know what it was built from.
func version(module string) string {
	file, err := os.ReadFile("go.mod")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(file)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == module {
			return fields[1]
		}
	}
	return ""
}

func (q *question) ask(t *testing.T) (a answer) {
	s, ok := subjects[q.SDK]
	if !ok {
		return answer{Error: "nothing to ask " + q.SDK}
	}
	if q.Op == "version" {
		return answer{Version: version(q.SDK), Calls: s.calls}
	}
	d := &q.Delivery
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(d.Now, 0)))
		if q.Op == "sign" {
			headers, err := s.sign(d)
			a.Headers = headers
			if err != nil {
				a.Error = err.Error()
			}
			return
		}
		err := s.judge(d)
		a.Accepted = err == nil
		if err != nil {
			a.Why = err.Error()
		}
	})
	return a
}

// TestServe answers until standard input ends.
func TestServe(t *testing.T) {
	if os.Getenv("DIFFERENTIAL_SERVE") == "" {
		t.Skip("the generator starts this with DIFFERENTIAL_SERVE=1")
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			t.Fatal(err)
		}
		if err := out.Encode(q.ask(t)); err != nil {
			t.Fatal(err)
		}
	}
}
