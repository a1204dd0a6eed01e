package caddymodule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

const (
	signedID   = `"message":"{id}.{body}","delivery_id":{"header":"X-Id"}`
	longRetry  = `{"provider":{"id":"acme_inc","name":"Acme","retry":{"span":"240h"},"scheme":{"signature":{"header":"X-Acme"},"delivery_id":{"json":"id"}}},"secret":["a"]}`
	shortRetry = `{"provider":{"id":"acme_inc","name":"Acme","bodies_differ":true,"retry":{"span":"20m"},"scheme":{"signature":{"header":"X-Acme"}}},"secret":["a"]}`
)

// withDedupe is a scheme with an unsigned id.
func withDedupe(dedupe string) string { return acme(topsecret, withID, `"dedupe":{`+dedupe+`}`) }

const week = 7 * 24 * time.Hour

func TestTerms(t *testing.T) {
	for config, want := range map[string]dedupe.Terms{
		acme(topsecret, withID):                            {TTL: week, Wait: 10 * time.Second, Limit: time.Minute, Lease: 9 * time.Second, Room: "acme"},
		withDedupe(`"wait":0`):                             {TTL: week, Wait: 0, Limit: time.Minute, Lease: 9 * time.Second, Room: "acme"},
		withDedupe(`"wait":"0s"`):                          {TTL: week, Wait: 0, Limit: time.Minute, Lease: 9 * time.Second, Room: "acme"},
		withDedupe(`"wait":"250ms"`):                       {TTL: week, Wait: 250 * time.Millisecond, Limit: time.Minute, Lease: 9 * time.Second, Room: "acme"},
		withDedupe(`"lease":"1s"`):                         {TTL: week, Wait: 10 * time.Second, Limit: time.Minute, Lease: time.Second, Room: "acme"},
		acme(topsecret, withID, `"upstream_timeout":"5m"`): {TTL: week, Wait: 10 * time.Second, Limit: 5 * time.Minute, Lease: 9 * time.Second, Room: "acme"},
	} {
		if got := mustProvision(t, "", config).handlers[0].recogniser.terms; got != want {
			t.Errorf("%s: got %+v, want %+v", config, got, want)
		}
	}
}

func TestDuplicateResponseConfig(t *testing.T) {
	for config, want := range map[string]string{
		``:                        "200 ",
		`"duplicate_response":{}`: "200 ",
		`"duplicate_response":{"body":"[accepted]"}`:      "200 [accepted]",
		`"duplicate_response":{"status":204}`:             "204 ",
		`"duplicate_response":{"status":299,"body":"ok"}`: "299 ok",
	} {
		r := mustProvision(t, "", withDedupe(config)).handlers[0].recogniser
		if got := fmt.Sprint(r.status, " ", r.body); got != want {
			t.Errorf("%s: got %q, want %q", config, got, want)
		}
	}
}

