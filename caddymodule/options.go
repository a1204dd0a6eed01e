package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// options are the options of a verify_webhook block.
var options map[string]func(p *parser, name string, args []string) error

func init() { // optionNames reads the map, which would otherwise depend on itself
	options = map[string]func(p *parser, name string, args []string) error{
		"name":       one(func(p *parser, arg string) error { p.h.Name = arg; return checkName(arg) }),
		"secret":     func(p *parser, name string, args []string) error { return p.keys(name, args, &p.h.Secret) },
		"public_key": func(p *parser, name string, args []string) error { return p.keys(name, args, &p.h.PublicKey) },
		"param":      (*parser).param,
		"tenant":     (*parser).tenant,

		"algorithm":       one(func(p *parser, arg string) error { p.h.Algorithm = verifier.Algorithm(arg); return nil }),
		"secret_encoding": one(func(p *parser, arg string) error { p.h.SecretEncoding = arg; return nil }),
		"signature":       (*parser).signature,
		"message":         one((*parser).message),
		"timestamp":       (*parser).timestamp,
		"tolerance":       one((*parser).tolerance),
		"delivery_id":     (*parser).deliveryID,
		"public_url":      one(func(p *parser, arg string) error { p.h.PublicURL = arg; return keys.CheckURL(arg) }),

		"methods":        (*parser).methods,
		"require_header": (*parser).requireHeader,
		"max_body": func(p *parser, name string, args []string) error {
			size, err := option.Size(args)
			if err != nil {
				return p.Errf("%s: %v", name, err)
			}
			p.h.MaxBody = &size
			return nil
		},
		"body_timeout":     one(func(p *parser, arg string) (err error) { p.h.BodyTimeout, err = option.Duration(arg); return err }),
		"upstream_timeout": one(func(p *parser, arg string) (err error) { p.h.UpstreamTimeout, err = option.Duration(arg); return err }),
		"observe": func(p *parser, name string, args []string) error {
			if len(args) > 0 {
				return p.Errf("observe takes no arguments")
			}
			p.h.Observe = true
			return nil
		},
		"reject_status": one((*parser).rejectStatus),
		"handshake": one(func(p *parser, arg string) error {
			if arg != "off" {
				return errors.New("write handshake off, to leave the sender's handshakes to the app; they are defined in the provider's file")
			}
			p.h.Handshake = &Handshake{Off: true}
			return nil
		}),
		"dedupe": (*parser).dedupe,
		"inbox":  (*parser).inbox,
		"sign_upstream": one(func(p *parser, arg string) error {
			p.h.SignUpstream = p.value(arg)
			err := keys.CheckValue(p.h.SignUpstream)
			return err
		}),
	}
}

func optionNames() []string { return slices.Sorted(maps.Keys(options)) }

// optionNames lists the options of this parser.
func (p *parser) optionNames() []string {
	names := optionNames()
	if p.path != nil {
		names = append(names, "path")
		slices.Sort(names)
	}
	return names
}

// one returns an option with exactly one argument.
func one(set func(p *parser, arg string) error) func(*parser, string, []string) error {
	return func(p *parser, name string, args []string) error {
		switch {
		case len(args) == 0, args[0] == "":
			return p.Errf("%s has no value: give it one; an unset {$VARIABLE} vanishes", name)
		case len(args) > 1:
			return p.Errf("%s takes one argument, not %d: quote a text with spaces", name, len(args))
		}
		if err := set(p, args[0]); err != nil {
			return p.Errf("%s: %v", name, strings.TrimPrefix(err.Error(), name+": "))
		}
		return nil
	}
}

// keys parses <value>... [as <label>]. No value is an error: an unset {$VARIABLE}
// vanishes before parsing and must not make the label a secret.
func (p *parser) keys(name string, args []string, into *[]keys.Value) error {
	label := ""
	if n := len(args); n >= 2 && args[n-2] == "as" {
		label, args = args[n-1], args[:n-2]
	}
	if slices.Contains(args, "as") { // anyone could guess that secret
		return p.Errf("%s: as <label> ends the line: %s <value>... as <label>; an unset {$VARIABLE} vanishes", name, name)
	}
	if len(args) > 1 && args[0] == "from" {
		return p.secretFrom(name, args)
	}
	if slices.Contains(args, "from") {
		return p.Errf("%s: from is a reserved word, not a value: write {env.NAME} or {file./path}; put such a value into a file", name)
	}
	if len(args) == 0 {
		return p.Errf("%s has no value: an unset {$VARIABLE} vanishes; write %s {env.VARIABLE} to be told which", name, name)
	}
	for _, arg := range args {
		if slices.Contains(p.optionNames(), arg) { // anyone could guess that secret
			return p.Errf("%s: %s is an option and not a value: write it on a line of its own, in the block of %s; put such a value into a file", name, arg, p.directive)
		}
		if path, ok := tenantPath(p.value(arg)); ok && into != nil {
			if err := p.tenantFile(name, path, label); err != nil {
				return err
			}
			continue
		}
		if err := keys.CheckValue(p.value(arg)); err != nil {
			return p.Errf("%s: %v", name, err)
		}
		*into = append(*into, keys.Value{Value: p.value(arg), Label: label})
	}
	return nil
}

