package command

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

func TestInboxCommand(t *testing.T) {
	const key, gone, busy = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "00000000000000000000000000000000"
	const barredKey = "00000000000000000000000000000001"
	at := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	entry := adminapi.InboxEntry{Key: key, Name: "shop", State: "dead", Received: at, Since: at, Attempts: 9, Status: 503, Label: "1\x1b[2J", Bytes: 900}
	waiting := adminapi.InboxEntry{Key: busy, Name: "shop", State: "pending", Waits: "app", Received: at, Since: at, Due: &at, Label: "1"}
	all := adminapi.Inbox{InboxEngine: adminapi.InboxEngine{Kind: "bolt", ID: "5f0c9a3e71b2d846", Bytes: 2048, Limit: 1 << 30}, Queues: []adminapi.InboxQueue{
		{Name: "gone", Dead: 2, Bytes: 1024},
		{Name: "shop", Configured: true, Pending: 1, Dead: 1, Bytes: 1024, Oldest: &at, DownSince: &at, Paused: true},
	}}
	foreign, lost, replayed := waiting, waiting, waiting
	foreign.Waits, foreign.Due, lost.Waits, lost.Due, replayed.Waits = "handler", nil, "route", nil, "turn"
	refused := entry
	refused.State, refused.Waits, refused.Due, refused.Status, refused.Refused = "pending", "time", &at, 403, true
	listed := all
	listed.Deliveries, listed.More = []adminapi.InboxEntry{entry, waiting}, true
	barred := all
	barred.Deliveries = []adminapi.InboxEntry{refused}
	sick := adminapi.Inbox{InboxEngine: adminapi.InboxEngine{Kind: "bolt", Problem: "in use by another process", Unwritten: 3, Damaged: 1}}
	retained := adminapi.Inbox{Retained: []adminapi.InboxRetained{{Inbox: "bolt /old.db", InboxEngine: sick.InboxEngine, Queues: all.Queues}}}
	base := adminapi.InboxPath
	unknown := refusal{http.StatusNotFound, "no handler and no stored delivery has that name; the handlers are: shop"}
	address := adminServer(t, "tcp", "127.0.0.1:0", answers{
		"GET " + base:                all,
		"GET " + base + "?name=shop": listed,
		"GET " + base + "?limit=2&state=dead&state=pending":     listed,
		"GET " + base + "?name=barred":                          barred,
		"GET " + base + "/" + barredKey:                         adminapi.InboxDetail{InboxEntry: refused},
		"GET " + base + "?name=sick":                            sick,
		"GET " + base + "?name=old":                             retained,
		"GET " + base + "?name=foreign":                         adminapi.Inbox{Deliveries: []adminapi.InboxEntry{foreign, lost, replayed}},
		"GET " + base + "?name=nobody":                          unknown,
		"GET " + base + "/" + key:                               adminapi.InboxDetail{InboxEntry: entry, ID: "evt_\x1b[2J1", Method: "POST", URL: "/hooks", Headers: map[string][]string{"X-Team": {"(redacted)"}}, Body: adminapi.Body{Read: true, Bytes: 2, SHA256: "44136f"}},
		"GET " + base + "/" + key + "?body=1":                   adminapi.InboxDetail{InboxEntry: entry, Content: []byte("{\r\n\t\"a\": \"\x1b[2J\"}")},
		"GET " + base + "/" + gone:                              refusal{http.StatusNotFound, "the inbox has no such delivery"},
		"POST " + base + "/" + key + "/replay":                  adminapi.InboxChanged{Changed: 1},
		"POST " + base + "/" + busy + "/replay":                 refusal{http.StatusConflict, "an attempt of this delivery is running"},
		"POST " + base + "/replay?name=shop&state=dead":         adminapi.InboxChanged{Changed: 256, More: true, After: 7},
		"POST " + base + "/replay?after=7&name=shop&state=dead": adminapi.InboxChanged{Changed: 2, After: 9},
		"POST " + base + "/replay?as=shop&name=gone&state=dead": adminapi.InboxChanged{Changed: 2},
		"POST " + base + "/replay?name=none&state=dead":         adminapi.InboxChanged{},
		"POST " + base + "/replay?name=nobody&state=dead":       unknown,
		"DELETE " + base + "/" + key:                            adminapi.InboxChanged{Changed: 1, Note: "the app may still accept it"},
		"GET " + base + "?limit=1000&name=shop&state=dead":      listed,
		"GET " + base + "?key=leaked&limit=1000":                listed,
		"GET " + base + "?limit=1000&name=one":                  adminapi.Inbox{Deliveries: []adminapi.InboxEntry{entry}},
		"DELETE " + base + "?name=shop&state=dead":              adminapi.InboxChanged{Changed: 2},
		"DELETE " + base + "?key=leaked":                        adminapi.InboxChanged{Changed: 2},
		"DELETE " + base + "?name=one":                          adminapi.InboxChanged{Changed: 1},
		"POST " + base + "/pause?name=shop":                     adminapi.InboxPaused{Name: "shop", Paused: true},
		"POST " + base + "/resume?name=shop":                    adminapi.InboxPaused{Name: "shop"},
		"POST " + base + "/pause?name=nobody":                   unknown,
	})
	for _, tc := range []struct {
		args, stdin string
		code        int
		want        []string
	}{
		{"inbox", "", 0, []string{"inbox  bolt, healthy; 2.0 KiB of 1.0 GiB; id 5f0c9a3e71b2d846", "HANDLER  PENDING", "no handler of this name here", "paused; went down "}},
		{"inbox list", "", 0, []string{"HANDLER  PENDING"}},
		{"inbox shop", "", 0, []string{key, "dead ", "503", "or when the app answers", "There may be more: add --limit"}},
		{"inbox list shop", "", 0, []string{key}},
		{"inbox --state dead --state pending --limit 2", "", 0, []string{key}},
		{"inbox sick", "", 0, []string{"NOT STORING, deliveries go to the app immediately: in use by another process", "results waiting to be written: 3; damaged records: 1", "Nothing is stored."}},
		{"inbox old", "", 0, []string{"inbox  none configured", "as long as this process runs: bolt /old.db", "not open: in use by another process", "gone  "}},
		{"inbox foreign", "", 0, []string{"no handler of this name here  1", "when it reaches its handler   1", "after what else is due        1"}},
		{"inbox barred", "", 0, []string{"403 of a route  due"}},
		{"inbox show " + barredKey, "", 0, []string{"refused with  403, by a route above the handler"}},
		{"inbox nobody", "", 2, []string{"the handlers are: shop"}},
		{"inbox a b", "", 2, []string{"one name at a time"}},
		{"inbox shop --json", "", 0, []string{`"delivery": "` + key, `"key": "1\u001b[2J"`}},
		{"inbox --stat dead", "", 2, []string{"unknown flag: --stat: see webhook inbox --help"}},
		{"inbox show " + key, "", 0, []string{"state         dead", "attempts      9", "X-Team: (redacted)", "body          2 bytes, SHA-256 44136f"}},
		{"inbox show " + key + " --body", "", 0, []string{"{\n    \"a\": \"\uFFFD[2J\"}\n"}},
		{"inbox show " + gone, "", 1, []string{"no such delivery"}},
		{"inbox show abc", "", 2, []string{"a delivery key is 32 hex digits: copy it"}},
		{"inbox show", "", 2, []string{"pass the key of one delivery"}},
		{"inbox replay " + key, "", 0, []string{"Replayed: 1"}},
		{"inbox replay " + busy, "", 1, []string{"an attempt of this delivery is running"}},
		{"inbox replay --dead shop", "", 0, []string{"Replayed: 258"}},
		{"inbox replay --dead gone --as shop", "", 0, []string{"Replayed: 2"}},
		{"inbox replay --dead none", "", 1, []string{"no such delivery"}},
		{"inbox replay --dead nobody", "", 2, []string{"the handlers are: shop"}},
		{"inbox replay", "", 2, []string{"pass the key of one delivery, or --dead"}},
		{"inbox replay --as shop " + key, "", 2, []string{"or --dead"}},
		{"inbox discard " + key, "", 0, []string{"Discarded: 1", "Note: the app may still accept it"}},
		{"inbox discard --dead shop", "y\n", 0, []string{"Discard 2 or more dead deliveries of shop? The app will not get them. [y/N] ", "Discarded: 2"}},
		{"inbox discard --dead shop", "n\n", 1, []string{"nothing is discarded"}},
		{"inbox discard --dead shop", "", 2, []string{"add --yes"}},
		{"inbox discard --key leaked --yes", "", 0, []string{"Discarded: 2"}},
		{"inbox discard --key leaked", "no\n", 1, []string{"deliveries of all handlers signed with the key leaked?"}},
		{"inbox discard --name one", "", 0, []string{"Discarded: 1"}},
		{"inbox discard", "", 2, []string{"one of --dead <name>, --name <name>, --key <label>"}},
		{"inbox discard --name one --key leaked --yes", "", 2, []string{"one of --dead"}},
		{"inbox discard --name one --yes " + key, "", 2, []string{"one of --dead"}},
		{"inbox pause shop", "", 0, []string{"Paused: deliveries of shop are stored and not sent."}},
		{"inbox resume shop", "", 0, []string{"Resumed: deliveries of shop are sent to the app."}},
		{"inbox pause nobody", "", 2, []string{"the handlers are: shop"}},
		{"inbox pause", "", 2, []string{"pass the name of one handler"}},
	} {
		out, errs, code := webhook(t, tc.stdin, append(strings.Fields(tc.args), "--address", address)...)
		out += errs
		if code != tc.code {
			t.Errorf("%s: exit %d, want %d\n%s", tc.args, code, tc.code, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tc.args, want, out)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("%s: a sender's control characters reach the terminal: %q", tc.args, out)
		}
	}
}

// TestAChangeThatDoesNotAdvanceEnds: what answers at a wrong address may always say that
// there is more.
func TestAChangeThatDoesNotAdvanceEnds(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 9 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_ = json.NewEncoder(w).Encode(adminapi.InboxChanged{Changed: 1, More: true, After: 7})
	}))
	defer server.Close()
	const key = "0123456789abcdef0123456789abcdef"
	for args, want := range map[string]struct{ asked, code int }{
		"replay --dead shop":        {2, exitUsage},
		"discard --dead shop --yes": {2, exitUsage},
		"replay " + key:             {1, exitOK}, // there is no more
		"discard " + key + " --yes": {1, exitOK},
	} {
		asked = 0
		_, errs, code := webhook(t, "", append(append([]string{"inbox"}, strings.Fields(args)...), "--address", server.Listener.Addr().String())...)
		if asked != want.asked || code != want.code || code != exitOK && !strings.Contains(errs, notVerifyWebhook) {
			t.Errorf("%s: %d requests, exit %d, %s", args, asked, code, errs)
		}
	}
}
