package command

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// answers are what an admin endpoint answers, by method and request target: a
// value of adminapi, or a refusal.
type answers map[string]any

type refusal struct {
	status int
	text   string
}

// adminServer answers as Caddy's admin endpoint does, and what it has no answer
// for with 404.
func adminServer(t testing.TB, network, address string, all answers) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := all[r.Method+" "+r.URL.RequestURI()]
		if !ok {
			answer = refusal{http.StatusNotFound, "nothing at " + r.URL.RequestURI()}
		}
		if no, ok := answer.(refusal); ok {
			w.WriteHeader(no.status)
			answer = map[string]string{"error": no.text}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})}}
	server.Start()
	t.Cleanup(server.Close)
	if network == "unix" {
		return "unix/" + address
	}
	return l.Addr().String()
}

func TestOperatorCommands(t *testing.T) {
	const id, key, inFlight = "3f9a52c07d1e", "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	used := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	shop := adminapi.Status{Version: "v1.2.3", Since: used, Store: adminapi.Store{Kind: "memory", Entries: 1}, Handlers: []adminapi.Handler{{
		Name: "shop", Delivered: 1, Failed: map[string]uint64{"timeout": 2}, Rejected: map[string]uint64{"signature_mismatch": 1}, LastDelivered: &used, Keys: []adminapi.Key{{Label: "1", LastUsed: &used}},
	}}}
	refused := adminapi.Rejection{ID: id, Time: used, Name: "shop", Reason: "signature_mismatch", Keys: []string{"1"}, Remote: "203.0.113.9:4321", Method: "POST", URL: "/hooks/acme?\x1b[2J"}
	nobodys := refusal{http.StatusNotFound, "unknown handler; the handlers are: shop"}
	all := answers{
		"GET " + adminapi.StatusPath:                shop,
		"GET " + adminapi.StatusPath + "?name=shop": shop,
		"GET " + adminapi.StatusPath + "?name=boxed": adminapi.Status{
			Since: used, Inbox: &adminapi.InboxEngine{Kind: "bolt", Problem: "the disk is full"},
			Handlers: []adminapi.Handler{{Name: "boxed", Stored: map[string]uint64{"held": 3}, Bypassed: map[string]uint64{"full": 4}, Inbox: &adminapi.InboxQueue{Configured: true, Pending: 1, InAttempt: 1, Dead: 5, Oldest: &used, Paused: true}}},
		},
		"GET " + adminapi.StatusPath + "?name=nobody":     nobodys,
		"GET " + adminapi.RejectionsPath:                  []adminapi.Rejection{refused},
		"GET " + adminapi.RejectionsPath + "?name=shop":   []adminapi.Rejection{refused},
		"GET " + adminapi.RejectionsPath + "?name=nobody": nobodys,
		"GET " + adminapi.RejectionsPath + "/" + id: adminapi.RejectionDetail{
			Rejection: refused, Body: adminapi.Body{Read: true, Bytes: 2, SHA256: "44136fa355"},
			Headers: map[string][]string{"X-Team": {"(redacted)"}, "X-Evil-Event": {"\x1b]0;gone\a \u009b2J\u202e\U000e0001"}},
		},
		"GET " + adminapi.RejectionsPath + "/ffff":           refusal{http.StatusNotFound, "no such rejection"},
		"DELETE " + adminapi.DeliveriesPath + "/" + key:      adminapi.Forgotten{Key: key, Note: "an instance keeps its own memory of it"},
		"DELETE " + adminapi.DeliveriesPath + "/" + inFlight: refusal{http.StatusConflict, "in flight: wait for the app's answer"},
	}
	tcp := adminServer(t, "tcp", "127.0.0.1:0", all)
	socket := adminServer(t, "unix", filepath.Join(t.TempDir(), "admin.sock"), all)
	nobody := httptest.NewServer(http.NotFoundHandler())
	defer nobody.Close()
	other := strings.TrimPrefix(nobody.URL, "http://")

	for _, tc := range []struct {
		name, args string
		code       int
		want       []string
	}{
		{"status", "status --address " + tcp, 0, []string{"version           v1.2.3", "store             memory, healthy\nremembered here   1 deliveries, in flight: 0", "HANDLER  PROVIDER  DELIVERED  FAILED  DUPLICATES  REJECTED  LAST DELIVERED\nshop     -         1          2       0           1         ", "shop     timeout             0         0         2", "shop     1    ", "shop     signature_mismatch  1         0"}},
		{"status of a name", "status shop --address " + tcp, 0, []string{"shop"}},
		{"status with an inbox", "status boxed --address " + tcp, 0, []string{"inbox             bolt, NOT STORING, deliveries go to the app immediately: the disk is full", "HANDLER  STORED  PENDING  DEAD", "boxed    3       2        5 ", "4           paused"}},
		{"status over a socket", "status --json --address " + socket, 0, []string{`"delivered": `, `"last_used": "2023-11-14T22:13:20Z"`}},
		{"unknown name", "status nobody --address " + tcp, 2, []string{"Error: unknown handler; the handlers are: shop\n"}},
		{"two names", "status a b --address " + tcp, 2, []string{"one name at a time, not 2"}},
		{"no endpoint", "status --address 127.0.0.1:1", 2, []string{"no answer from the admin endpoint at 127.0.0.1:1: dial tcp", "is Caddy running? Set another address with --address"}},
		{"no such socket", "status --address unix//nonexistent.sock", 2, []string{"is Caddy running?"}},
		{"another server", "status --address " + other, 2, []string{"answered 404: is it a Caddy with verify_webhook?"}},
		{"an endpoint that is off", "status --config " + file(t, "Caddyfile", "{\n\tadmin off\n}\n"), 2, []string{"Caddyfile: the configuration switches the admin endpoint off"}},
		{"the endpoint of a configuration", "status --config " + file(t, "Caddyfile", "{\n\tadmin "+tcp+"\n}\n"), 0, []string{"v1.2.3"}},
		{"no configuration file", "status --config /nonexistent/caddy.json", 2, []string{"--address"}},

		{"rejections", "rejections --address " + tcp, 0, []string{id, "shop     signature_mismatch  POST /hooks/acme?"}},
		{"rejections of a name", "rejections --name shop --address " + tcp, 0, []string{id}},
		{"one", "rejections " + id + " --address " + socket, 0, []string{"reason      signature_mismatch", "X-Team: (redacted)", "body        2 bytes, SHA-256 44136fa355", "hint        "}},
		{"one for programs", "rejections " + id + " --json --address " + tcp, 0, []string{`"hint": `, `"bytes": 2`, `gone\u0007 \u009b2J\u202e\udb40\udc01"`}},
		{"the latest", "rejections latest --name shop --reason signature_mismatch --address " + tcp, 0, []string{"reason      signature_mismatch", "hint        "}},
		{"the beginning of one", "rejections " + id[:4] + " --address " + tcp, 0, []string{"rejection   " + id}},
		{"of a reason", "rejections --reason signature_mismatch --address " + tcp, 0, []string{id}},
		{"of another reason", "rejections --reason stale_timestamp --address " + tcp, 0, []string{"No rejections"}},
		{"the latest of another reason", "rejections latest --reason stale_timestamp --address " + tcp, 2, []string{"no rejection: none is kept"}},
		{"of no reason", "rejections --reason stale --address " + tcp, 2, []string{`unknown reason "stale": write one of `}},
		{"unknown id", "rejections ffff --address " + tcp, 2, []string{`no rejection "ffff": it may have been evicted`}},
		{"rejections of nobody", "rejections --name nobody --address " + tcp, 2, []string{"the handlers are: shop"}},
		{"id and name", "rejections " + id + " --name shop --address " + tcp, 2, []string{"an id, or --name and --reason, not both"}},

		{"forget", "forget " + key + " --address " + socket, 0, []string{"Forgotten: " + key, "own memory"}},
		{"forgotten already", "forget " + strings.Repeat("0", 32) + " --address " + tcp, 1, []string{"no such delivery is remembered: its next copy is forwarded anyway"}},
		{"in flight", "forget " + inFlight + " --address " + tcp, 1, []string{"in flight: wait for the app's answer"}},
		{"no key", "forget abc --address " + tcp, 2, []string{"a delivery key is 32 hex digits: copy it from Webhook-Delivery"}},
		{"nothing", "forget --address " + tcp, 2, []string{"caddy webhook forget <32 hexadecimal digits>"}},
		{"forget without an endpoint", "forget " + key + " --address 127.0.0.1:1", 2, []string{"is Caddy running?"}},
	} {
		out, errs, code := webhook(t, "", strings.Fields(tc.args)...)
		out += errs
		if code != tc.code {
			t.Errorf("%s: exit %d, want %d\n%s", tc.name, code, tc.code, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tc.name, want, out)
			}
		}
		if code != 0 && strings.Count(out, "\n") != 1 {
			t.Errorf("%s: not one line:\n%s", tc.name, out)
		}
		if strings.ContainsAny(out, "\x1b\a\u009b\u202e\U000e0001") {
			t.Errorf("%s: a sender's control characters reach the terminal: %q", tc.name, out)
		}
	}
}

