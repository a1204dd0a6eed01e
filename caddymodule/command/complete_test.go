package command

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// TestCompletionAsksTheGateway: names, ids and keys are those of the running gateways;
// without one there are none, and no message.
func TestCompletionAsksTheGateway(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	status := "GET " + adminapi.StatusPath
	inbox := adminapi.Inbox{Queues: []adminapi.InboxQueue{{Name: "shop"}, {Name: "gone"}}}
	listed := inbox
	listed.Deliveries = []adminapi.InboxEntry{{Key: key, State: "dead", Name: "shop"}}
	one := " --address " + adminServer(t, "tcp", "127.0.0.1:0", answers{
		status:                                     adminapi.Status{Handlers: []adminapi.Handler{{Name: "shop"}, {Name: "billing"}}},
		"GET " + adminapi.RejectionsPath:           []adminapi.Rejection{{ID: "3f9a52c07d1e", Reason: "signature_mismatch", Name: "shop"}},
		"GET " + adminapi.DeliveriesPath:           []adminapi.Delivery{{Name: "shop", Outcome: "failed", Delivery: key}, {Name: "shop", Outcome: "handshake"}},
		"GET " + adminapi.InboxPath:                inbox,
		"GET " + adminapi.InboxPath + "?limit=100": listed,
	})
	two := " --address " + adminServer(t, "tcp", "127.0.0.1:0", answers{status: adminapi.Status{Handlers: []adminapi.Handler{{Name: "shop"}, {Name: "eu"}}}})
	const handlers, queues, stored = "billing\nshop\n:4\n", "gone\nshop\n:4\n", key + "\tdead, shop\n:4\n"
	for args, want := range map[string]string{
		"status" + one + " ":               handlers,
		"status" + one + two + " ":         "billing\neu\nshop\n:4\n",
		"status shop" + one + " ":          ":4\n",
		"status --address 127.0.0.1:1 ":    ":4\n",
		"rejections" + one + " ":           "3f9a52c07d1e\tsignature_mismatch, shop\n:4\n",
		"rejections" + one + " --name ":    handlers,
		"deliveries" + one + " --name ":    handlers,
		"deliveries" + one + " --outcome ": "delivered\nfailed\nstored\nduplicate\nhandshake\nrejected\n:4\n",
		"forget" + one + " --name ":        handlers,
		"forget" + one + " ":               key + "\tshop, failed\n:4\n",
		"inbox list" + one + " ":           queues,
		"inbox --state ":                   "pending\nin_attempt\ndelivered\ndead\nlocked\n:4\n",
		"inbox show" + one + " ":           stored,
		"inbox replay" + one + " ":         stored,
		"inbox replay" + one + " --dead ":  queues,
		"inbox replay" + one + " --as ":    handlers,
		"inbox discard" + one + " ":        stored,
		"inbox discard" + one + " --name ": queues,
		"inbox pause" + one + " ":          handlers,
		"status --adapter cad":             "caddyfile\n:4\n",
	} {
		out, errs, code := webhook(t, "", append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if code != exitOK || out != want {
			t.Errorf("%s: exit %d, %q, want %q", args, code, out, want)
		}
		if !strings.HasPrefix(errs, "Completion ended with directive") {
			t.Errorf("%s: not silent: %s", args, errs)
		}
	}
}

// TestCompletionDoesNotWait: a gateway that does not answer holds up no shell.
func TestCompletionDoesNotWait(t *testing.T) {
	limit := completionLimit
	completionLimit = time.Nanosecond
	t.Cleanup(func() { completionLimit = limit })
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	if out, _, code := webhook(t, "", "__complete", "status", "--address", mute.Addr().String(), ""); code != exitOK || out != ":4\n" {
		t.Errorf("exit %d: %q", code, out)
	}
}
