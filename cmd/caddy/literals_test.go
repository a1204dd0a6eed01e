package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// notations are what people write for a text that something else should put in.
var notations = []string{
	"{env.LITERALS_SET}", "{env.LITERALS_UNSET}", "/x/{env.LITERALS_UNSET}", "{env.LITERALS_SET:x}", "{$LITERALS_SET}", "${LITERALS_SET}", "/x/${LITERALS_SET}",
	"${env.LITERALS_SET}", "{{env.LITERALS_SET}}", "$LITERALS_SET", "{vault.x}", "{file./nowhere/x}", "%LITERALS_SET%", "op://v/i/f", "{data.dir}", "{http.request.host}", "<no value>", "{{ .Values.x }}",
}

// A leaf is an option that takes a text.
type leaf struct {
	path []string // of the JSON: names of members, "[]" in a list, "*" in a map, "key of" for its key
}

func (l leaf) option() string {
	names := slices.DeleteFunc(slices.Clone(l.path), func(step string) bool { return step == "[]" || step == "*" || step == "key of" || step == "scheme" })
	return strings.Join(names, ".")
}

// name returns the last name in the path of a JSON member that is an option of its own.
func (l leaf) name() string {
	names := strings.Split(l.option(), ".")
	for slices.Contains([]string{"value", "values"}, names[len(names)-1]) {
		names = names[:len(names)-1]
	}
	return names[len(names)-1]
}

// leavesOf lists the options of a type that take a text.
func leavesOf(typ reflect.Type, path ...string) (leaves []leaf) {
	deeper := func(step string) []string { return append(slices.Clone(path), step) }
	switch {
	case typ == reflect.TypeFor[json.RawMessage](), typ == reflect.TypeFor[caddyhttp.RouteList](): // of another module
	case typ.Kind() == reflect.String:
		leaves = append(leaves, leaf{path})
	case typ.Kind() == reflect.Pointer:
		leaves = leavesOf(typ.Elem(), path...)
	case typ.Kind() == reflect.Slice:
		leaves = leavesOf(typ.Elem(), deeper("[]")...)
	case typ.Kind() == reflect.Map:
		leaves = append(leavesOf(typ.Key(), deeper("key of")...), leavesOf(typ.Elem(), deeper("*")...)...)
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			field := typ.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case field.Anonymous:
				leaves = append(leaves, leavesOf(field.Type, path...)...)
			case field.IsExported() && name != "-":
				leaves = append(leaves, leavesOf(field.Type, deeper(name)...)...)
			}
		}
	}
	return leaves
}

// with returns the JSON value into with another at a path.
func with(into any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	switch step := path[0]; step {
	case "[]":
		return []any{with(nil, path[1:], value)}
	case "key of":
		return map[string]any{value.(string): "x"}
	case "*":
		step = "x"
		return map[string]any{step: with(nil, path[1:], value)}
	default:
		members, _ := into.(map[string]any)
		members = maps.Clone(members)
		if members == nil {
			members = make(map[string]any)
		}
		members[step] = with(members[step], path[1:], value)
		return members
	}
}

