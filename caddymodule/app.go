package caddymodule

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what all verify_webhook handlers of a configuration share.
type App struct {
	// How many bytes of bodies may be in memory at once, over all handlers.
	// Beyond it deliveries are answered 503 with Retry-After. Where there are
	// several handlers, one holds at most half of it. Default: 268435456 (256 MiB).
	MaxBuffered *int64 `json:"max_buffered,omitempty"`

	mu       sync.Mutex
	handlers []*Handler
	logger   *zap.Logger
	stop     chan struct{}
	polling  sync.WaitGroup
}

const (
	defaultMaxBuffered = 256 << 20

	// keyPollInterval is how often key files are read again. Polling, because
	// what mounts secrets swaps symbolic links, which file events miss.
	keyPollInterval = 2 * time.Second
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "verify_webhook", New: func() caddy.Module { return new(App) }}
}

// Provision prepares the app. It changes nothing that a running configuration
// uses: caddy validate and a rejected reload come this far too.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if a.MaxBuffered == nil {
		a.MaxBuffered = new(int64(defaultMaxBuffered))
	}
	if *a.MaxBuffered <= 0 {
		return fmt.Errorf("max_buffered: %d: give a positive size, such as 256MiB", *a.MaxBuffered)
	}
	return nil
}

// register makes a handler one of those that share the app, and gives each its
// share of the budget: Caddy starts apps in no order, so the server may have
// requests for them before Start.
func (a *App) register(h *Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handlers = append(a.handlers, h)
	share := *a.MaxBuffered
	if len(a.handlers) > 1 {
		share /= 2
	}
	for _, h := range a.handlers {
		h.buffered.limit.Store(share)
	}
}

// Start puts the limit of the whole process into force and begins to watch the
// key files.
func (a *App) Start() error {
	buffered.limit.Store(*a.MaxBuffered)
	watched := make([]*keyring, 0, len(a.handlers))
	for _, h := range a.handlers {
		if h.keys.watches() {
			watched = append(watched, h.keys)
		}
	}
	if len(watched) == 0 {
		return nil
	}
	a.stop = make(chan struct{})
	a.polling.Go(func() {
		ticker := time.NewTicker(keyPollInterval)
		defer ticker.Stop()
		for {
			select {
			case <-a.stop:
				return
			case <-ticker.C:
			}
			for _, k := range watched {
				if err := k.refresh(); err != nil {
					k.logger.Error("keys cannot be used", zap.Error(err))
				}
			}
		}
	})
	return nil
}

// Stop ends the watching. Deliveries in flight keep their handler's keys.
func (a *App) Stop() error {
	if a.stop != nil {
		close(a.stop)
		a.polling.Wait()
	}
	return nil
}

// Interface guards
var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)
)
