package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App is shared by all verify_webhook handlers of a configuration.
type App struct {
	// The store of accepted deliveries. Default: memory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.handlers.verify_webhook.stores inline_key=store"`

	// The storage of deliveries that the app has not accepted, for handlers with an
	// inbox. Default: bolt.
	InboxRaw json.RawMessage `json:"inbox,omitempty" caddy:"namespace=http.handlers.verify_webhook.inboxes inline_key=inbox"`

	// Limit of the bytes that deliveries may hold, over all handlers: their bodies,
	// and 64 KiB for each one at the app. Beyond it deliveries are answered 503 with
	// Retry-After. With several handlers, one holds at most half of it. Default:
	// 268435456 (256 MiB).
	MaxBuffered *int64 `json:"max_buffered,omitempty"`

	// How many of the newest refused deliveries of each handler are kept in memory,
	// to be explained to the operator: at most 64 KiB of each, and 4 MiB over all
	// handlers. 0 keeps none. Default: 16.
	KeepRejected *int `json:"keep_rejected,omitempty"`

	// How many of the newest genuine deliveries of each handler are kept in memory
	// for the operator, separately for those that went to the app and others such as
	// duplicates: times, outcome, the app's status and identifiers, never a body or a
	// header. Over all handlers at most 65536, and 32 MiB. 0 keeps none. Default:
	// 256.
	KeepDeliveries *int `json:"keep_deliveries,omitempty"`

	http     func() *caddyhttp.App // nil without a configuration around it
	located  sync.Once
	siteOf   map[*placement.Handler]*placement.Site // see site
	placesOf map[*placement.Handler]placement.Places
	grouped  sync.Once
	beside   map[placement.Block][][]appview.Reading // see besides
	store    stores.Module
	inbox    *boxes.Configuration
	mu       sync.Mutex
	holds    bool // has a reference to the store, and to the inbox if there is one
	ended    bool // has released them for good
	handlers []*Handler
	prepared map[*caddyhttp.Server]bool // see forFollowing
	logger   *zap.Logger
	storage  keys.Storage // Caddy's
	polling  sync.WaitGroup
	entry    entry
	unfollow context.CancelFunc // stops fetching published keys
}

const (
	defaultMaxBuffered = 256 << 20
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "verify_webhook", New: func() caddy.Module { return new(App) }}
}

// UnmarshalJSON decodes the app as strictly as Caddy does, and refuses empty texts,
// those of its store and its inbox too: see [option.NoEmptyText].
func (a *App) UnmarshalJSON(data []byte) error {
	type plain App
	if err := caddy.StrictUnmarshalJSON(data, (*plain)(a)); err != nil {
		return err
	}
	return option.NoEmptyText(data)
}

// Provision prepares the app. It changes nothing that a running configuration uses:
// caddy validate and a rejected reload also provision.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger, a.http, a.storage = ctx.Logger(), httpApp(ctx), ctx.Storage()
	a.entry.decided = make(chan struct{})
	if a.MaxBuffered == nil {
		a.MaxBuffered = new(int64(defaultMaxBuffered))
	}
	if *a.MaxBuffered <= 0 {
		return fmt.Errorf("max_buffered: %d: give a positive size, such as 256MiB", *a.MaxBuffered)
	}
	if n := a.keptPerHandler(); n < 0 {
		return fmt.Errorf("keep_rejected: %d: write the number of rejections to keep for each handler, or 0 for none", n)
	}
	if n := a.deliveriesPerHandler(); n < 0 {
		return fmt.Errorf("keep_deliveries: %d: write the number of deliveries to keep for each handler, or 0 for none", n)
	}
	var err error
	if a.store, err = stores.Load(ctx, a, "StoreRaw", a.StoreRaw); err != nil {
		return err
	}
	if a.inbox, err = inboxes.Load(ctx, a, "InboxRaw", a.InboxRaw); err != nil {
		return err
	}
	return a.checkFiles()
}