// TestNothingKept: an empty list says what it means.
func TestNothingKept(t *testing.T) {
	address := adminServer(t, "tcp", "127.0.0.1:0", answers{"GET " + adminapi.RejectionsPath: []adminapi.Rejection{}})
	if out, _, code := webhook(t, "", "rejections", "--address", address); code != exitOK || !strings.Contains(out, "No rejections: ") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, code := webhook(t, "", "rejections", "--json", "--address", address); code != exitOK || strings.TrimSpace(out) != "[]" {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestBodyText: what was not read says how much was announced.
func TestBodyText(t *testing.T) {
	declared := int64(1500000)
	for want, b := range map[string]adminapi.Body{
		"not read": {}, "not read, 1500000 bytes declared": {Declared: &declared},
		"9 bytes, SHA-256 ab, text/plain, partly kept": {Read: true, Bytes: 9, SHA256: "ab", ContentType: "text/plain", Truncated: true},
	} {
		if got := bodyText(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestColumnsOfStatus: a provider that is the handler's name is left out, and so is a list
// of what no handler has.
func TestColumnsOfStatus(t *testing.T) {
	const long = "supabase_db_webhooks"
	const rare = "\n\nHANDLER  OBSERVED  HANDSHAKES\n"
	for _, tc := range []struct {
		h    adminapi.Handler
		want string
		rare string
	}{
		{adminapi.Handler{Name: long, Provider: long, Delivered: 123456}, "HANDLER               DELIVERED  FAILED  DUPLICATES  REJECTED  LAST DELIVERED\n", ""},
		{adminapi.Handler{Name: "shop", Provider: "stripe", Observed: map[string]uint64{"stale_timestamp": 1}}, "HANDLER  PROVIDER  DELIVERED  FAILED  DUPLICATES  REJECTED  LAST DELIVERED\n", rare + "shop     1         0\n"},
		{adminapi.Handler{Name: "slack", Provider: "slack", Handshakes: 1}, "HANDLER  DELIVERED  FAILED  DUPLICATES  REJECTED  LAST DELIVERED\n", rare + "slack    0         1\n"},
	} {
		var out strings.Builder
		if err := printStatus(&out, adminapi.Status{Handlers: []adminapi.Handler{tc.h}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), tc.want) || !strings.Contains(out.String(), tc.rare) || tc.rare == "" && strings.Contains(out.String(), "HANDSHAKES") {
			t.Errorf("no %q, %q in\n%s", tc.want, tc.rare, out.String())
		}
		if long := overlong(out.String()); long != nil {
			t.Errorf("over 80 columns: %q", long)
		}
	}
}

// TestRejectionFitsATerminal: prose is wrapped, and a header is as it came.
func TestRejectionFitsATerminal(t *testing.T) {
	var out strings.Builder
	err := printRejection(&out, adminapi.RejectionDetail{
		Rejection: adminapi.Rejection{ID: "3f9a52c07d1e", Reason: "signature_mismatch"}, Hint: strings.Repeat("the secret ends with a line break; ", 9),
		Headers: map[string][]string{"X-Event": {"two  spaces"}},
	})
	if err != nil || !strings.Contains(out.String(), "X-Event: two  spaces\n") {
		t.Errorf("%v:\n%s", err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 81 {
			t.Errorf("over 80 columns: %s", line)
		}
	}
}

// TestSubcommands: a mistyped one names the nearest; help helps; version says what runs.
func TestSubcommands(t *testing.T) {
	for word, want := range map[string]string{
		"verfy": `unknown command "verfy": did you mean "verify"?`, "statsu": `did you mean "status"?`, "qqqqqqq": "see caddy webhook --help",
		"help": "version     Prints the version", "version": "verify_webhook (devel)\nCaddy ", "version x": `version takes no argument: drop "x"`,
	} {
		out, errs, _ := webhook(t, "", strings.Fields(word)...)
		if !strings.Contains(out+errs, want) {
			t.Errorf("%s: no %q in %s%s", word, want, out, errs)
		}
	}
}

// TestHelpFitsATerminal: the help of every command.
func TestHelpFitsATerminal(t *testing.T) {
	root := new(cobra.Command)
	build(root)
	var check func(path []string, c *cobra.Command)
	check = func(path []string, c *cobra.Command) {
		out, _, _ := webhook(t, "", append(path, "--help")...)
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "  webhook ") {
				line = "  caddy" + line[1:]
			}
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%q: over 80 columns: %s", path, line)
			}
		}
		for _, below := range c.Commands() {
			check(append(slices.Clone(path), below.Name()), below)
		}
	}
	check(nil, root)
}
