package caddymodule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/tenants"
)

// tenant reads
//
//	tenant <placeholder> {
//		case_sensitive
//		max_tenants <n>
//	}
func (p *parser) tenant(name string, args []string) error {
	if len(args) != 1 {
		return p.Errf("tenant: write one placeholder, such as {path.2}; an unset {$VARIABLE} vanishes")
	}
	if _, err := tenants.ParsePlace(args[0]); err != nil {
		return p.Errf("%v", err)
	}
	p.h.Tenant = args[0]
	_, err := option.Block(p.Dispenser, "tenant", p.h.tenantOption)
	return err
}

func (h *Handler) tenantOption(word string, args []string) error {
	switch {
	case word == "case_sensitive" && len(args) == 0:
		h.CaseSensitive = true
	case word == "case_sensitive":
		return errors.New("case_sensitive takes no arguments")
	case word == "max_tenants":
		n := 0
		if len(args) == 1 {
			n, _ = strconv.Atoi(args[0])
		}
		if n <= 0 {
			return fmt.Errorf("max_tenants: write how many tenants' keys are cached, such as %d", tenants.DefaultMax)
		}
		h.MaxTenants = &n
	default:
		return option.Unknown(word, "case_sensitive", "max_tenants")
	}
	return nil
}

// tenantPath returns the path in a value {file./run/keys/{tenant}}.
func tenantPath(value string) (path string, ok bool) {
	path, file := strings.CutPrefix(value, "{file.")
	path, closed := strings.CutSuffix(path, "}")
	return path, file && closed && strings.Contains(path, "{tenant}")
}

// tenantFile adds a path of tenants' keys.
func (p *parser) tenantFile(name, path, label string) error {
	switch {
	case label != "":
		return p.Errf("%s: the keys of tenants have no label here: a file's keys are called by their line, those of a folder by their file", name)
	case p.h.TenantsRaw != nil:
		return p.Errf("%s: the tenants' keys already have a source: remove one", name)
	}
	if err := tenants.CheckPath(path); err != nil {
		return p.Errf("%s: %v", name, err)
	}
	if p.files == nil {
		p.files = new(tenants.File)
	}
	if name == "secret" {
		p.files.Secret = append(p.files.Secret, path)
	} else {
		p.files.PublicKey = append(p.files.PublicKey, path)
	}
	if err := p.files.CheckPaths(); err != nil {
		return p.Errf("%s: %v", name, err)
	}
	return nil
}

// secretFrom reads a source of tenants' keys: from <source> …
func (p *parser) secretFrom(name string, args []string) error {
	switch {
	case p.h.TenantsRaw != nil, p.files != nil:
		return p.Errf("%s: the tenants' keys already have a source: remove one", name)
	case args[1] == "file":
		return p.Errf("%s: write the file of a tenant as %s {file./run/keys/{tenant}}", name, name)
	}
	id := tenants.Namespace + "." + args[1]
	if _, err := caddy.GetModule(id); err != nil {
		return p.Errf("%s: from is a reserved word, and after it there is no source of tenants' keys (not repeated here, as it may be a secret): write %s from http https://app.internal/webhook-keys/{tenant}; write {env.NAME} or {file./path} for a single key", name, name)
	}
	for range len(args) - 2 { // back to the source's name
		p.Prev()
	}
	module, err := caddyfile.UnmarshalModule(p.Dispenser, id)
	if err != nil {
		return err
	}
	p.h.TenantsRaw = caddyconfig.JSONModuleObject(module, "source", args[1], nil)
	return nil
}

// checkTenantPath checks that the path of a sender leaves the segment with the tenant
// open.
func (p *parser) checkTenantPath(path string) error {
	place, err := tenants.ParsePlace(p.h.Tenant)
	if err != nil || !place.Path {
		return nil
	}
	literal := strings.Count(strings.TrimSuffix(path, "/*"), "/")
	switch {
	case !strings.HasSuffix(path, "/*"):
		return p.at("tenant", "tenant: the sender's path %s names no tenant: let it end in /*, path %s/*", path, path)
	case place.Segment < literal:
		return p.at("tenant", "tenant: that segment is the same for every request to %s: write {path.%d}, the segment in the place of *", path, literal)
	}
	return nil
}

// finishTenants checks that place and source are there together.
func (p *parser) finishTenants() error {
	h := p.h
	if p.files != nil {
		h.TenantsRaw = caddyconfig.JSONModuleObject(p.files, "source", "file", nil)
	}
	option := "secret"
	if len(h.Secret) == 0 && len(h.PublicKey) > 0 || p.files != nil && len(p.files.Secret) == 0 {
		option = "public_key"
	}
	switch {
	case h.Tenant == "" && h.TenantsRaw != nil:
		return p.at(option, "%s: {tenant} is the name of a tenant: add a line that says where a request has it, such as tenant {path.2}", option)
	case h.Tenant != "" && len(h.Secret)+len(h.PublicKey) > 0:
		return p.at(option, "%s: each tenant has keys of its own, so no other key verifies a delivery: write {tenant} into the file's path, %s {file./run/keys/{tenant}}, or remove tenant", option, option)
	case h.Tenant != "" && h.TenantsRaw == nil:
		return p.at("tenant", "%v", errNoTenantSource)
	}
	return nil
}
