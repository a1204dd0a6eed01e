package placement_test

import (
	"fmt"
	"testing"
)

// TestEachHandlerOfOneNameIsCompared: the first may be another sender's, or have an app
// that is unknown. Senders of two kinds share no deliveries.
func TestEachHandlerOfOneNameIsCompared(t *testing.T) {
	const stripe, github, other = "stripe whsec_a", "github a", "github b"
	const app, second, unknown = "reverse_proxy app:3000", "reverse_proxy second:3000", "respond 200"
	for name, c := range map[string]struct {
		handlers  [][2]string // a sender and its app
		different string
	}{
		"another sender first": {[][2]string{{stripe, app}, {github, app}, {other, second}}, "[apps keys]"},
		"keys alone":           {[][2]string{{stripe, app}, {github, app}, {other, app}}, "[keys]"},
		"apps alone":           {[][2]string{{stripe, app}, {github, app}, {stripe, app}, {github, second}}, "[apps]"},
		"an unknown app first": {[][2]string{{github, unknown}, {github, app}, {github, second}}, "[apps]"},
		"unknown in between":   {[][2]string{{github, app}, {github, unknown}, {github, second}}, "[apps]"},
		"keys of the unknown":  {[][2]string{{github, unknown}, {github, app}, {other, app}}, "[keys]"},
		"one of each":          {[][2]string{{stripe, app}, {github, second}, {"slack a", app}}, ""},
		"all the same":         {[][2]string{{stripe, second}, {github, app}, {github, unknown}, {github, app}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			caddyfile := ""
			for i, h := range c.handlers {
				caddyfile += fmt.Sprintf("%d.example.com {\nverify_webhooks /hooks/* {\nsender %s {\nname team\n}\n%s\n}\nrespond 404\n}\n", i, h[0], h[1])
			}
			if c.different == "" {
				isWarnedOf(t, caddyfile)
				return
			}
			isWarnedOf(t, caddyfile, sharedScope+" … name=team different="+c.different)
		})
	}
}
