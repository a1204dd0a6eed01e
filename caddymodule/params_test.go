package caddymodule

import (
	"strings"
	"testing"
)

// TestParamNames: a param must match a whole name. The beginning of a name is a
// mistake that would leave the real one without a value.
func TestParamNames(t *testing.T) {
	hook := func(params string) string {
		return acme(topsecret, `"message":"{param:hook_id}.{body}"`, `"param":{"hook_id":"x"`+params+`}`)
	}
	for config, want := range map[string]string{
		hook(``):                                "",
		hook(`,"hook":"y"`):                     "known are hook_id",
		hook(`,"hok_id":"y"`):                   "did you mean hook_id?",
		hook(`,"h":"y"`):                        "known are hook_id",
		hook(`,"":"y"`):                         "known are hook_id",
		acme(topsecret, `"param":{"hook":"x"}`): "has none",
		`{"provider":"livekit","secret":["a-secret"],"param":{"api_key":"x"}}`:          "",
		`{"provider":"livekit","secret":["a-secret"],"param":{"api":"x"}}`:              "api_key",
		`{"provider":"aws_sns","param":{"topic_arn":"arn:aws:sns:x:1:y","topic":"y"}}`:  "topic_arn",
		`{"provider":"aws_sns","param":{"topic_arn":"arn:aws:sns:x:1:y","param:":"y"}}`: "topic_arn",
	} {
		_, err := provision(t, "", config)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
