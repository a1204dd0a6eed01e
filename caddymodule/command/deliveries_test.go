package command

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

var paid = adminapi.Delivery{
	Cursor: "c-1", Time: time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC), Name: "shop", Outcome: "failed", Reason: "status_5xx", Attempt: 2, Status: 503, AppSeconds: 0.2504567,
	ID: "evt_\x1b[2J1", Event: "paid\u202e", Key: "1", Delivery: "0123456789abcdef0123456789abcdef",
}

func TestDeliveriesCommand(t *testing.T) {
	const key, busy = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	forget := "DELETE " + adminapi.DeliveriesPath + "?id=evt_%s&name=shop"
	address := adminServer(t, "tcp", "127.0.0.1:0", answers{
		"GET " + adminapi.DeliveriesPath: []adminapi.Delivery{paid, {Name: "shop", Outcome: "handshake", Key: "1", Attempt: 1}},
		"GET " + adminapi.DeliveriesPath + "?event=paid&id=evt_1&limit=5&name=shop&outcome=failed": []adminapi.Delivery{paid},
		"GET " + adminapi.DeliveriesPath + "?name=quiet":                                           []adminapi.Delivery{},
		"GET " + adminapi.DeliveriesPath + "?name=nobody":                                          refusal{http.StatusNotFound, "unknown handler; the handlers are: shop"},
		"GET " + adminapi.DeliveriesPath + "?limit=10&name=nobody":                                 refusal{http.StatusNotFound, "unknown handler; the handlers are: shop"},
		"GET " + adminapi.DeliveriesPath + "?limit=10":                                             []adminapi.Delivery{},
		fmt.Sprintf(forget, "1"):                                                                   adminapi.ForgottenByID{Keys: []string{key, busy}, Note: "an instance keeps its own memory of it"},
		fmt.Sprintf(forget, "2"):                                                                   adminapi.ForgottenByID{Keys: []string{key}, InFlight: []string{busy}, NotDone: []string{key}, Stored: []string{key}},
		fmt.Sprintf(forget, "3"):                                                                   adminapi.ForgottenByID{NotDone: []string{key}},
		fmt.Sprintf(forget, "4"):                                                                   refusal{http.StatusNotFound, "no delivery with that id is kept"},
		fmt.Sprintf(forget, "5"):                                                                   refusal{http.StatusServiceUnavailable, "the store is down"},
		"DELETE " + adminapi.DeliveriesPath + "?inbox=lost":                                        adminapi.ForgottenInbox{Inbox: "lost", Forgotten: 3, Note: "an instance keeps its own memory of it"},
		"DELETE " + adminapi.DeliveriesPath + "?inbox=none":                                        adminapi.ForgottenInbox{Inbox: "none"},
		"DELETE " + adminapi.DeliveriesPath + "?inbox=mine":                                        refusal{http.StatusConflict, "the inbox mine is in use here"},
		"DELETE " + adminapi.DeliveriesPath + "?inbox=part":                                        refusal{http.StatusServiceUnavailable, "the store is down"},
	})
	for _, tc := range []struct {
		args string
		code int
		want []string
	}{
		{"deliveries", 0, []string{"HANDLER  OUTCOME             STATUS  APP    ATTEMPT  EVENT", "shop     failed: status_5xx  503     250ms  2        paid", key, "shop     handshake           -       -      1        -"}},
		{"deliveries --name shop --outcome failed --event paid --id evt_1 --limit 5", 0, []string{key}},
		{"deliveries --json", 0, []string{`"id": "evt_\u001b[2J1"`, `"event": "paid\u202e"`, `"app_seconds": 0.2504567`}},
		{"deliveries --name quiet", 0, []string{"No such delivery is kept", "keep_deliveries off"}},
		{"deliveries --name nobody", 2, []string{"the handlers are: shop"}},
		{"deliveries shop", 2, []string{"takes no argument"}},
		{"deliveries --follow --name nobody", 2, []string{"the handlers are: shop"}},
		{"deliveries --follow", 2, []string{"is it a Caddy with verify_webhook?"}}, // an older one lists
		{"forget --name shop --id evt_1", 0, []string{"Forgotten: " + key, "Forgotten: " + busy, "own memory"}},
		{"forget --name shop --id evt_2", 1, []string{"Forgotten: " + key, "In flight: " + busy, "Not remembered as done: " + key, "In the inbox: " + key}},
		{"forget --name shop --id evt_3", 1, []string{"Not remembered as done: " + key + ". Its next copy is forwarded anyway"}},
		{"forget --name shop --id evt_4", 1, []string{"Error: no delivery with that id is kept"}},
		{"forget --name shop --id evt_5", 2, []string{"Error: the store is down"}},
		{"forget --inbox lost", 0, []string{"Forgotten: 3 of the inbox lost. Their next copies are forwarded.", "own memory"}},
		{"forget --inbox none", 1, []string{"no delivery of that inbox is remembered: check its id"}},
		{"forget --inbox mine", 1, []string{"Error: the inbox mine is in use here"}},
		{"forget --inbox part", 2, []string{"Error: the store is down"}},
		{"forget --inbox lost " + key, 2, []string{"or --inbox"}},
		{"forget --inbox lost --name shop --id evt_1", 2, []string{"or --inbox"}},
		{"forget --name shop", 2, []string{"or --name and --id"}},
		{"forget --id evt_1", 2, []string{"or --name and --id"}},
		{"forget --name shop --id evt_1 " + key, 2, []string{"or --name and --id"}},
	} {
		out, errs, code := webhook(t, "", append(strings.Fields(tc.args), "--address", address)...)
		out += errs
		if code != tc.code {
			t.Errorf("%s: exit %d, want %d\n%s", tc.args, code, tc.code, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tc.args, want, out)
			}
		}
		if strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("%s: a sender's control characters reach the terminal: %q", tc.args, out)
		}
	}
}

