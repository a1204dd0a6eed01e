package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what all verify_webhook handlers of a configuration share.
type App struct {
	// Where is remembered which deliveries the app has taken. Default: memory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.handlers.verify_webhook.stores inline_key=store"`

	// What keeps deliveries that the app has not accepted, of the handlers that have
	// an inbox. Default: bolt.
	InboxRaw json.RawMessage `json:"inbox,omitempty" caddy:"namespace=http.handlers.verify_webhook.inboxes inline_key=inbox"`

	// How many bytes deliveries may hold at once, over all handlers: their bodies,
	// and 64 KiB for each that the app is working on. Beyond it deliveries are
	// answered 503 with Retry-After. Where there are several handlers, one holds at
	// most half of it. Default: 268435456 (256 MiB).
	MaxBuffered *int64 `json:"max_buffered,omitempty"`

	// How many of the newest refused deliveries of each handler are kept in
	// memory, to be explained to the operator: at most 64 KiB of each, and 4 MiB
	// over all handlers. 0 keeps nothing. Default: 16.
	KeepRejected *int `json:"keep_rejected,omitempty"`

	// How many of the newest genuine deliveries of each handler are kept in memory
	// for the operator, of those that went to the app and, besides, of the others,
	// such as duplicates: times, outcome, the app's status and identifiers, never a
	// body or a header. Over all handlers at most 65536, and 32 MiB. 0 keeps nothing.
	// Default: 256.
	KeepDeliveries *int `json:"keep_deliveries,omitempty"`

	http     func() *caddyhttp.App // nil without a configuration around it
	located  sync.Once
	siteOf   map[*placement.Handler]*placement.Site // see site
	store    StoreModule
	inbox    InboxModule
	mu       sync.Mutex
	holds    bool // a reference to the store, and to the inbox if there is one
	ended    bool // and gave them up for good
	box      *box // nil without an inbox
	handlers []*Handler
	logger   *zap.Logger
	storage  keys.Storage // Caddy's
	polling  sync.WaitGroup
	unfollow context.CancelFunc // ends the fetching of published keys
}

const (
	defaultMaxBuffered = 256 << 20
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "verify_webhook", New: func() caddy.Module { return new(App) }}
}

// Provision prepares the app. It changes nothing that a running configuration
// uses: caddy validate and a rejected reload come this far too.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger, a.http, a.storage = ctx.Logger(), httpApp(ctx), ctx.Storage()
	if a.MaxBuffered == nil {
		a.MaxBuffered = new(int64(defaultMaxBuffered))
	}
	if *a.MaxBuffered <= 0 {
		return fmt.Errorf("max_buffered: %d: give a positive size, such as 256MiB", *a.MaxBuffered)
	}
	if n := a.keptPerHandler(); n < 0 {
		return fmt.Errorf("keep_rejected: %d: give the number of rejections to keep of each handler, or 0 for none", n)
	}
	if n := a.deliveriesPerHandler(); n < 0 {
		return fmt.Errorf("keep_deliveries: %d: give the number of deliveries to keep of each handler, or 0 for none", n)
	}
	var err error
	if a.store, err = loadStore(ctx, a); err != nil {
		return err
	}
	a.inbox, err = loadInbox(ctx, a)
	return err
}

// register makes a handler one of those that share the app, and gives each its
// share of the budget: Caddy starts apps in no order, so the server may have
// requests for them before Start.
func (a *App) register(h *Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h.placed.Place = len(a.handlers)
	a.handlers = append(a.handlers, h)
	share := *a.MaxBuffered
	if len(a.handlers) > 1 {
		share /= 2
	}
	for _, h := range a.handlers {
		h.buffered.limit.Store(share)
	}
}

// Start opens the store, puts the limits into force and begins to watch the key
// files and to fetch what senders publish.
func (a *App) Start() error {
	if err := a.advise(current()); err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	buffered.limit.Store(*a.MaxBuffered)
	a.warnAboutBodies()
	a.begins()
	var ctx context.Context
	ctx, a.unfollow = context.WithCancel(context.Background())
	for _, h := range a.handlers {
		h.adviseInbox()
		h.keys.Follow(ctx, a.storage, &a.polling)
	}
	a.followInbox(ctx)
	return nil
}

// warnAboutBodies names handlers whose largest bodies are never taken.
func (a *App) warnAboutBodies() {
	for _, h := range a.handlers {
		if most := h.buffered.limit.Load(); h.maxBody >= most {
			a.logger.Warn("max_body is more than this handler may hold of max_buffered, so that larger bodies are answered 503 for ever: raise max_buffered or lower max_body",
				zap.String("name", h.Name), zap.Int64("max_body", h.maxBody), zap.Int64("most", most-1))
		}
	}
}

// open takes the configuration's reference to the store, at Start or at the first
// delivery: Caddy starts apps in no order, and a mark that is made before Start
// must not be gone with the delivery that made it.
func (a *App) open() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holds || a.ended {
		return nil
	}
	gate, err := acquire(a.store)
	if err != nil {
		return err
	}
	a.holds = true
	a.openInbox()
	if r, ok := a.store.(Resizer); ok {
		r.Resize(gate)
	}
	go gate.Check() // a server that is down delays no start
	return nil
}

// gate returns the open store with a reference for one delivery.
func (a *App) gate() (*dedupe.Gate, error) {
	if err := a.open(); err != nil {
		return nil, err
	}
	return acquire(a.store)
}

// Stop does nothing: Caddy stops apps in no order, and the server goes on taking
// deliveries while shutdown_delay runs and connections are drained. They need
// keys that are followed, and above all the store: one that is closed now would
// be opened again by each of them, and have forgotten what was done.
func (*App) Stop() error { return nil }

// Cleanup ends the watching and gives up the store, once all apps have stopped,
// or when the configuration never came into force. Deliveries in flight keep the
// store.
func (a *App) Cleanup() error {
	a.ends()
	if a.unfollow != nil {
		a.unfollow()
	}
	a.polling.Wait()

	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if !a.holds {
		return nil
	}
	a.holds = false
	a.closeInbox()
	return release(a.store)
}

// named returns the handlers of a name, all without one.
func (a *App) named(name string) (handlers []*Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.handlers {
		if name == "" || h.Name == name {
			handlers = append(handlers, h)
		}
	}
	return handlers
}

// handlersNow are the handlers with their keys of now; a nil App has none.
func (a *App) handlersNow() []rejected.Handler {
	if a == nil {
		return nil
	}
	all := a.named("")
	now := make([]rejected.Handler, 0, len(all))
	for _, h := range all {
		now = append(now, h.seen(h.keys.Current()))
	}
	return now
}

// keptPerHandler is how many rejections of a handler are kept.
func (a *App) keptPerHandler() int { return orElse(a.KeepRejected, rejected.PerHandler) }

// deliveriesPerHandler is how many deliveries of a handler are kept.
func (a *App) deliveriesPerHandler() int { return orElse(a.KeepDeliveries, history.PerHandler) }

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