func (p *parser) param(name string, args []string) error {
	if len(args) != 2 {
		return p.Errf("param takes a name and a value: param <name> <value>")
	}
	if _, again := p.h.Param[args[0]]; again {
		return p.Errf("param: this name is already set on line %d: remove one", p.lines["param "+args[0]])
	}
	if err := keys.CheckValue(p.value(args[1])); err != nil {
		return p.Errf("param: %v", err)
	}
	p.lines["param "+args[0]] = p.Line()
	if p.h.Param == nil {
		p.h.Param = make(map[string]string)
	}
	p.h.Param[args[0]] = p.value(args[1])
	return nil
}

// signature reads
//
//	header <name>... [hex|base64|base64url] [prefix <text>]
//	header <name> kv <key> [hex|base64|base64url]
//	header <name> list <version> [hex|base64|base64url]
func (p *parser) signature(name string, args []string) error {
	usage := func() error {
		return p.Errf("signature: write header <name>... [hex|base64|base64url] [prefix <text>], or header <name> kv <key>, or header <name> list <version>")
	}
	if len(args) < 2 || args[0] != "header" {
		return usage()
	}
	sig := new(verifier.Signature)
	for args = args[1:]; len(args) > 0; args = args[1:] {
		switch word := args[0]; word {
		case "hex", "base64", "base64url":
			if sig.Encoding != "" {
				return usage()
			}
			sig.Encoding = word
		case "kv", "list", "prefix":
			if len(args) < 2 || sig.Syntax != "" || sig.Prefix != "" || word != "prefix" && sig.Encoding != "" {
				return usage()
			}
			args = args[1:]
			switch word {
			case "kv":
				sig.Syntax, sig.Key = "kv", verifier.StringList{args[0]}
			case "list":
				sig.Syntax, p.version = "list", args[0]
			case "prefix":
				sig.Prefix = args[0]
			}
		default:
			if sig.Syntax != "" || sig.Encoding != "" || sig.Prefix != "" {
				return usage()
			}
			sig.Header = append(sig.Header, word)
		}
	}
	if len(sig.Header) == 0 {
		return usage()
	}
	p.h.Signature = sig
	return nil
}

// acceptVersion maps a version to the scheme's algorithm.
func acceptVersion(version string, a verifier.Algorithm) map[string]verifier.Algorithm {
	return map[string]verifier.Algorithm{version: cmp.Or(a, verifier.HMACSHA256)}
}

// slots undoes the Caddyfile's shorthands for {method} and similar, which are
// replaced before a directive sees them.
var slots = strings.NewReplacer(
	"{http.request.method}", "{method}",
	"{http.request.uri.path}", "{path}",
	"{http.request.uri.query}", "{query}",
	"{http.request.host}", "{host}",
	"{http.request.uri}", "{uri}",
)

func (p *parser) message(arg string) error {
	template := slots.Replace(arg)
	if i := strings.Index(template, "{http."); i >= 0 {
		found, _, _ := strings.Cut(template[i:], "}")
		return fmt.Errorf("%s} is a placeholder of Caddy, not a slot: write {header:Name}, {method}, {path}, {query}, {host} or another slot of the scheme language", found)
	}
	p.h.Message = verifier.StringList{template}
	return nil
}

func (p *parser) timestamp(name string, args []string) error {
	if len(args) == 1 && args[0] == "off" {
		p.h.Timestamp = &verifier.Timestamp{Off: true}
		return nil
	}
	if len(args) < 2 || len(args) > 3 {
		return p.Errf("timestamp: write header <name>, kv <key>, json <path> or form <name>, then perhaps a unit (s, ms, us, rfc3339, iso8601_utc, http_date), or off")
	}
	ts := new(verifier.Timestamp)
	switch args[0] {
	case "header":
		ts.Header = verifier.StringList{args[1]}
	case "kv":
		ts.KV = args[1]
	case "json":
		ts.JSON = args[1]
	case "form":
		ts.Form = args[1]
	default:
		return p.Errf("timestamp: unknown source: write header <name>, kv <key>, json <path> or form <name>")
	}
	if len(args) == 3 {
		ts.Unit = args[2]
	}
	p.h.Timestamp = ts
	return nil
}

