package history

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
)

// A View converts deliveries for display. It redacts the gateway's secrets, since a
// sender may be configured to send a key as its id. The zero View is ready to use, in
// one goroutine and for one request.
type View struct {
	known map[*keys.Snapshot]bool
	hide  func(string) string
}

// Show converts deliveries, in order. now are the current keys.
func (v *View) Show(list []*Delivery, now []*keys.Snapshot) []adminapi.Delivery {
	for _, d := range list {
		v.learn(d.Keys)
	}
	for _, k := range now {
		v.learn(k)
	}
	if v.hide == nil {
		var all []*keys.Snapshot
		for k := range v.known {
			all = append(all, k)
		}
		v.hide = rejected.Hide(all)
	}
	shown := make([]adminapi.Delivery, 0, len(list))
	for _, d := range list {
		shown = append(shown, adminapi.Delivery{
			Cursor: Cursor(d.Seq), Time: d.Time.UTC(), Name: d.Name, Provider: d.Provider, Tenant: d.Tenant, Outcome: string(d.Outcome), Reason: d.Reason,
			Attempt: d.Attempt, Status: d.Status, AppSeconds: d.App.Seconds(),
			ID: v.hide(d.ID), Event: v.hide(d.Event), Key: d.Key, Delivery: d.Delivery,
		})
	}
	return shown
}

func (v *View) learn(k *keys.Snapshot) {
	if k == nil || v.known[k] {
		return
	}
	if v.known == nil {
		v.known = make(map[*keys.Snapshot]bool)
	}
	v.known[k], v.hide = true, nil
}

// process distinguishes cursors of this process from those of others.
var process = strconv.FormatInt(time.Now().UnixNano(), 36)

// Cursor names the position after the delivery with this Seq.
func Cursor(seq uint64) string { return fmt.Sprintf("%s-%d", process, seq) }

// ParseCursor returns the Seq of a cursor, or 0, before everything, if the cursor is
// invalid or from another process.
func ParseCursor(cursor string) uint64 {
	number, ours := strings.CutPrefix(cursor, process+"-")
	if !ours {
		return 0
	}
	seq, _ := strconv.ParseUint(number, 10, 64) // 0 if invalid
	return seq
}
