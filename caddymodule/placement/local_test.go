package placement_test

import (
	"strings"
	"testing"
)

// TestTheAppOnAServerOfThisMachine: strangers reach a server on loopback or a unix socket
// where another site of the configuration leads to it, and where the handlers' own
// server, which has deliveries of theirs, is such a one.
func TestTheAppOnAServerOfThisMachine(t *testing.T) {
	const marks, same = openPath + "reverse_proxy app:3000 with marks … site=", openPath + "reverse_proxy app:3000 with the path … request="
	const there, bind = "http://:9000 {\nbind 127.0.0.1\nreverse_proxy app:3000\n}\n", "bind 127.0.0.1\n"
	public := func(inside string) string { return "http://:8080 {\n" + inside + "\n}\n" }
	local := "http://:8081 {\n" + bind + strings.TrimPrefix(hooks("respond 404"), "hooks.example.com {\n")
	for name, c := range map[string]struct {
		caddyfile string
		want      []string
	}{
		"nobody leads there":           {hooks("respond 404") + there, nil},
		"another site":                 {hooks("respond 404") + public("reverse_proxy localhost:9000") + there, []string{same + "hooks.example.com/hooks/stripe"}},
		"another site, other paths":    {hooks("respond 404") + public("reverse_proxy /api/* :9000") + "http://:9000 {\nbind 127.0.0.1 ::1\nhandle /api/* {\nreverse_proxy app:3000\n}\nrespond 404\n}\n", []string{marks + "127.0.0.1:9000 [::1]:9000"}},
		"another site, for what fails": {hooks("respond 404") + public("reverse_proxy other:1\nhandle_errors {\nreverse_proxy localhost:9000\n}") + there, []string{same + "hooks.example.com/hooks/stripe"}},
		"a unix socket":                {hooks("respond 404") + public("reverse_proxy unix//run/in.sock") + "http:// {\nbind unix//run/in.sock|0222\nreverse_proxy app:3000\n}\n", []string{same + "hooks.example.com/hooks/stripe"}},
		"through a third":              {hooks("respond 404") + there + "http://:9001 {\n" + bind + "reverse_proxy localhost:9000\n}\n" + public("reverse_proxy localhost:9001"), []string{same + "hooks.example.com/hooks/stripe"}},
		"in a circle":                  {hooks("respond 404") + "http://:9000 {\n" + bind + "reverse_proxy app:3000 localhost:9001\n}\nhttp://:9001 {\n" + bind + "reverse_proxy localhost:9000\n}\n", nil},
		"guarded there":                {hooks("respond 404") + public("reverse_proxy localhost:9000") + strings.Replace(there, "rev", "verify_webhooks /hooks/*\nrev", 1), nil},
		"guarded before":               {hooks("respond 404") + public("verify_webhooks /hooks/*\nreverse_proxy localhost:9000") + there, nil},
		"the block's site":             {hooks("reverse_proxy localhost:9000") + there, nil},
		"verified deliveries":          {strings.Replace(hooks("respond 404"), "app:3000", "localhost:9000", 1) + there, nil},
		"only another port":            {hooks("respond 404") + public("reverse_proxy localhost:9001") + there, nil},
		"beside a local block":         {local + there, []string{same + "/hooks/stripe"}},
		"beside a local block, marks":  {local + "http://:9000 {\n" + bind + "handle /api/* {\nreverse_proxy app:3000\n}\nrespond 404\n}\n", []string{marks + "127.0.0.1:9000"}},
		"beside a local block, guard":  {local + strings.Replace(there, "rev", "verify_webhooks /hooks/*\nrev", 1), nil},
		"beside another local block":   {hooks("respond 404") + strings.ReplaceAll(local, "app:3000", "test:3000") + there, nil},
	} {
		t.Run(name, func(t *testing.T) { isWarnedOf(t, c.caddyfile, c.want...) })
	}
}
