package command

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// TestAnswersOfOtherVersions: whatever field of an answer is null or absent, as an older
// gateway leaves it, a command prints what there is.
func TestAnswersOfOtherVersions(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	for _, tc := range []struct {
		args, target string
		answer       any
	}{
		{"status", "GET " + adminapi.StatusPath, new(adminapi.Status)},
		{"rejections", "GET " + adminapi.RejectionsPath, new([]adminapi.Rejection)},
		{"rejections 3f9a", "GET " + adminapi.RejectionsPath + "/3f9a", new(adminapi.RejectionDetail)},
		{"deliveries", "GET " + adminapi.DeliveriesPath, new([]adminapi.Delivery)},
		{"forget " + key, "DELETE " + adminapi.DeliveriesPath + "/" + key, new(adminapi.Forgotten)},
		{"forget --name a --id b", "DELETE " + adminapi.DeliveriesPath + "?id=b&name=a", new(adminapi.ForgottenByID)},
		{"forget --inbox a", "DELETE " + adminapi.DeliveriesPath + "?inbox=a", new(adminapi.ForgottenInbox)},
		{"inbox", "GET " + adminapi.InboxPath, new(adminapi.Inbox)},
		{"inbox show " + key, "GET " + adminapi.InboxPath + "/" + key, new(adminapi.InboxDetail)},
		{"inbox pause a", "POST " + adminapi.InboxPath + "/pause?name=a", new(adminapi.InboxPaused)},
		{"inbox discard " + key, "DELETE " + adminapi.InboxPath + "/" + key, new(adminapi.InboxChanged)},
	} {
		fill(reflect.ValueOf(tc.answer).Elem(), "a")
		if changed, ok := tc.answer.(*adminapi.InboxChanged); ok {
			changed.More = false // the command would ask again
		}
		text, err := json.Marshal(tc.answer)
		if err != nil {
			t.Fatal(err)
		}
		all := answers{}
		address := adminServer(t, "tcp", "127.0.0.1:0", all)
		n := 0
		for what, answer := range without(t, text) {
			n++
			all[tc.target] = json.RawMessage(answer)
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("%s: %s: panic: %v", tc.args, what, r)
					}
				}()
				_, errs, code := webhook(t, "", append(strings.Fields(tc.args), "--address", address)...)
				if code == exitUsage {
					t.Errorf("%s: %s: %s", tc.args, what, errs)
				}
			}()
		}
		if n < 3 {
			t.Errorf("%s: %d answers", tc.args, n)
		}
	}
}

// fill sets all fields, lists and maps of a value, each text to the same one.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		item := reflect.New(v.Type().Elem()).Elem()
		fill(item, text)
		v.SetMapIndex(reflect.ValueOf(text), item)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1700000000, 0)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	default:
		v.SetUint(1)
	}
}

// without returns a JSON text as it is, null, and with each of its members null and
// absent, by what was changed.
func without(t *testing.T, text []byte) map[string]string {
	t.Helper()
	parse := func() (v any) {
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	all := map[string]string{"as it is": string(text), "null": "null"}
	var paths func(v any, path []any)
	change := func(path []any, how string, f func(object map[string]any, name string)) {
		v := parse()
		at := v
		for _, step := range path[:len(path)-1] {
			if i, ok := step.(int); ok {
				at = at.([]any)[i]
			} else {
				at = at.(map[string]any)[step.(string)]
			}
		}
		f(at.(map[string]any), path[len(path)-1].(string))
		changed, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint(path, " ", how)] = string(changed)
	}
	paths = func(v any, path []any) {
		switch v := v.(type) {
		case map[string]any:
			for name, below := range v {
				here := append(append([]any{}, path...), name)
				change(here, "null", func(object map[string]any, name string) { object[name] = nil })
				change(here, "absent", func(object map[string]any, name string) { delete(object, name) })
				paths(below, here)
			}
		case []any:
			for i, below := range v {
				paths(below, append(append([]any{}, path...), i))
			}
		}
	}
	paths(parse(), nil)
	return all
}
