package caddymodule

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// logCore is a core of Caddy's logging that keeps all entries from the start of
// Provision.
type logCore struct{ zapcore.Core }

// lastLogs belongs to the newest logCore.
var lastLogs *observer.ObservedLogs

func init() { caddy.RegisterModule(logCore{}) }

func (logCore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.cores.verify_webhook_test", New: func() caddy.Module {
		core, logs := observer.New(zapcore.DebugLevel)
		lastLogs = logs
		return &logCore{core}
	}}
}

// A gateway is a configuration whose handlers are provisioned.
type gateway struct {
	ctx      caddy.Context
	app      *App
	handlers []*Handler
	logs     *observer.ObservedLogs
	registry *prometheus.Registry
}

// provision provisions handlers of one configuration, each given as JSON. appConfig
// is the app's, or "". Nothing is started.
func provision(t testing.TB, appConfig string, handlers ...string) (*gateway, error) {
	t.Helper()
	cfg := &caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}, Logging: silent()}
	cfg.Logging.Logs["default"].CoreRaw = json.RawMessage(`{"module":"verify_webhook_test"}`)
	cfg.Logging.Logs["default"].Level = "DEBUG"
	if appConfig != "" {
		cfg.AppsRaw = caddy.ModuleMap{"verify_webhook": json.RawMessage(appConfig)}
	}
	base, err := caddy.ProvisionContext(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(cancel)
	g := &gateway{ctx: ctx, logs: lastLogs, registry: ctx.GetMetricsRegistry()}
	for _, config := range handlers {
		m, err := ctx.LoadModuleByID("http.handlers.verify_webhook", json.RawMessage(config))
		if err != nil {
			return nil, err
		}
		h := m.(*Handler)
		h.now = func() time.Time { return clock }
		g.handlers = append(g.handlers, h)
	}
	app, err := ctx.App("verify_webhook")
	if err != nil {
		return nil, err
	}
	g.app = app.(*App)
	g.app.storage = make(shelf) // Caddy's own is a directory of the user who runs the tests
	return g, nil
}

func mustProvision(t testing.TB, appConfig string, handlers ...string) *gateway {
	t.Helper()
	g, err := provision(t, appConfig, handlers...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// start does what Caddy does with an app of an accepted configuration.
func (g *gateway) start(t testing.TB) {
	t.Helper()
	before := buffered.limit.Load()
	t.Cleanup(func() { buffered.limit.Store(before) })
	if err := g.app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.app.shut(); err != nil {
			t.Error(err)
		}
	})
}

// look reads the key files twice: changes are used after two reads.
func look(t *testing.T, k *keys.Set) {
	t.Helper()
	for range 2 {
		if err := k.Refresh(); err != nil {
			t.Fatal(err)
		}
	}
}

