package caddymodule

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// resolved are options whose placeholders package keys resolves, and tenant, which is one.
// In a provider's definition nothing is resolved.
var resolved = []string{"param", "require_header.values", "sign_upstream", "public_url", "tenant"}

// templates are options that may have braces of their own: slots of the scheme language,
// an expression, JSON.
var templates = []string{"message", "signature.prefix", "claims", "require_json", "key_source.certificate_path", "dedupe.duplicate_response.body"}

// checkLiterals refuses a placeholder, a variable or a reference in all other options
// that have a text. A provider's scheme has the same fields.
func (h *Handler) checkLiterals(p *providers.Provider) error {
	if p != nil {
		if err := checkLiterals(reflect.ValueOf(p.Scheme), "", nil); err != nil {
			return fmt.Errorf("provider: %w", err)
		}
	}
	return checkLiterals(reflect.ValueOf(h).Elem(), "", resolved)
}

// checkLiterals checks the texts in v, the value of an option, except in some options.
func checkLiterals(v reflect.Value, option string, except []string) error {
	if slices.Contains(except, option) {
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if err := keys.Literal(v.String(), slices.Contains(templates, option)); err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return checkLiterals(v.Elem(), option, except)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := checkLiterals(v.Index(i), option, except); err != nil {
				return err
			}
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			for _, v := range []reflect.Value{entry.Key(), entry.Value()} {
				if err := checkLiterals(v, option, except); err != nil {
					return err
				}
			}
		}
	case reflect.Struct:
		return checkFields(v, option, except)
	}
	return nil
}

// checkFields checks the options of a struct. Those of an embedded one belong to the
// struct around it.
func checkFields(v reflect.Value, option string, except []string) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" || v.Type() == reflect.TypeFor[keys.Value]() && name == "value" {
			continue
		}
		if !field.Anonymous {
			name = strings.TrimPrefix(option+"."+name, ".")
		}
		if err := checkLiterals(v.Field(i), name, except); err != nil {
			return err
		}
	}
	return nil
}