// TestSeveralInstances: each gateway is asked, one that does not answer hides none of the
// others, and it is said which one had or forgot what.
func TestSeveralInstances(t *testing.T) {
	const key, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	newer := paid
	newer.Time, newer.ID = paid.Time.Add(time.Minute), "evt_2"
	forget := "DELETE " + adminapi.DeliveriesPath
	one := adminServer(t, "tcp", "127.0.0.1:0", answers{
		"GET " + adminapi.DeliveriesPath:              []adminapi.Delivery{paid},
		"GET " + adminapi.DeliveriesPath + "?limit=1": []adminapi.Delivery{paid},
		"GET " + adminapi.StatusPath:                  adminapi.Status{Version: "v1.2.3", Handlers: []adminapi.Handler{{Name: "shop"}}},
		"GET " + adminapi.RejectionsPath:              []adminapi.Rejection{{ID: "3f9a52c07d1e", Time: paid.Time, Name: "shop"}},
		forget + "/" + key:                            adminapi.Forgotten{Key: key, Note: "a note"},
		forget + "/" + other:                          refusal{http.StatusNotFound, "not remembered"},
		forget + "?id=evt_1&name=shop":                refusal{http.StatusNotFound, "no delivery with that id is kept"},
	})
	two := adminServer(t, "tcp", "127.0.0.1:0", answers{
		"GET " + adminapi.DeliveriesPath:                   []adminapi.Delivery{newer},
		"GET " + adminapi.DeliveriesPath + "?limit=1":      []adminapi.Delivery{newer},
		"GET " + adminapi.StatusPath:                       adminapi.Status{Version: "v1.2.4", Handlers: []adminapi.Handler{{Name: "shop"}}},
		"GET " + adminapi.RejectionsPath:                   []adminapi.Rejection{{ID: "7d1e3f9a52c0", Time: newer.Time, Name: "shop"}},
		"GET " + adminapi.RejectionsPath + "/7d1e3f9a52c0": adminapi.RejectionDetail{Rejection: adminapi.Rejection{ID: "7d1e3f9a52c0", Reason: "signature_mismatch"}},
		forget + "/" + key:                                 refusal{http.StatusNotFound, "not remembered"},
		forget + "/" + other:                               refusal{http.StatusConflict, "in flight"},
		forget + "?id=evt_1&name=shop":                     adminapi.ForgottenByID{Keys: []string{key}},
	})
	closed := httptest.NewServer(nil)
	closed.Close()
	gone := strings.TrimPrefix(closed.URL, "http://")
	for _, tc := range []struct {
		args, third string
		code        int
		want        []string
	}{
		{"deliveries", "", 0, []string{"INSTANCE", two + "  shop", one + "  shop"}},
		{"deliveries --limit 1", "", 0, []string{two + "  shop"}},
		{"deliveries --json", "", 0, []string{`"instance": "` + one + `"`, `"instance": "` + two + `"`}},
		{"deliveries", gone, 2, []string{two + "  shop", "no answer from the admin endpoint at " + gone, "Error: 1 of 3 instances did not answer"}},
		{"status", "", 0, []string{"instance          " + one + "\nversion           v1.2.3\n", "\n\ninstance          " + two + "\nversion           v1.2.4\n"}},
		{"status --json", "", 0, []string{`"instance": "` + one + `",`, `"version": "v1.2.4"`}},
		{"status", gone, 2, []string{"v1.2.3", "v1.2.4", "no answer from the admin endpoint at " + gone, "Error: 1 of 3 instances did not answer"}},
		{"status nobody", "", 2, []string{one + ": nothing at ", two + ": nothing at ", "Error: 2 of 2 instances did not answer"}},
		{"rejections", "", 0, []string{"ID            INSTANCE", "7d1e3f9a52c0  " + two + "  ", "3f9a52c07d1e  " + one + "  "}},
		{"rejections --json", "", 0, []string{`"instance": "` + one + `"`, `"id": "7d1e3f9a52c0"`}},
		{"rejections", gone, 2, []string{"7d1e3f9a52c0", "3f9a52c07d1e", "Error: 1 of 3 instances did not answer"}},
		{"rejections 7d1e3f9a52c0", "", 0, []string{"instance    " + two + "\nrejection   7d1e3f9a52c0"}},
		{"rejections ffff", "", 2, []string{`no rejection "ffff": it may have been evicted, or another instance keeps it`}},
		{"rejections ffff", gone, 2, []string{"no answer from the admin endpoint at " + gone, `no rejection "ffff", but 1 of 3 instances did not answer`}},
		{"forget " + key, "", 0, []string{one + ": Forgotten: " + key, two + ": no such delivery is remembered"}},
		{"forget " + key, gone, 2, []string{one + ": Forgotten: " + key, "Error: 1 of 3 instances failed"}},
		{"forget " + other, "", 1, []string{one + ": no such delivery is remembered", two + ": in flight"}},
		{"forget --name shop --id evt_1", "", 0, []string{one + ": no delivery with that id is kept", two + ": Forgotten: " + key}},
		{"forget --name shop --id evt_9", "", 1, []string{one + ": nothing at ", two + ": nothing at "}},
	} {
		args := append(strings.Fields(tc.args), "--address", one, "--address", two)
		if tc.third != "" {
			args = append(args, "--address", tc.third)
		}
		out, errs, code := webhook(t, "", args...)
		out += errs
		if code != tc.code {
			t.Errorf("%s: exit %d, want %d\n%s", tc.args, code, tc.code, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tc.args, want, out)
			}
		}
		if strings.Contains(tc.args, "--limit") && strings.Contains(out, one) {
			t.Errorf("%s: more than the newest one:\n%s", tc.args, out)
		}
	}
}