func sign(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func write(t testing.TB, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// shelf is a storage in memory.
type shelf map[string][]byte

func (s shelf) Load(_ context.Context, key string) ([]byte, error) {
	if data, ok := s[key]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (s shelf) Store(_ context.Context, key string, value []byte) error {
	s[key] = value
	return nil
}

// acme is a handler's configuration, with more members.
func acme(more ...string) string {
	return "{" + strings.Join(append([]string{`"name":"acme","signature":{"header":"X-Signature"}`}, more...), ",") + "}"
}

const (
	topsecret   = `"secret":["n9Wd4kTq2"]`
	withID      = `"delivery_id":{"json":"id"}`
	withMarker  = `"secret":["` + marker + `"]`
	signedTime  = `"message":"{timestamp}.{body}","timestamp":{"header":"X-Time"}`
	onePublic   = `"algorithm":"ed25519","public_key":["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]`
	acmeInlined = `"provider":{"id":"acme_inc","name":"Acme","scheme":{"signature":{"header":"X-Acme"}}}`
)

func TestConfigAccepted(t *testing.T) {
	t.Setenv("CONFIG_TEST", "text\n")
	missing := filepath.ToSlash(filepath.Join(t.TempDir(), "missing"))
	for name, config := range map[string]string{
		"secret as text":               acme(topsecret),
		"secret as object":             acme(`"secret":[{"value":"a"},{"value":"b","label":"old"}]`),
		"secret from a variable":       acme(`"secret":["{env.CONFIG_TEST}"]`),
		"secret from a missing file":   acme(`"secret":["{file.` + missing + `}"]`),
		"public key":                   acme(onePublic),
		"provider as id":               `{"provider":"stripe","secret":["a"]}`,
		"provider as object":           `{` + acmeInlined + `,"secret":["a"]}`,
		"provider null":                acme(topsecret, `"provider":null`),
		"one field of a provider":      `{"provider":"stripe","secret":["a"],"tolerance":"10m"}`,
		"tolerance in nanoseconds":     acme(topsecret, signedTime, `"tolerance":60000000000`),
		"lists as one text":            acme(topsecret, `"require_header":[{"name":"X-A","values":"*"}]`),
		"required header from a value": acme(topsecret, `"require_header":[{"name":"X-A","values":["{env.CONFIG_TEST}"]}]`),
		"every limit": acme(topsecret, `"max_body":1,"body_timeout":1,"upstream_timeout":"60s","reject_status":599,`+
			`"methods":["POST","M-SEARCH"],"observe":true`),
		"param": acme(topsecret, `"param":{"hook":"{env.CONFIG_TEST}"},"message":"{param:hook}{body}"`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := provision(t, "", config); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	t.Setenv("CONFIG_TEST_EMPTY", "\r\n")
	t.Setenv("CONFIG_TEST_MARKER", marker)
	t.Setenv("CONFIG_TEST_BYTE", "x\n")
	t.Setenv("CONFIG_TEST_HEX", "41")
	for name, tc := range map[string]struct{ config, want string }{
		"unknown field":             {acme(withMarker, `"colour":1`), `unknown field "colour"`},
		"unknown field of a scheme": {acme(withMarker, `"timestamp":{"headr":"X"}`), `unknown field "headr"`},
		"unknown field of a secret": {acme(`"secret":[{"value":"` + marker + `","lable":"x"}]`), `secret or public_key: write a string or {"value": …, "label": …}`},
		"a secret for a field":      {acme(`"secret":[{"` + marker + `":"acme"}]`), `secret or public_key: write a string or {"value": …, "label": …}`},
		"unknown field of a provider": {`{"provider":{"id":"a","colour":1,"scheme":{"signature":{"header":"X"}}},` + withMarker + `}`,
			`unknown field "colour"`},
		"secret as a number":      {acme(`"secret":[1]`), "secret"},
		"secret not a list":       {acme(`"secret":"` + marker + `"`), "secret"},
		"secret empty":            {acme(`"secret":[""]`), "secret: empty"},
		"secret as in a line":     {acme(`"secret":["` + marker + `","as","old"]`), "secret: as and from are reserved words"},
		"secret from":             {acme(`"secret":["from"]`), "secret: as and from are reserved words"},
		"sign_upstream as":        {acme(withMarker, `"sign_upstream":"as"`), "sign_upstream: as and from are reserved words"},
		"secret null":             {acme(`"secret":[null]`), "secret: empty"},
		"secret object empty":     {acme(`"secret":[{"label":"` + marker + `"}]`), "secret: empty"},
		"no key":                  {acme(), "secret: missing"},
		"empty list of keys":      {acme(`"secret":[]`), "secret: missing"},
		"variable unset":          {acme(`"secret":["{env.CONFIG_TEST_UNSET}"]`), "secret: the environment variable CONFIG_TEST_UNSET is not set or empty"},
		"variable empty":          {acme(`"secret":["{env.CONFIG_TEST_EMPTY}"]`), "CONFIG_TEST_EMPTY is not set or empty"},
		"variable of a header":    {acme(withMarker, `"require_header":[{"name":"X-A","values":"{env.CONFIG_TEST_UNSET}"}]`), "require_header X-A: the environment variable CONFIG_TEST_UNSET"},
		"variable of a param":     {acme(withMarker, `"message":"{param:hook}{body}"`, `"param":{"hook":"{env.CONFIG_TEST_UNSET}"}`), "param hook: the environment variable"},
		"placeholder in text":     {acme(`"secret":["` + marker + `{env.A}"]`), "secret: {env.A} must be the whole value"},
		"placeholder of requests": {acme(`"secret":["{http.request.host}"]`), "{http.…} is not supported here"},
		"secret not base64":       {acme(`"secret":["` + marker + `!"],"secret_encoding":"base64"`), "secret: the secret is not valid base64"},
		"variable not base64":     {acme(`"secret":["{env.CONFIG_TEST_MARKER}"],"secret_encoding":"hex"`), "secret {env.CONFIG_TEST_MARKER}: the secret is not valid hex"},
		"secret of one byte":      {acme(`"secret":["{env.CONFIG_TEST_BYTE}"]`), "secret {env.CONFIG_TEST_BYTE}: the secret is one byte long"},
		"secret of one byte, hex": {acme(`"secret":["{env.CONFIG_TEST_HEX}"],"secret_encoding":"hex"`), "secret {env.CONFIG_TEST_HEX}: the secret is one byte long"},
		"only a prefix":           {`{"provider":"stripe","secret":["whsec_"]}`, "secret: the secret is only a prefix"},
		"only a longer prefix":    {acme(`"secret":["sk_live_"]`), "secret: the secret is only a prefix"},
		"decoded secret empty":    {`{"provider":"standard_webhooks","secret":["whsec_"]}`, "secret: the secret is empty"},
		"secret for a public key": {acme(`"algorithm":"ed25519"`, withMarker), "give it with public_key"},
		"public key for a secret": {acme(`"public_key":["` + marker + `"]`), "give it with secret"},
		"public key garbage":      {acme(`"algorithm":"ed25519","public_key":["` + marker + `"]`), "not a public key of ed25519"},

		"max_body 0":          {acme(withMarker, `"max_body":0`), "max_body: 0"},
		"max_body negative":   {acme(withMarker, `"max_body":-1`), "max_body: -1"},
		"tolerance 0s":        {acme(withMarker, signedTime, `"tolerance":"0s"`), "tolerance: 0s would refuse every delivery"},
		"tolerance 0":         {acme(withMarker, signedTime, `"tolerance":0`), "tolerance: 0s would refuse"},
		"tolerance garbage":   {acme(withMarker, signedTime, `"tolerance":"soon"`), "duration"},
		"body_timeout 0":      {acme(withMarker, `"body_timeout":0`), "body_timeout: 0s"},
		"upstream_timeout 0":  {acme(withMarker, `"upstream_timeout":"0s"`), "upstream_timeout: 0s"},
		"reject_status 0":     {acme(withMarker, `"reject_status":0`), "reject_status: 0"},
		"reject_status 200":   {acme(withMarker, `"reject_status":200`), "reject_status: 200"},
		"reject_status 410":   {acme(withMarker, `"reject_status":410`), "reject_status: 410"},
		"methods misspelt":    {acme(withMarker, `"methods":["POSTS"]`), "methods: POSTS is not a method of HTTP: did you mean POST?"},
		"methods swapped":     {acme(withMarker, `"methods":["POTS"]`), "not a method of HTTP"},
		"methods unknown":     {acme(withMarker, `"methods":["WEBHOOKS"]`), "methods: not a method of HTTP"},
		"methods lower case":  {acme(withMarker, `"methods":["post"]`), "methods: "},
		"methods empty":       {acme(withMarker, `"methods":[""]`), "methods: "},
		"methods in one":      {acme(withMarker, `"methods":["POST,PUT"]`), "methods: "},
		"name missing":        {`{"signature":{"header":"X"},` + withMarker + `}`, "name: missing"},
		"name characters":     {`{"name":"a/` + marker + `","signature":{"header":"X"},` + withMarker + `}`, "name: "},
		"name long":           {`{"name":"` + strings.Repeat("a", 65) + `","signature":{"header":"X"},` + withMarker + `}`, "name: "},
		"no signature":        {`{"name":"acme",` + withMarker + `}`, "signature: missing"},
		"unknown provider":    {`{"provider":"strpe",` + withMarker + `}`, `did you mean "stripe"?`},
		"header name":         {acme(withMarker, `"require_header":[{"name":"X A","values":"x"}]`), "require_header: "},
		"header no value":     {acme(withMarker, `"require_header":[{"name":"X-A","values":""}]`), "require_header.values: empty"},
		"header without line": {acme(withMarker, `"require_header":[{"name":"X-A","values":[]}]`), "require_header"},
		"message":             {acme(withMarker, `"message":"{path}"`), "message: does not cover the body"},
		"unsigned timestamp":  {acme(withMarker, `"timestamp":{"header":"X-Time"}`), "timestamp: the message does not contain it"},
		"lone tolerance":      {acme(withMarker, `"tolerance":"5m"`), "tolerance: the scheme has no timestamp"},
		"public_url":          {acme(withMarker, `"public_url":"https://a.example/path"`), "public_url: "},
		"param unasked":       {acme(withMarker, `"param":{"hook":"x"}`), "param: this sender has none"},
		"param mistyped":      {`{"provider":"meta","param":{"verify_token":"x","verify_tokn":"y"},` + withMarker + `}`, "unknown param: did you mean verify_token?"},
		"param missing":       {acme(withMarker, `"message":"{param:hook}{body}"`), "{param:hook} has no value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := provision(t, "", tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			// Caddy adds the configuration only to a syntax error.
			if strings.Contains(err.Error(), marker) {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestAppConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"max_buffered":0}`:  "max_buffered: 0",
		`{"max_buffered":-5}`: "max_buffered: -5",
		`{"max_bufered":1}`:   "unknown field",
	} {
		if _, err := provision(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", config, err, want)
		}
	}
	if g := mustProvision(t, ""); *g.app.MaxBuffered != 256<<20 {
		t.Errorf("default: %d", *g.app.MaxBuffered)
	}
}

// TestProvisionWarnings: settings that are valid but do not work are reported at
// start.
func TestProvisionWarnings(t *testing.T) {
	g := mustProvision(t, "",
		`{"name":"cangaroo","signature":{"header":"X_Hub_Token"},"require_header":[{"name":"webhook.team","values":"*"}],`+withMarker+`}`,
		acme(withMarker, `"observe":true`))
	var got []string
	for _, e := range g.logs.All() {
		if e.Level == zapcore.WarnLevel && !strings.HasPrefix(e.Message, "nothing tells") { // see TestDedupeAdvice
			m := e.ContextMap()
			got = append(got, fmt.Sprint(m["name"], " ", m["header"], " ", m["option"]))
		}
		for k, v := range e.ContextMap() {
			if s, ok := v.(string); ok && strings.Contains(s, marker) {
				t.Errorf("%s logs a secret in %s", e.Message, k)
			}
		}
	}
	want := []string{
		"cangaroo X_Hub_Token servers { expected_underscore_headers X_Hub_Token }",
		"cangaroo webhook.team servers { expected_dot_headers webhook.team }",
		"acme <nil> <nil>",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestValidateTwice: caddy validate and a rejected reload provision next to the
// running configuration, and must leave no trace in it.
func TestValidateTwice(t *testing.T) {
	path := filepath.ToSlash(write(t, "one", t.TempDir(), "key"))
	running := mustProvision(t, `{"max_buffered":1000000}`, acme(topsecret))
	running.start(t)
	config := `{"admin":{"disabled":true},"apps":{"verify_webhook":{"max_buffered":5},"http":{"servers":{"a":{"listen":["127.0.0.1:0"],"routes":[
		{"handle":[{"handler":"verify_webhook",` + acme(`"secret":["{file.` + path + `}"]`)[1:] + `]}]}}}}}`
	for range 2 {
		var cfg caddy.Config
		if err := caddy.StrictUnmarshalJSON([]byte(config), &cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Logging = silent()
		if err := caddy.Validate(&cfg); err != nil {
			t.Fatal(err)
		}
	}
	if got := buffered.limit.Load(); got != 1000000 {
		t.Errorf("the running budget became %d", got)
	}
	if got := running.handlers[0].buffered.limit.Load(); got != 1000000 {
		t.Errorf("the running handler's budget became %d", got)
	}
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stacks.String(), "keys.(*Set).follow") {
		t.Errorf("a goroutine watches key files:\n%s", stacks.String())
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
