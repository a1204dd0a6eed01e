package option

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NoEmptyText returns an error for an empty text in a module's JSON: a template writes
// it for a variable that is not set, and it would mean the default, such as no
// signature for the app. The Caddyfile refuses it too.
func NoEmptyText(data []byte) error {
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
