// Package logging writes what outlives a configuration to Caddy's current log, and
// limits the lines that strangers can cause.
package logging

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// MaxLines is how many lines a Limiter allows per second: a flood of forgeries must not
// fill a disk.
const MaxLines = 10

// A Limiter limits log lines in whole seconds. The zero value is ready to use.
type Limiter struct {
	mu         sync.Mutex
	second     int64
	n          int
	suppressed int
}

// Allow reports whether a line may be logged now, and which field it gets besides its
// own: the number of lines suppressed since the last one, if there are any.
func (l *Limiter) Allow(now time.Time) (ok bool, suppressed []zap.Field) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.n = s, 0
	}
	if l.n == MaxLines {
		l.suppressed++
		return false, nil
	}
	l.n++
	if l.suppressed > 0 {
		suppressed = []zap.Field{zap.Int("suppressed", l.suppressed)}
		l.suppressed = 0
	}
	return true, suppressed
}

// Current returns a logger that writes to verify_webhook.name in Caddy's current log: a
// store or an inbox outlives the configuration, and the log, under which it was opened.
func Current(name string) *slog.Logger { return slog.New(current{name: name}) }

type current struct {
	name  string
	attrs []slog.Attr
	group []string
}

func (c current) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (c current) Handle(ctx context.Context, r slog.Record) error {
	var h slog.Handler = zapslog.NewHandler(caddy.Log().Core(), zapslog.WithName(strings.Join(append([]string{"verify_webhook", c.name}, c.group...), ".")))
	return h.WithAttrs(c.attrs).Handle(ctx, r)
}

func (c current) WithAttrs(attrs []slog.Attr) slog.Handler {
	c.attrs = append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)
	return c
}

func (c current) WithGroup(name string) slog.Handler {
	c.group = append(c.group[:len(c.group):len(c.group)], name)
	return c
}
