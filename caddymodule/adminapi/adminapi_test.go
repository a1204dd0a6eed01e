package adminapi

import (
	"encoding/json"
	"testing"
	"time"
)

// TestJSON holds the names that monitoring reads, and what is null or absent.
func TestJSON(t *testing.T) {
	at, declared := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), int64(9)
	rejection := Rejection{ID: "3f9a52c07d1e", Time: at, Name: "shop", Reason: "signature_mismatch", Keys: []string{"1"}, Method: "POST", URL: "/hooks"}
	const listed = `"id":"3f9a52c07d1e","time":"2026-11-21T12:00:00Z","name":"shop","provider":"","reason":"signature_mismatch","detail":"",` +
		`"keys":["1"],"observed":false,"remote":"","method":"POST","host":"","url":"/hooks"`
	for want, v := range map[string]any{
		`{"forgotten":"00ff","note":"everywhere"}`: Forgotten{Key: "00ff", Note: "everywhere"},
		`{` + listed + `}`:                         rejection,
		`{"forgotten":["00ff"],"in_flight":[],"not_done":[],"stored":[],"note":""}`: ForgottenByID{Keys: []string{"00ff"}, InFlight: []string{}, NotDone: []string{}, Stored: []string{}},
		`{"inbox":"5f0c","forgotten":2,"note":""}`:                                  ForgottenInbox{Inbox: "5f0c", Forgotten: 2},
		`{"kind":"bolt","id":"5f0c","bytes":9,"limit":99,"unwritten":0,"damaged":0,"queues":[{"name":"shop","configured":true,"pending":1,"in_attempt":0,"delivered":0,"dead":0,"locked":0,` +
			`"bytes":9,"oldest":"2026-11-21T12:00:00Z","due":null,"down_since":null,"paused":false}],"deliveries":[{"delivery":"00ff","name":"shop","state":"pending","waits":"app",` +
			`"position":7,"received":"2026-11-21T12:00:00Z","since":"2026-11-21T12:00:00Z","due":null,"attempts":2,"status":503,"replayed":false,"generation":0,"key":"1","bytes":9}],"more":false}`: Inbox{
			InboxEngine: InboxEngine{Kind: "bolt", ID: "5f0c", Bytes: 9, Limit: 99}, Queues: []InboxQueue{{Name: "shop", Configured: true, Pending: 1, Bytes: 9, Oldest: &at}},
			Deliveries: []InboxEntry{{Key: "00ff", Name: "shop", State: "pending", Waits: "app", Position: 7, Received: at, Since: at, Attempts: 2, Status: 503, Label: "1", Bytes: 9}},
		},
		`{"changed":2,"more":true,"after":7}`: InboxChanged{Changed: 2, More: true, After: 7},
		`{"cursor":"c-7","time":"2026-11-21T12:00:00Z","name":"shop","provider":"","outcome":"failed","reason":"status_5xx","attempt":2,` +
			`"status":500,"app_seconds":0.25,"id":"evt_1","event":"paid","key":"1","delivery":"00ff"}`: Delivery{
			Cursor: "c-7", Time: at, Name: "shop", Outcome: "failed", Reason: "status_5xx", Attempt: 2, Status: 500, AppSeconds: 0.25,
			ID: "evt_1", Event: "paid", Key: "1", Delivery: "00ff",
		},
		`{` + listed + `,"headers":{"X-Team":["(redacted)"]},"body":{"read":false,"bytes":0,"declared":9,"content_type":"","truncated":false},"hint":""}`: RejectionDetail{
			Rejection: rejection, Headers: map[string][]string{"X-Team": {"(redacted)"}}, Body: Body{Declared: &declared},
		},
		`{"version":"","since":"2026-11-21T12:00:00Z","store":{"kind":"memory","degraded":false,"entries":1,"in_flight":0,"unwritten":0},"inbox":null,` +
			`"buffered_bytes":0,"max_buffered":0,"rejections_kept":0,"rejections_kept_bytes":0,"handlers":[` +
			`{"name":"shop","provider":"","observe":false,"delivered":0,"failed":{"timeout":1},"duplicates":0,"handshakes":0,"stored":{"held":3},"bypassed":{},"observed":{},"rejected":{"stale_timestamp":2},` +
			`"last_delivered":null,"keys":[{"label":"1","last_used":null}],"key_problems":[],"tenants":{"cached":2,"max":50,"unknown":1,"lookups":{"found":3},"guessable":["bravo"],` +
			`"problem":{"tenant":"bravo","text":"status 502","time":"2026-11-21T12:00:00Z"}},"buffered_bytes":0,"inbox":null}]}`: Status{
			Since: at, Store: Store{Kind: "memory", Entries: 1}, Handlers: []Handler{{
				Name: "shop", Failed: map[string]uint64{"timeout": 1}, Stored: map[string]uint64{"held": 3}, Bypassed: map[string]uint64{}, Observed: map[string]uint64{}, Rejected: map[string]uint64{"stale_timestamp": 2}, Keys: []Key{{Label: "1"}}, KeyProblems: []string{},
				Tenants: &Tenants{Cached: 2, Max: 50, Unknown: 1, Lookups: map[string]uint64{"found": 3}, Guessable: []string{"bravo"}, Problem: &TenantProblem{Tenant: "bravo", Text: "status 502", Time: at}},
			}},
		},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%T: %v\n%s, want\n%s", v, err, got, want)
		}
	}
}