// checkFiles refuses one file for the store and the inbox: it would be locked twice, and
// the inbox could not open it.
func (a *App) checkFiles() error {
	store, isFile := a.store.(*stores.Bolt)
	box, isBolt := a.inbox.Module.(*boxes.Bolt)
	if !isFile || !isBolt {
		return nil
	}
	one, _ := os.Stat(store.Path) // nil, which is no file's, if it does not exist yet
	two, _ := os.Stat(box.Path)
	if store.Path == box.Path || os.SameFile(one, two) {
		return fmt.Errorf("store bolt and inbox bolt: path: both name the file %s: give each a file of its own", store.Path)
	}
	return nil
}

// register adds a handler, and gives each its share of the budget: Caddy starts apps
// in no particular order, so requests may arrive before Start.
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

// Start opens the store, begins to watch key files and to fetch published keys, and lets
// connections in, unless it refuses the configuration.
func (a *App) Start() error {
	err := a.start()
	a.entry.end(err == nil)
	return err
}

func (a *App) start() error {
	if err := a.advise(current()); err != nil {
		return err
	}
	for _, h := range a.handlers {
		if err := h.tenants.checkCase(); err != nil {
			return h.fail(err)
		}
	}
	if err := a.open(); err != nil {
		return err
	}
	a.warnAboutBodies()
	a.begins()
	var ctx context.Context
	ctx, a.unfollow = context.WithCancel(context.Background())
	a.takeOver(ctx)
	for _, h := range a.handlers {
		h.adviseInbox()
		h.keys.Follow(ctx, a.storage, &a.polling)
	}
	a.inbox.Follow(ctx, &a.polling)
	return nil
}

// warnAboutBodies warns of handlers whose max_body exceeds their share of the budget.
func (a *App) warnAboutBodies() {
	for _, h := range a.handlers {
		if most := h.buffered.limit.Load(); h.maxBody >= most {
			a.logger.Warn("max_body exceeds this handler's share of max_buffered, so larger bodies are always answered 503: raise max_buffered or lower max_body",
				zap.String("name", h.Name), zap.Int64("max_body", h.maxBody), zap.Int64("most", most-1))
		}
	}
}

// open takes the configuration's reference to the store, at Start or at the first
// delivery, whichever is first: without it, a mark made before Start would be lost
// with its delivery.
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
	a.inbox.Open()
	go gate.Check() // a server that is down does not delay the start
	return nil
}

// gate returns the open store with a reference for one delivery.
func (a *App) gate() (*dedupe.Gate, error) {
	if err := a.open(); err != nil {
		return nil, err
	}
	return acquire(a.store)
}

// box returns the open inbox with a reference for one delivery to a handler, or nil.
func (a *App) box(handler string) *boxes.Box {
	if err := a.open(); err != nil {
		return nil
	}
	return a.inbox.BoxFor(handler)
}

// Stop does nothing: Caddy stops apps in no particular order, and the server still
// accepts deliveries during shutdown_delay and while connections drain. They need
// watched keys and, above all, the store: closed now, it would be reopened for each
// of them and have forgotten its dones.
func (*App) Stop() error { return nil }

// Cleanup stops watching and releases the store, when all apps have stopped or the
// configuration never came into force. Deliveries in flight keep the store open.
func (a *App) Cleanup() error {
	a.entry.end(false)
	a.ends()
	if a.unfollow != nil {
		a.unfollow()
	}
	a.polling.Wait()

	a.mu.Lock()
	holds := a.holds
	a.ended, a.holds = true, false
	a.mu.Unlock()
	if !holds {
		return nil
	}
	a.inbox.Close()
	return release(a.store)
}

// named returns the handlers with a name, or all for "".
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

// keysNow returns the current keys of all handlers.
func (a *App) keysNow() []*keys.Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*keys.Snapshot, 0, len(a.handlers))
	for _, h := range a.handlers {
		all = append(all, h.keys.Current())
	}
	return all
}

// handlersNow returns the handlers with their current keys; none for a nil App.
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

// keptPerHandler is the number of rejections kept for a handler.
func (a *App) keptPerHandler() int { return orElse(a.KeepRejected, rejected.PerHandler) }

// deliveriesPerHandler is the number of deliveries kept for a handler.
func (a *App) deliveriesPerHandler() int { return orElse(a.KeepDeliveries, history.PerHandler) }

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
