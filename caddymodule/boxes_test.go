package caddymodule

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
		a := &App{logger: zap.New(core)}
		for name, h := range map[string]*Handler{
			"larger":   {Inbox: new(Inbox), maxBody: 1001},
			"as large": {Inbox: new(Inbox), maxBody: 1000},
			"without":  {maxBody: 1001},
		} {
			h.Name = name
			a.handlers = append(a.handlers, h)
		}
		a.compareBodies(t.Context(), &tightEngine{opens: time.Now().Add(time.Hour)})
		all := logs.All()
		if len(all) != 1 || !strings.HasPrefix(all[0].Message, "max_body exceeds what the inbox can store") || all[0].ContextMap()["name"] != "larger" {
			t.Errorf("warnings: %+v", all)
		}
		if !slices.Contains(all[0].Context, zap.Int64("most", 1000)) {
			t.Errorf("the limit is missing: %+v", all[0].Context)
		}
	})
}