// TestFollowInstances: lines of all streams, each with its instance.
func TestFollowInstances(t *testing.T) {
	pause := followPause
	followPause = 0
	t.Cleanup(func() { followPause = pause })
	var args []string
	for n := range 2 {
		streams := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if streams++; streams == 1 {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprintf(w, "data: {\"cursor\":\"c-1\",\"name\":\"shop\",\"outcome\":\"delivered\",\"id\":\"evt_%d\"}\n\n", n)
				return
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no handler"}`)
		}))
		defer server.Close()
		args = append(args, "--address", strings.TrimPrefix(server.URL, "http://"))
	}
	out, errs, code := webhook(t, "", append([]string{"deliveries", "--follow"}, args...)...)
	if code != 2 || strings.Count(out, "INSTANCE") != 1 || strings.Count(out, "\n") != 3 || !strings.Contains(errs, args[1]+": no handler") || !strings.Contains(errs, args[3]+": no handler") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
	for n, address := range []string{args[1], args[3]} {
		if line := lineWith(out, fmt.Sprintf("evt_%d", n)); !strings.Contains(line, address) {
			t.Errorf("%q does not name %s", line, address)
		}
	}
}

func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

// TestFollowConnectsAgain: a stream ends with each reload, and the command goes on
// after the last delivery that it printed, until the handler is gone for good.
func TestFollowConnectsAgain(t *testing.T) {
	pause := followPause
	followPause = 0
	t.Cleanup(func() { followPause = pause })
	for _, asJSON := range []bool{false, true} {
		var asked []string
		streams := []string{
			"retry: 1000\n\n" + `id: c-1` + "\n" + `data: {"cursor":"c-1","name":"shop","outcome":"delivered","id":"evt_1\u001b[2J"}` + "\n\n: still here\n\n",
			"", // a restart
			"event: missed\ndata: {}\n\nevent: later\ndata: {}\n\nid: c-5\n" + `data: {"cursor":"c-5","name":"shop","outcome":"failed","reason":"timeout","id":"evt_5"}` + "\n\nid: c-6\ndata: {\"cut",
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.RequestURI()+" "+r.Header.Get("Accept")+" "+r.Header.Get("Last-Event-ID"))
			if n := len(asked) - 1; n < len(streams) && streams[n] != "" {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, streams[n])
				return
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"the configuration in force has no verify_webhook handler"}`)
		}))
		args := []string{"deliveries", "--follow", "--name", "shop", "--address", strings.TrimPrefix(server.URL, "http://")}
		if asJSON {
			args = append(args, "--json")
		}
		out, errs, code := webhook(t, "", args...)
		server.Close()
		if lines := strings.Split(strings.TrimSpace(out), "\n"); asJSON && (len(lines) != 2 || !strings.Contains(lines[0], `"evt_1\u001b[2J"`)) ||
			!asJSON && (len(lines) != 3 || !strings.Contains(lines[0], "OUTCOME") || !strings.Contains(lines[2], "failed: timeout")) || strings.Contains(out, "\x1b") {
			t.Errorf("printed:\n%s", out)
		}
		if code != 2 || strings.Count(errs, "no verify_webhook handler") != 3 || !strings.Contains(errs, "some deliveries are missing here") {
			t.Errorf("exit %d:\n%s", code, errs)
		}
		if len(asked) != len(streams)+maxRefusals || asked[0] != adminapi.DeliveriesPath+"?limit=10&name=shop text/event-stream " ||
			!strings.HasSuffix(asked[2], " c-1") || !strings.HasSuffix(asked[3], " c-5") {
			t.Errorf("asked %q", asked)
		}
	}
}