func TestDedupeRefused(t *testing.T) {
	t.Setenv("DEDUPE_TEST", marker)
	const other = `"sign_upstream":"whsec_`
	for name, tc := range map[string]struct{ config, want string }{
		"window 0":             {withDedupe(`"window":0`), "dedupe: window: 0s: give a positive duration"},
		"window negative":      {withDedupe(`"window":"-1s"`), "dedupe: window: -1s"},
		"wait negative":        {withDedupe(`"wait":"-1s"`), "dedupe: wait: -1s"},
		"lease 0":              {withDedupe(`"lease":0`), "dedupe: lease: 0s: give at least 1s"},
		"lease short":          {withDedupe(`"lease":"999ms"`), "dedupe: lease: 999ms"},
		"status 0":             {withDedupe(`"duplicate_response":{"status":0}`), "dedupe: duplicate_response: 0"},
		"status 199":           {withDedupe(`"duplicate_response":{"status":199}`), "dedupe: duplicate_response: 199"},
		"status 300":           {withDedupe(`"duplicate_response":{"status":300}`), "dedupe: duplicate_response: 300"},
		"status 404":           {withDedupe(`"duplicate_response":{"status":404}`), "dedupe: duplicate_response: 404"},
		"key unknown":          {withDedupe(`"key":"` + marker + `"`), "dedupe: unknown key: known are id, id+content, content"},
		"key id":               {acme(withMarker, `"dedupe":{"key":"id"}`), "dedupe: key id: the scheme has no delivery_id"},
		"key id+content":       {acme(withMarker, `"dedupe":{"key":"id+content"}`), "dedupe: key id+content: the scheme has no delivery_id"},
		"key id of off":        {`{"provider":"stripe",` + withMarker + `,"delivery_id":{"off":true},"dedupe":{"key":"id"}}`, "the scheme has no delivery_id"},
		"unknown field":        {withDedupe(`"windw":1`), `unknown field "windw"`},
		"sign not base64":      {acme(topsecret, other+marker+`!"`), "sign_upstream: the secret is not valid base64"},
		"sign empty":           {acme(topsecret, `"sign_upstream":"whsec_"`), "sign_upstream: the secret is empty"},
		"sign from a variable": {acme(topsecret, `"sign_upstream":"{env.DEDUPE_TEST}"`), "sign_upstream {env.DEDUPE_TEST}: the secret is not valid base64"},
		"sign unset":           {acme(topsecret, `"sign_upstream":"{env.DEDUPE_TEST_UNSET}"`), "sign_upstream: the environment variable DEDUPE_TEST_UNSET is not set or empty"},
		"sign in text":         {acme(topsecret, `"sign_upstream":"`+marker+`{env.A}"`), "sign_upstream: {env.A} must be the whole value"},
		"sign as the sender":   {acme(`"secret":["x","`+upstreamSecret+`"]`, `"sign_upstream":"`+upstreamSecret+`"`), "sign_upstream: this secret is also one of the sender's"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := provision(t, "", tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), marker) || strings.Contains(err.Error(), strings.TrimPrefix(upstreamSecret, "whsec_")) {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

// TestDedupeAdvice: only probable mistakes are reported at start.
func TestDedupeAdvice(t *testing.T) {
	for config, want := range map[string]string{
		acme(topsecret):                                                                      "", // the app reports all such handlers in one line
		acme(topsecret, `"dedupe":{"off":true}`):                                             "",
		acme(topsecret, `"dedupe":{"key":"content"}`):                                        "",
		acme(topsecret, withID):                                                              "",
		withDedupe(`"window":"1h"`):                                                          "",
		acme(topsecret, signedID, `"dedupe":{"key":"id"}`):                                   "",
		`{"provider":"stripe","secret":["a"]}`:                                               "",
		`{"provider":"github","secret":["a"]}`:                                               "",
		`{"provider":"aryeo","secret":["a"]}`:                                                "",
		`{"provider":"stripe","secret":["a"],"dedupe":{"window":"24h"}}`:                     "",
		`{"provider":"stripe","secret":["a"],"dedupe":{"window":"23h"}}`:                     "shorter than a day",
		`{"provider":"github","secret":["a"],"dedupe":{"key":"id"}}`:                         "the signature does not cover the id",
		`{"provider":"elevenlabs","secret":["a"],"dedupe":{"key":"content","window":"59m"}}`: "shorter than twice the tolerance",
		`{"provider":"elevenlabs","secret":["a"],"dedupe":{"key":"content","window":"1h"}}`:  "",
		`{"provider":"elevenlabs","secret":["a"],"timestamp":{"off":true},"dedupe":{"key":"content","window":"1m"}}`: "",
		`{"provider":"linear","secret":["a"],"dedupe":{"window":"1h"}}`:                                              "shorter than twice the tolerance",
		acme(topsecret, withID, signedTime, `"tolerance":"72h","dedupe":{"window":"7d"}`):                            "",
		acme(topsecret, withID, signedTime, `"tolerance":"96h","dedupe":{"window":"7d"}`):                            "shorter than twice the tolerance",
		acme(topsecret, signedTime, `"tolerance":"1h","dedupe":{"off":true,"window":"1m"}`):                          "",
	} {
		var got []string
		for _, e := range mustProvision(t, "", config).logs.All() {
			if e.Level >= zapcore.WarnLevel {
				got = append(got, e.Message)
			}
		}
		if len(got) > 1 || want == "" && len(got) > 0 || want != "" && !strings.Contains(fmt.Sprint(got), want) {
			t.Errorf("%s: advised %q, want %q", config, got, want)
		}
	}
}
