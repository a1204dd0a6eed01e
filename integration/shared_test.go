package integration

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
)

// The tests that only send requests share one gateway: it changes nothing from
// request to request. It has every sender under the guarded prefix that the
// README shows, and a few handlers with limits of their own.
var sharedGateway = sharing{site: sharedSite}

// directGateway is the same with transport verify_webhook.
var directGateway = sharing{site: func() string { return throughDirect(sharedSite()) }}

type sharing struct {
	sync.Mutex
	site func() string
	g    *gateway
	dir  string
	err  error
}

// shared returns the gateway that tests share, started by whoever comes first.
func shared(t testing.TB) *gateway {
	t.Helper()
	return sharedGateway.get(t)
}

func (s *sharing) get(t testing.TB) *gateway {
	t.Helper()
	s.Lock()
	defer s.Unlock()
	if s.g == nil && s.err == nil {
		if s.dir, s.err = os.MkdirTemp("", "verify-webhook-shared-"); s.err == nil {
			s.g, s.err = launch(s.dir, newApp(), setup{site: s.site()})
		}
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.g
}

// stopShared ends them after all tests, and looks for secrets in all that they logged.
func stopShared() error { return errors.Join(sharedGateway.stop(), directGateway.stop()) }

func (s *sharing) stop() error {
	if s.dir == "" {
		return nil
	}
	err := os.RemoveAll(s.dir)
	if s.err == nil {
		err = errors.Join(s.g.stop(), err)
	}
	return err
}

// The handlers with limits: a handler each, because each logs at most ten
// refusals a second, and tests wait for theirs.
const (
	halfPath    = "/hooks/half"    // senders that stop half-way
	slowPath    = "/hooks/slow"    // body_timeout 1s
	impatient   = "/hooks/timeout" // upstream_timeout 1s
	collidePath = "/hooks/collide" // two handlers
)

func sharedSite() string {
	var b strings.Builder
	b.WriteString("handle /hooks/* {\n")
	for _, s := range senders {
		if s.config != "" {
			b.WriteString("verify_webhook " + s.path + " " + s.config + "\n")
		}
	}
	for _, extra := range []struct{ path, name, option string }{
		{halfPath, "half", ""},
		{slowPath, "slow", "body_timeout 1s"},
		{impatient, "impatient", "upstream_timeout 1s"},
		{collidePath, "collide-first", ""},
		{"/hooks/coll*", "collide-second", ""},
	} {
		b.WriteString("verify_webhook " + extra.path + " github {env.GITHUB_KEY} {\n name " + extra.name + "\n " + extra.option + "\n}\n")
	}
	b.WriteString(`
	rewrite /hooks/renamed /hooks/stripe
	@unguarded vars {http.verify_webhook.name} ""
	respond @unguarded 404
	reverse_proxy APP
}
handle_path /stripped/* {
	verify_webhook /stripe stripe {env.STRIPE_KEY} {
		name stripped
	}
	@unguarded vars {http.verify_webhook.name} ""
	respond @unguarded 404
	reverse_proxy APP
}
handle /alone {
	verify_webhook github {env.GITHUB_KEY} {
		name alone
	}
}
handle /plain {
	reverse_proxy APP
}
`)
	return b.String()
}

// at is the GitHub sender, whose signature is the body's alone, on another path.
func at(path string) sender {
	s := github
	s.path = path
	return s
}
