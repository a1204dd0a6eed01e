package boxes

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A tightEngine is open from a time on, and stores bodies of at most 1000 bytes.
type tightEngine struct {
	inbox.Engine
	opens time.Time
}

func (e *tightEngine) Status() inbox.Status {
	if time.Now().Before(e.opens) {
		return inbox.Status{Health: errors.New("it is opening")}
	}
	return inbox.Status{LargestBody: 1000}
}

// TestBodiesThatTheInboxCannotStoreAreWarnedOf: once the inbox is open, for each handler
// that has one and accepts larger bodies.
func TestBodiesThatTheInboxCannotStoreAreWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		c := &Configuration{logger: zap.New(core), handlers: []Handler{
			{Name: "larger", Policy: new(inbox.Policy), MaxBody: 1001},
			{Name: "as large", Policy: new(inbox.Policy), MaxBody: 1000},
			{Name: "without", MaxBody: 1001},
		}}
		c.compareBodies(t.Context(), &tightEngine{opens: time.Now().Add(time.Hour)})
		all := logs.All()
		if len(all) != 1 || !strings.HasPrefix(all[0].Message, "max_body exceeds what the inbox can store") || all[0].ContextMap()["name"] != "larger" {
			t.Errorf("warnings: %+v", all)
		}
		if !slices.Contains(all[0].Context, zap.Int64("most", 1000)) {
			t.Errorf("the limit is missing: %+v", all[0].Context)
		}
	})
}

// TestPoliciesOfHandlersWithoutAnInbox: what is stored for one whose inbox was removed is
// still delivered.
func TestPoliciesOfHandlersWithoutAnInbox(t *testing.T) {
	all := running(t, Handler{Name: "acme"}, Handler{Name: "acme", Policy: &inbox.Policy{Expire: time.Hour}}, Handler{Name: "acme"}, Handler{Name: "bravo"}).policies()
	if _, known := all["bravo"]; !known || all["acme"].Expire != time.Hour || len(all) != 2 {
		t.Errorf("%+v", all)
	}
}