// parse returns a JSON value.
func parse(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// validate does what caddy validate does.
func validate(t *testing.T, apps map[string]any) error {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"admin": map[string]any{"disabled": true}, "apps": apps,
		"logging": parse(t, `{"logs":{"default":{"writer":{"output":"discard"}}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		return err
	}
	return caddy.Validate(&c)
}

func handlers(list ...any) map[string]any {
	return map[string]any{"http": map[string]any{"servers": map[string]any{"s": map[string]any{"listen": []any{":18099"}, "routes": []any{map[string]any{"handle": list}}}}}}
}

// A place is where the options of a type are in a configuration.
type place struct {
	typ    reflect.Type
	prefix []string // of the paths of its options in base
	base   string   // valid JSON
	apps   func(module any) map[string]any
	around string // of each text; "%s" alone if empty
}

// places returns a place for each module of ours, found in Caddy's registry.
func places(t *testing.T, cert, key string) map[string]place {
	t.Helper()
	guest := func(kind string) func(any) map[string]any {
		return func(module any) map[string]any {
			return map[string]any{"verify_webhook": map[string]any{kind: module}}
		}
	}
	one := func(module any) map[string]any { return handlers(module) }
	const handler = `{"handler":"verify_webhook","name":"acme","signature":{"header":"X-Signature"},"secret":[{"value":"b1Yd9sKq7LmZx3Wt"}]}`
	file, err := json.Marshal(map[string]any{"inbox": "nats", "url": []string{"nats://nats:4222"}, "cert": cert, "key": key})
	if err != nil {
		t.Fatal(err)
	}
	tenants := func(module any) map[string]any {
		return handlers(with(with(parse(t, `{"handler":"verify_webhook","name":"acme","signature":{"header":"X-Signature"}}`), []string{"tenant"}, "{http.request.uri.path.1}"), []string{"tenants"}, module))
	}
	known := map[string]place{
		"http.handlers.verify_webhook.tenants.file": {apps: tenants, base: `{"source":"file","secret":["/run/keys/{tenant}"]}`, around: "/run/%s/{tenant}"},
		"http.handlers.verify_webhook.tenants.http": {apps: tenants, base: `{"source":"http","url":"https://app.internal/{tenant}"}`, around: "https://app.internal/%s/{tenant}"},
		"verify_webhook":                             {apps: func(module any) map[string]any { return map[string]any{"verify_webhook": module} }, base: `{}`},
		"http.handlers.verify_webhook":               {apps: one, base: handler},
		"http.handlers.verify_webhooks":              {apps: one, base: `{"handler":"verify_webhooks","prefix":"/hooks/*","senders":[{"path":"/hooks/acme","verify":` + handler + `}],"routes":[{"handle":[{"handler":"static_response"}]}]}`},
		"http.handlers.verify_webhook.stores.memory": {apps: guest("store"), base: `{"store":"memory"}`},
		"http.handlers.verify_webhook.stores.bolt":   {apps: guest("store"), base: `{"store":"bolt"}`},
		"http.handlers.verify_webhook.stores.redis":  {apps: guest("store"), base: `{"store":"redis","address":["redis:6379"],"namespace":"production"}`},
		"http.handlers.verify_webhook.inboxes.bolt":  {apps: guest("inbox"), base: `{"inbox":"bolt"}`},
		"http.handlers.verify_webhook.inboxes.nats":  {apps: guest("inbox"), base: string(file)},
	}
	// without options, or with the prefix of the handler
	others := []string{"admin.api.verify_webhook", "http.handlers.verify_webhook_answered", "http.handlers.verify_webhook_body",
		"http.matchers.verify_webhook_body", "http.matchers.verify_webhook_prefix", "http.reverse_proxy.transport.verify_webhook"}
	for _, id := range caddy.Modules() {
		if !strings.Contains(id, "verify_webhook") || slices.Contains(others, id) {
			continue
		}
		p, ok := known[id]
		if !ok {
			t.Errorf("%s is not in this test", id)
			continue
		}
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Fatal(err)
		}
		p.typ = reflect.TypeOf(info.New()).Elem()
		known[id] = p
	}
	known["a provider's definition"] = place{
		typ: reflect.TypeFor[verifier.Scheme](), prefix: []string{"provider", "scheme"}, apps: one,
		base: `{"handler":"verify_webhook","provider":{"id":"acme","name":"Acme","scheme":{"signature":{"header":"X-Signature"}}},"secret":[{"value":"b1Yd9sKq7LmZx3Wt"}]}`,
	}
	return known
}

// TestNothingIsTakenLiterally: no option of any module takes the name of a variable, a
// placeholder or a reference for the text itself. It is resolved, or an error that names
// the option.
func TestNothingIsTakenLiterally(t *testing.T) {
	ca, cert, key := certtest.New(t)
	examples := map[string]string{ // of options that resolve {env.NAME}
		"stores.bolt path": filepath.Join(t.TempDir(), "dedupe.db"), "inboxes.bolt path": filepath.Join(t.TempDir(), "inbox.db"),
		"inboxes.bolt encrypt": "q83vEjRWeJq83u8RIjNEVWZ3iJmqu8zd7v8AESIzRGU=",
		"stores.redis address": "redis-1:6379", "stores.redis namespace": "staging", "stores.redis username": "gateway", "stores.redis password": "b1Yd9sKq7LmZx3Wt", "stores.redis ca": ca,
		"inboxes.nats url": "tls://gateway:p%40ss@nats-1:4222", "inboxes.nats stream": "hooks", "inboxes.nats ca": ca, "inboxes.nats cert": cert, "inboxes.nats key": key, "inboxes.nats credentials": ca,
		"verify_webhook secret.value": "x9Yd9sKq7LmZx3Wt", "verify_webhook sign_upstream": "whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo", "verify_webhook public_url": "https://hooks.example.com",
		"verify_webhook require_header.values": "team-7", "stores.redis master": "main",
		"tenants.http bearer": "b1Yd9sKq7LmZx3Wt",
	}
	// of options whose value may be in a file that appears later
	waits := []string{"verify_webhook secret.value", "verify_webhook sign_upstream", "verify_webhook require_header.values", "inboxes.bolt encrypt", "verify_webhook public_key.value", "tenants.http bearer"}
	resolved := make(map[string]bool)
	for id, p := range places(t, cert, key) {
		base := parse(t, p.base)
		if err := validate(t, p.apps(base)); err != nil {
			t.Fatalf("%s: the base: %v", id, err)
		}
		for _, l := range leavesOf(p.typ, p.prefix...) {
			option := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(id, "http.handlers."), "verify_webhook."), "http.handlers.") + " " + l.option()
			t.Setenv("LITERALS_SET", "x")
			if example, ok := examples[option]; ok {
				t.Setenv("LITERALS_SET", example)
			}
			for _, notation := range notations {
				text := notation
				if p.around != "" && l.name() != "bearer" && !strings.HasPrefix(notation, "op:") {
					text = strings.Replace(p.around, "%s", strings.TrimPrefix(notation, "/"), 1)
				}
				module := with(base, l.path, text)
				switch option { // what the option needs
				case "stores.redis master":
					module = with(module, []string{"mode"}, "sentinel")
				case "verify_webhook require_header.name":
					module.(map[string]any)["require_header"].([]any)[0].(map[string]any)["values"] = "x"
				case "verify_webhook require_header.values":
					module.(map[string]any)["require_header"].([]any)[0].(map[string]any)["name"] = "X-Team"
				}
				name := l.name()
				err := validate(t, p.apps(module))
				switch {
				case err == nil && notation == "{env.LITERALS_SET}":
					resolved[option] = true
				case err == nil && notation == "{file./nowhere/x}" && slices.Contains(waits, option):
				case err == nil:
					t.Errorf("%s %s: taken literally", option, notation)
				case !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), l.path[len(p.prefix)]+": ") && !strings.Contains(err.Error(), "tenants: "):
					t.Errorf("%s %s: the error does not name the option: %v", option, notation, err)
				case notation == "{env.LITERALS_UNSET}" && resolved[option] && !strings.Contains(err.Error(), "LITERALS_UNSET is not set"):
					t.Errorf("%s %s: the error does not name the variable: %v", option, notation, err)
				}
			}
		}
	}
	for option := range examples {
		if !resolved[option] {
			t.Errorf("%s: {env.LITERALS_SET} is not resolved", option)
		}
	}
}

// TestNothingIsTakenLiterallyInACaddyfile: the options reach the modules as they are
// written.
func TestNothingIsTakenLiterallyInACaddyfile(t *testing.T) {
	t.Setenv("LITERALS_SET", "x")
	global := func(lines string) string {
		return "{\nverify_webhook {\n" + lines + "\n}\n}\n:18099 {\nverify_webhook github b1Yd9sKq7LmZx3Wt\n}"
	}
	handler := func(lines string) string {
		return ":18099 {\nverify_webhook standard_webhooks whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo {\n" + lines + "\n}\n}"
	}
	const redis, nats = "store redis {\naddress redis:6379\nnamespace x\n", "inbox nats {\nurl nats://nats:4222\n"
	for _, config := range []string{
		global("store bolt {\npath %s\n}"), global("inbox bolt {\npath %s\n}"), global("inbox bolt {\nencrypt %s\n}"),
		global("store redis {\naddress %s\nnamespace x\n}"), global("store redis {\naddress redis:6379\nnamespace %s\n}"),
		global(redis + "username %s\n}"), global(redis + "password %s\n}"), global(redis + "mode %s\n}"), global(redis + "mode sentinel %s\n}"), global(redis + "tls %s\n}"), global(redis + "down %s\n}"),
		global("inbox nats {\nurl %s\n}"), global(nats + "stream %s\n}"), global(nats + "ca %s\n}"), global(nats + "cert %s\nkey x\n}"), global(nats + "credentials %s\n}"),
		handler("name %s"), handler("secret %s"), handler("secret b1Yd9sKq7LmZx3Wt as %s"), handler("public_key %s"), handler("param x %s"), handler("sign_upstream %s"),
		handler("require_header X-Team %s"), handler("require_header %s x"), handler("message %s"), handler("public_url %s"), handler("methods %s"), handler("algorithm %s"),
		handler("signature header %s"), handler("signature header X-Signature kv %s"), handler("signature header X-Signature prefix %s"), handler("timestamp json %s"), handler("delivery_id form %s"),
		handler("dedupe {\nkey %s\n}"), handler("dedupe {\nduplicate_response 200 %s\n}"),
		":18099 {\nverify_webhooks `/%p/*` {\nsender github b1Yd9sKq7LmZx3Wt\nrespond ok\n}\n}", ":18099 {\nverify_webhooks /hooks/* {\nsender github b1Yd9sKq7LmZx3Wt {\npath `/hooks/%p`\n}\nrespond ok\n}\n}",
	} {
		for _, notation := range notations {
			if strings.Contains(notation, "{$") || strings.Contains(notation, "LITERALS_SET}") || notation == "{file./nowhere/x}" { // Caddy replaces it; may be resolved, at once or later
				continue
			}
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.NewReplacer("%s", "`"+notation+"`", "%p", notation).Replace(config)), map[string]any{"filename": "Caddyfile"})
			if err == nil {
				var apps struct {
					Apps map[string]any `json:"apps"`
				}
				if err := json.Unmarshal(adapted, &apps); err != nil {
					t.Fatal(err)
				}
				err = validate(t, apps.Apps)
			}
			if err == nil {
				t.Errorf("%s\n%s: taken literally", config, notation)
			}
		}
	}
}
