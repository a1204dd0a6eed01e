package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// adminServer answers as Caddy's admin endpoint does.
func adminServer(t testing.TB, network, address string) string {
	t.Helper()
	mux := http.NewServeMux()
	for _, route := range new(adminAPI).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			err := route.Handler.ServeHTTP(w, r)
			if e, ok := errors.AsType[caddy.APIError](err); ok {
				w.WriteHeader(e.HTTPStatus)
				_ = json.NewEncoder(w).Encode(map[string]string{"error": e.Err.Error()})
			}
		})
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	server.Start()
	t.Cleanup(server.Close)
	if network == "unix" {
		return "unix/" + address
	}
	return l.Addr().String()
}

// runs executes a command of caddy webhook, and returns what it prints and how
// it ends.
func runs(t testing.TB, make func() *cobra.Command, args ...string) (out string, code int) {
	t.Helper()
	var text bytes.Buffer
	cmd := make()
	cmd.SetOut(&text)
	cmd.SetErr(&text)
	cmd.SetArgs(args)
	err := cmd.Execute()
	if err == nil {
		return text.String(), exitOK
	}
	if err.Error() == "no" {
		return text.String(), exitNot
	}
	return text.String(), exitUsage
}

func TestOperatorCommands(t *testing.T) {
	g := watched(t, "", strings.Replace(once(), `"acme"`, `"shop"`, 1))
	serve(t, post(), accepting, g.handlers...)
	r := forged("{}")
	r.RequestURI = "/hooks/acme?\x1b[2J"
	r.Header["X-Evil-Event"] = []string{"\x1b]0;gone\a \u009b2J\u202e\U000e0001"}
	serve(t, r, accepting, g.handlers...)
	id := kept.list("")[0].id
	key := dedupe.NewKey(string(dedupe.NamedScope("shop")), "", "id+content", "evt_1", digest(body)).String()
	tcp := adminServer(t, "tcp", "127.0.0.1:0")
	socket := adminServer(t, "unix", filepath.Join(t.TempDir(), "admin.sock"))
	nobody := httptest.NewServer(http.NotFoundHandler())
	defer nobody.Close()
	other := strings.TrimPrefix(nobody.URL, "http://")

	for _, tc := range []struct {
		name    string
		command func() *cobra.Command
		args    string
		code    int
		want    []string
	}{
		{"status", statusCommand, "--address " + tcp, 0, []string{"store             memory, healthy; deliveries remembered here: 1, in flight: 0", "shop     -         1         0           1         0         0           ", "shop     1    ", "shop     signature_mismatch  1         0"}},
		{"status of a name", statusCommand, "shop --address " + tcp, 0, []string{"shop"}},
		{"status over a socket", statusCommand, "--json --address " + socket, 0, []string{`"accepted": `, `"last_used": "2023-11-14T22:13:20Z"`}},
		{"unknown name", statusCommand, "nobody --address " + tcp, 2, []string{"Error: no handler has that name; the names are: shop\n"}},
		{"two names", statusCommand, "a b --address " + tcp, 2, []string{"one name at a time, not 2"}},
		{"no endpoint", statusCommand, "--address 127.0.0.1:1", 2, []string{"no admin endpoint answers at 127.0.0.1:1: dial tcp", "is Caddy running? Give another address with --address"}},
		{"no such socket", statusCommand, "--address unix//nonexistent.sock", 2, []string{"is Caddy running?"}},
		{"another server", statusCommand, "--address " + other, 2, []string{"answered 404: is it a Caddy with verify_webhook?"}},
		{"no configuration file", statusCommand, "--config /nonexistent/caddy.json", 2, []string{"--address"}},

		{"rejections", rejectionsCommand, "--address " + tcp, 0, []string{id, "shop     signature_mismatch  203.0.113.9:4321  POST /hooks/acme?"}},
		{"rejections of a name", rejectionsCommand, "--name shop --address " + tcp, 0, []string{id}},
		{"one", rejectionsCommand, id + " --address " + socket, 0, []string{"reason      signature_mismatch", "X-Team: (redacted)", "body        2 bytes, SHA-256 44136fa355", "hint        "}},
		{"one for programs", rejectionsCommand, id + " --json --address " + tcp, 0, []string{`"hint": `, `"bytes": 2`, `gone\u0007 \u009b2J\u202e\udb40\udc01"`}},
		{"unknown id", rejectionsCommand, "ffff --address " + tcp, 2, []string{`no rejection "ffff" is kept (any more): caddy webhook rejections lists them`}},
		{"rejections of nobody", rejectionsCommand, "--name nobody --address " + tcp, 2, []string{"the names are: shop"}},
		{"id and name", rejectionsCommand, id + " --name shop --address " + tcp, 2, []string{"an id or --name, not both"}},

		{"forget", forgetCommand, key + " --address " + socket, 0, []string{"Forgotten: " + key, "own memory"}},
		{"forgotten already", forgetCommand, key + " --address " + tcp, 1, []string{"no such delivery is remembered as done: its next copy is forwarded anyway"}},
		{"no key", forgetCommand, "abc --address " + tcp, 2, []string{"a delivery key is 32 hex digits: copy it from Webhook-Delivery"}},
		{"nothing", forgetCommand, "--address " + tcp, 2, []string{"caddy webhook forget <32 hexadecimal digits>"}},
		{"forget without an endpoint", forgetCommand, key + " --address 127.0.0.1:1", 2, []string{"is Caddy running?"}},
	} {
		out, code := runs(t, tc.command, strings.Fields(tc.args)...)
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

// TestForgetCommandInFlight: what is under way is not forgotten, and it says so.
func TestForgetCommandInFlight(t *testing.T) {
	g := running(t, "", once())
	address := adminServer(t, "tcp", "127.0.0.1:0")
	g.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
		out, code := runs(t, forgetCommand, theKey.String(), "--address", address)
		if code != exitNot || !strings.Contains(out, "in flight: wait for the app's answer") {
			t.Errorf("exit %d: %s", code, out)
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}).isForwarded(t)
}

// TestNothingKept: an empty list says what it means.
func TestNothingKept(t *testing.T) {
	watched(t, "", timed())
	address := adminServer(t, "tcp", "127.0.0.1:0")
	if out, code := runs(t, rejectionsCommand, "--address", address); code != exitOK || !strings.Contains(out, "No rejection is kept") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := runs(t, rejectionsCommand, "--json", "--address", address); code != exitOK || strings.TrimSpace(out) != "[]" {
		t.Errorf("exit %d: %s", code, out)
	}
}
