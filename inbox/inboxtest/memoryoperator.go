package inboxtest

import (
	"context"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// Replay implements [inbox.Engine].
func (m *Memory) Replay(_ context.Context, s inbox.Selection, handler string) (int, error) {
	if s.Empty() {
		return 0, inbox.ErrEmptySelection
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return 0, inbox.ErrUnavailable
	}
	n := 0
	for _, r := range m.ordered(s) {
		switch r.State {
		case inbox.InAttempt:
			continue
		case inbox.Pending:
			if r.Hold == inbox.HoldRefused {
				r.Status = 0
			}
			r.Due, r.Hold, r.astray = m.Now(), inbox.HoldTurn, false
		default:
			m.revive(r)
			r.Replayed, r.Hold = true, inbox.HoldTurn
		}
		if n++; handler != "" && handler != r.Handler {
			r.Handler, r.d.Handler = handler, handler
			m.next++
			r.Position = m.next
		}
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
	return n, nil
}

// Discard implements [inbox.Engine].
func (m *Memory) Discard(_ context.Context, s inbox.Selection) (keys []inbox.Key, err error) {
	if s.Empty() {
		return nil, inbox.ErrEmptySelection
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ails != nil {
		return nil, inbox.ErrUnavailable
	}
	for _, r := range m.ordered(s) {
		keys = append(keys, r.Key)
		delete(m.records, r.Key)
	}
	return keys, nil
}