func (p *parser) tolerance(arg string) error {
	d, err := caddy.ParseDuration(arg)
	if err != nil {
		return errors.New("write a duration, such as 90s or 5m")
	}
	p.h.Tolerance = new(verifier.Duration(d))
	return nil
}

func (p *parser) deliveryID(name string, args []string) error {
	if len(args) == 1 && args[0] == "off" {
		p.h.DeliveryID = &verifier.DeliveryID{Off: true}
		return nil
	}
	if len(args) != 2 {
		return p.Errf("delivery_id: write header <name>, json <path>, form <name> or off")
	}
	id := new(verifier.DeliveryID)
	switch args[0] {
	case "header":
		id.Header = verifier.StringList{args[1]}
	case "json":
		id.JSON = args[1]
	case "form":
		id.Form = args[1]
	default:
		return p.Errf("delivery_id: unknown source: write header <name>, json <path> or form <name>")
	}
	p.h.DeliveryID = id
	return nil
}

func (p *parser) methods(name string, args []string) error {
	if len(args) == 0 {
		return p.Errf("methods: name at least one: methods POST PUT")
	}
	if err := checkMethods(args); err != nil {
		return p.Errf("%v", err)
	}
	p.h.Methods = args
	return nil
}

func (p *parser) requireHeader(name string, args []string) error {
	if len(args) < 2 {
		return p.Errf("require_header takes a name and the accepted values (* for any): an unset {$VARIABLE} vanishes; write {env.VARIABLE} to be told which")
	}
	if slices.Contains(args[1:], "as") { // anyone could guess that value
		return p.Errf("require_header takes no label: its values follow the name; put the value as into a file")
	}
	values := make(verifier.StringList, 0, len(args)-1)
	for _, arg := range args[1:] {
		if err := keys.CheckValue(p.value(arg)); err != nil {
			return p.Errf("require_header: %v", err)
		}
		values = append(values, p.value(arg))
	}
	p.h.RequireHeader = append(p.h.RequireHeader, verifier.RequiredHeader{Name: args[0], Values: values})
	return nil
}

func (p *parser) rejectStatus(arg string) error {
	status, err := strconv.Atoi(arg)
	if err != nil || status < 400 || status > 599 || status == 410 {
		return errors.New("write a 4xx or 5xx status, not 410, which tells senders to stop permanently")
	}
	p.h.RejectStatus = &status
	return nil
}

// dedupe parses "dedupe off" or a block.
func (p *parser) dedupe(name string, args []string) error {
	p.h.Dedupe = new(Dedupe)
	if len(args) == 1 && args[0] == "off" {
		p.h.Dedupe.Off = true
		return nil
	}
	if len(args) > 0 {
		return p.Errf("dedupe: write off, or a block with key, window, wait, duplicate_response")
	}
	n, err := option.Block(p.Dispenser, name, p.h.Dedupe.option)
	if err == nil && n == 0 {
		return p.Errf("dedupe: empty: write off, or a block with key, window, wait, duplicate_response")
	}
	return err
}

func (c *Dedupe) option(word string, args []string) (err error) {
	switch {
	case word == "duplicate_response" && (len(args) == 1 || len(args) == 2):
		status, err := strconv.Atoi(args[0])
		if err != nil || status < 200 || status > 299 {
			return errors.New("duplicate_response: write a 2xx status and optionally a body")
		}
		c.DuplicateResponse = &DuplicateResponse{Status: &status}
		if len(args) == 2 {
			c.DuplicateResponse.Body = args[1]
		}
	case word == "key" && len(args) == 1:
		c.Key = args[0]
		if c.Key != "id" && c.Key != "id+content" && c.Key != "content" {
			return errors.New("key: write id, id+content or content")
		}
	case word == "window" && len(args) == 1:
		c.Window, err = option.Duration(args[0])
	case word == "wait" && len(args) == 1:
		d, err := caddy.ParseDuration(args[0])
		if err != nil || d < 0 {
			return errors.New("wait: write a duration, such as 10s, or 0s for none")
		}
		c.Wait = new(caddy.Duration(d))
	case word == "key" || word == "window" || word == "wait" || word == "duplicate_response":
		return fmt.Errorf("%s: %d arguments: see the options' table", word, len(args))
	default:
		return option.Unknown(word, "key", "window", "wait", "duplicate_response")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

// checkScheme compiles the scheme without its keys, and adds the line to an error.
// Values that are resolved later are used unresolved.
func (p *parser) checkScheme(scheme verifier.Scheme) error {
	scheme.Params = p.h.Param
	if strings.Contains(scheme.PublicURL, "{") {
		scheme.PublicURL = ""
	}
	_, err := verifier.Compile(scheme)
	if e, ok := errors.AsType[*verifier.SchemeError](err); ok {
		return p.at(e.Field, "%v", e)
	}
	return err
}
