package option

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Missing reports whether this Caddy lacks the guest module of a namespace that raw names
// in the field key, and returns the name. Caddy's own error would repeat it, and it may be
// a secret.
func Missing(raw json.RawMessage, namespace, key string) (name string, missing bool) {
	var fields map[string]any
	if json.Unmarshal(raw, &fields) != nil {
		return "", false
	}
	name, _ = fields[key].(string)
	_, err := caddy.GetModule(namespace + "." + name)
	return name, err != nil
}

// Guest reads the name and the options of a guest module of a namespace, and returns its
// JSON with the name in the field key. The error of unknown says what to do about a name
// that this Caddy does not have.
func Guest(d *caddyfile.Dispenser, namespace, key string, unknown func(name string) error) (json.RawMessage, error) {
	name := d.Val()
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		return nil, d.Errf("%v", unknown(name))
	}
	module, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(module, key, name, nil), nil
}
