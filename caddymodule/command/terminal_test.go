package command

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// hostile controls a terminal with ASCII, C1, bidirectional and line characters.
const hostile = "\x1b[31m\u009b2J\u202e\u2028"

func hostileAnswer[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem(), hostile)
	return v
}

// TestNoAdminEndpointControlsTheTerminal: an address may be that of somebody else's
// gateway, so no text of an answer reaches a terminal as it is.
func TestNoAdminEndpointControlsTheTerminal(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	address := adminServer(t, "tcp", "127.0.0.1:0", answers{
		"GET " + adminapi.StatusPath:                         hostileAnswer[adminapi.Status](),
		"GET " + adminapi.DeliveriesPath:                     hostileAnswer[[]adminapi.Delivery](),
		"GET " + adminapi.RejectionsPath:                     hostileAnswer[[]adminapi.Rejection](),
		"GET " + adminapi.RejectionsPath + "/abc":            hostileAnswer[adminapi.RejectionDetail](),
		"GET " + adminapi.InboxPath:                          hostileAnswer[adminapi.Inbox](),
		"GET " + adminapi.InboxPath + "?limit=100":           hostileAnswer[adminapi.Inbox](),
		"GET " + adminapi.InboxPath + "/" + key:              hostileAnswer[adminapi.InboxDetail](),
		"POST " + adminapi.InboxPath + "/pause?name=shop":    hostileAnswer[adminapi.InboxPaused](),
		"DELETE " + adminapi.DeliveriesPath + "/" + key:      hostileAnswer[adminapi.Forgotten](),
		"DELETE " + adminapi.DeliveriesPath + "?id=1&name=a": hostileAnswer[adminapi.ForgottenByID](),
		"DELETE " + adminapi.DeliveriesPath + "?inbox=a1":    hostileAnswer[adminapi.ForgottenInbox](),
	})
	printed := func(what, text string) {
		t.Helper()
		if !strings.Contains(text, "\uFFFD") {
			t.Errorf("%s: shows nothing of the answer: %s", what, text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
			t.Errorf("%s: the answer controls the terminal: %q", what, text)
		}
	}
	for _, args := range []string{
		"status", "deliveries", "rejections", "rejections abc", "inbox", "inbox show " + key, "inbox pause shop",
		"forget " + key, "forget --name a --id 1", "forget --inbox a1",
		"__complete status ", "__complete rejections ", "__complete inbox show ", "__complete forget ",
	} {
		words := strings.Fields(args)
		if words[0] == "__complete" {
			words = append(words, "--address", address, "")
		} else {
			words = append(words, "--address", address)
		}
		out, errs, _ := webhook(t, "", words...)
		printed(args, out+errs)
	}
	var out strings.Builder
	f := follower{admin: &adminFlags{}, out: &out}
	if err := f.line("", hostile, deliveryCells(hostileAnswer[adminapi.Delivery]())); err != nil {
		t.Fatal(err)
	}
	printed("deliveries --follow", out.String())
}

// TestNoErrorControlsTheTerminal: neither one that quotes what a gateway answered, nor one
// with the name of a file that a saved request reads.
func TestNoErrorControlsTheTerminal(t *testing.T) {
	address := adminServer(t, "tcp", "127.0.0.1:0", answers{
		"GET " + adminapi.RejectionsPath: []adminapi.Rejection{{ID: "abc" + hostile}, {ID: "abd" + hostile}},
	})
	saved := file(t, "delivery.curl", `curl http://localhost/ -d $'@/nowhere/\x1b[2J'`)
	for name, args := range map[string][]string{
		"ids of rejections":         {"rejections", "ab", "--address", address},
		"the file of a saved curl":  {"verify", "github", saved, "--secret", "not the key"},
		"an argument of the caller": {"verify", "\x1b[2J", saved, "--secret", "not the key"},
		"a control in eight bits":   {"verify", "\x9b2J", saved, "--secret", "not the key"},
	} {
		_, errs, code := webhook(t, "", args...)
		if code != exitUsage || !strings.HasPrefix(errs, "Error: ") {
			t.Errorf("%s: exit %d, %q", name, code, errs)
		}
		if !utf8.ValidString(errs) || strings.ContainsFunc(strings.TrimSuffix(errs, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: the error controls the terminal: %q", name, errs)
		}
	}
}

// TestNoRequestControlsTheTerminal: a terminal that does not read UTF-8 knows controls of
// eight bits.
func TestNoRequestControlsTheTerminal(t *testing.T) {
	saved := file(t, "delivery.http", "POST /\x9b2J HTTP/1.1\r\nHost: a\r\nX-GitHub-Delivery: \x9b2J\x9d0;x\r\n"+
		"X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\nContent-Length: 13\r\n\r\nHello, World!")
	for _, secret := range []string{"It's a Secret to Everybody", "another one"} { // the example of GitHub's documentation
		out, errs, _ := webhook(t, "", "verify", "github", saved, "--secret", secret)
		if out == "" || !utf8.ValidString(out+errs) || strings.ContainsAny(out+errs, "\u009b\u009d\x1b") {
			t.Errorf("%s: it controls the terminal: %q %q", secret, out, errs)
		}
	}
}
