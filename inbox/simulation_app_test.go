package inbox_test

import (
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// A call is one attempt as the app saw it.
type call struct {
	by         *gateway
	start, end time.Duration
	stored     bool // from the inbox
	took       bool
	settled    bool // the gateway lived to record it
	elsewhere  bool // it was taken by an app that no configuration has any more
}

func result(c *call) inbox.Result {
	if c.took || c.elsewhere {
		return inbox.Result{Status: 200}
	}
	return inbox.Result{Status: 503}
}

// app is the app: sometimes it fails or is slow; it finishes every call.
func (s *sim) app(by *gateway, e *event, stored bool) *call {
	s.mu.Lock()
	c := &call{by: by, start: s.now(), stored: stored}
	if by.isDead() {
		s.mu.Unlock()
		return c // killed before it could forward
	}
	e.calls = append(e.calls, c)
	lasts := time.Duration(1+s.rnd.IntN(200)) * time.Millisecond
	if s.rnd.IntN(20) == 0 {
		lasts = 8 * time.Second
	}
	fails := s.rnd.IntN(10) == 0
	c.elsewhere = s.v.oldConfig && stored && e.configuration != s.configuration
	s.mu.Unlock()
	time.Sleep(lasts)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.end, c.took = s.now(), !s.down && !fails && !c.elsewhere
	c.settled = !by.isDead()
	return c
}
