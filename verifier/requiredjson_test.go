package verifier

import (
	"strings"
	"testing"
)

func TestRequireJSON(t *testing.T) {
	scheme := bare(nil)
	scheme.RequireJSON = map[string]StringList{"topic.arn": {"{param:topic}", "other"}, "n": {"2"}}
	scheme.Params = map[string]string{"topic": "{mine}"}
	v, err := New(scheme, []Key{{Text: testKey}})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"n":2,"topic":{"arn":"{mine}"}}`:              genuine,
		`{"n":"2","topic":{"arn":"other"}}`:             genuine,
		`{"n":2,"topic":{"arn":"{mine} "}}`:             "header_mismatch",
		`{"n":2,"topic":{"arn":"{param:topic}"}}`:       "header_mismatch",
		`{"n":3,"topic":{"arn":"other"}}`:               "header_mismatch",
		`{"n":2,"topic":{"arn":"other","arn":"other"}}`: "header_mismatch",
		`{"n":2,"topic":{"arn":["other"]}}`:             "missing_header",
		`{"n":2,"topic":{}}`:                            "missing_header",
		`{"n":null,"topic":{"arn":"other"}}`:            "missing_header",
		`n=2`:                                           "header_mismatch",
	} {
		expect(t, v, post("X-Signature", macOf(testKey, body)), body, want)
	}
	for value, want := range map[string]string{
		"":             "only text and {param:…}",
		"{body}":       "only text and {param:…}",
		"{param:none}": "{param:none} has no value",
		"a{param:x":    "a { without its }",
	} {
		scheme.RequireJSON = map[string]StringList{"a": {value}}
		if err := validate(scheme); err == nil || !strings.HasPrefix(err.Error(), "require_json: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", value, err, want)
		}
	}
	for path, values := range map[string]StringList{"a": nil, "a..b": {"x"}} {
		scheme.RequireJSON = map[string]StringList{path: values}
		if err := validate(scheme); err == nil {
			t.Errorf("%s %q: no error", path, values)
		}
	}
	sum := Scheme{RequireJSON: map[string]StringList{"a": {"1"}, "b": {"1"}}}.With(Scheme{RequireJSON: map[string]StringList{"b": {"2"}, "c": {"3"}}}).RequireJSON
	if len(sum) != 3 || sum["a"][0] != "1" || sum["b"][0] != "2" {
		t.Errorf("together: %v", sum)
	}
}
