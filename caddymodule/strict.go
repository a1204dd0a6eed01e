package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// UnmarshalJSON decodes a handler as strictly as Caddy does, and refuses empty texts:
// see checkTexts.
func (h *Handler) UnmarshalJSON(data []byte) error {
	type plain Handler
	if err := caddy.StrictUnmarshalJSON(data, (*plain)(h)); err != nil {
		return err
	}
	if err := checkTexts(data); err != nil {
		return h.fail(err)
	}
	return nil
}

// UnmarshalJSON decodes the app as strictly as Caddy does, and refuses empty texts,
// those of its store and its inbox too: see checkTexts.
func (a *App) UnmarshalJSON(data []byte) error {
	type plain App
	if err := caddy.StrictUnmarshalJSON(data, (*plain)(a)); err != nil {
		return err
	}
	return checkTexts(data)
}

// checkTexts returns an error for an empty text in a configuration: a template writes
// it for a variable that is not set, and it would mean the default, such as no
// signature for the app. The Caddyfile refuses it too.
func checkTexts(data []byte) error {
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	if path, found := emptyText(config); found {
		return fmt.Errorf("%s: empty: write a value, or remove the field for its default", strings.Join(path, "."))
	}
	return nil
}

// emptyText finds the first empty text, in the order of names. A provider's own
// definition follows the rules of provider files.
func emptyText(value any) (path []string, found bool) {
	switch v := value.(type) {
	case string:
		return nil, v == ""
	case []any:
		for _, item := range v {
			if path, found = emptyText(item); found {
				return path, true
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if _, definition := v[name].(map[string]any); definition && strings.EqualFold(name, "provider") {
				continue
			}
			if path, found = emptyText(v[name]); found {
				return append([]string{name}, path...), true
			}
		}
	}
	return nil, false
}
