package caddymodule

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

func init() {
	caddy.RegisterModule(new(BoltInbox))
}

// Inbox keeps genuine deliveries that the app does not accept, and retries them until
// it does.
type Inbox struct {
	// Store each delivery and answer its sender before calling the app, for slow apps
	// or impatient senders. Default: the app is called first and answers the sender
	// itself; deliveries that it does not accept are stored.
	First bool `json:"first,omitempty"`
	// How long the sender waits for the app. Then the delivery is stored and the
	// sender answered while the attempt continues. Default: 4s.
	After *caddy.Duration `json:"after,omitempty"`
	// The pauses after the first, second, … attempt; the last repeats. Each varies by
	// ±20 %. A Retry-After of the app, at most 1h, is a lower bound. Default: 5s 30s
	// 2m 10m 30m 1h 2h 4h 8h 12h.
	Retry []caddy.Duration `json:"retry,omitempty"`
	// How long it is retried before it is a dead letter. Default: 3d.
	Expire *caddy.Duration `json:"expire,omitempty"`
	// Statuses of the app that make it a dead letter immediately. Default: 410.
	DeadOn []int `json:"dead_on,omitzero"`
	// How long a delivered one is kept for replay. Default: not kept.
	Keep *caddy.Duration `json:"keep,omitempty"`
}

const defaultAfter = caddy.Duration(4 * time.Second)

func (i *Inbox) patience() time.Duration { return time.Duration(orElse(i.After, defaultAfter)) }

// policy returns the handler's retry policy.
func (i *Inbox) policy() inbox.Policy {
	p := inbox.Policy{Expire: time.Duration(orElse(i.Expire, 0)), DeadOn: i.DeadOn, Keep: time.Duration(orElse(i.Keep, 0))}
	for _, d := range i.Retry {
		p.Retry = append(p.Retry, time.Duration(d))
	}
	if i.DeadOn == nil {
		p.DeadOn = []int{410}
	}
	return p
}

// checkInbox refuses invalid settings.
func (h *Handler) checkInbox() error {
	i := h.Inbox
	if i == nil {
		return nil
	}
	switch {
	case h.Dedupe != nil && h.Dedupe.Off:
		return errors.New("inbox: it needs dedupe to recognise copies of stored deliveries: remove dedupe off")
	case i.First && h.Handshake != nil && h.Handshake.Off:
		return errors.New("inbox first: the sender would not get the app's answer to a handshake: remove handshake off, or write inbox")
	case i.First && h.provider != nil && h.provider.ReadsAnswer:
		return fmt.Errorf("inbox first: %s: the sender uses the app's response, which would come too late: write inbox, so that the app is called first", h.provider.Name)
	case i.patience() <= 0:
		return errors.New("inbox: after: give a positive duration, such as 4s")
	case i.Expire != nil && *i.Expire <= 0:
		return errors.New("inbox: expire: give a positive duration, such as 3d")
	case i.Keep != nil && *i.Keep < 0:
		return errors.New("inbox: keep: give a duration, such as 24h, or 0s for none")
	case slices.ContainsFunc(i.Retry, func(d caddy.Duration) bool { return d <= 0 }):
		return errors.New("inbox: retry: give positive durations, such as 5s 30s 2m")
	case slices.ContainsFunc(i.DeadOn, func(s int) bool { return s < 300 || s > 599 }):
		return errors.New("inbox: dead_on: give statuses from 300 to 599, such as 410")
	}
	return nil
}

// adviseInbox warns of requests whose response would come too late, of an app that
// refuses late deliveries, and of a secret that the inbox keeps in plain text.
func (h *Handler) adviseInbox() {
	if h.Inbox == nil {
		return
	}
	if h.Inbox.First && h.provider != nil && h.provider.ReadsAnswerTo != "" {
		h.logger.Warn("inbox first: the sender uses the app's response to "+h.provider.ReadsAnswerTo+", but gets duplicate_response (default: 200, empty): if you have them, let a handler with inbox receive them",
			zap.String("name", h.Name))
	}
	scheme := h.rules.Scheme()
	if t := scheme.Timestamp; t != nil && !t.Off && h.SignUpstream == "" {
		h.logger.Warn("inbox: the sender's signature has a timestamp, so an app that checks the signature itself refuses late deliveries: let it rely on Webhook-Verified, or write sign_upstream",
			zap.String("name", h.Name))
	}
	if b, ok := h.app.inbox.(*BoltInbox); ok && len(b.Encrypt) == 0 && scheme.UsesToken() {
		h.logger.Warn("inbox: each delivery contains the sender's secret, so the inbox file holds it in plain text: encrypt it with the global option { verify_webhook { inbox bolt { encrypt {file./path/of/key} } } }",
			zap.String("name", h.Name))
	}
}

// inbox reads
//
//	inbox [first] {
//		after   <duration>
//		retry   <duration>...
//		expire  <duration>
//		dead_on <status>...
//		keep    <duration>
//	}
//
// An unset variable in the place of first means that the app is asked first, which
// keeps the promise.
func (p *parser) inbox(name string, args []string) error {
	p.h.Inbox = new(Inbox)
	switch {
	case len(args) == 1 && args[0] == "first":
		p.h.Inbox.First = true
	case len(args) > 0 && (args[0] == "bolt" || args[0] == "nats"):
		return p.Errf("inbox: the engine is the same for all handlers: write it among the global options, { verify_webhook { inbox %s } }, and here inbox or inbox first", args[0])
	case len(args) > 0 && !(len(args) == 1 && args[0] == ""):
		return p.Errf("inbox: write inbox, or inbox first, and perhaps a block with after, retry, expire, dead_on, keep")
	}
	_, err := option.Block(p.Dispenser, name, p.h.Inbox.option)
	return err
}

func (i *Inbox) option(word string, args []string) (err error) {
	switch word {
	case "retry":
		for _, arg := range args {
			d, err := option.Duration(arg)
			if err != nil {
				return fmt.Errorf("retry: %w", err)
			}
			i.Retry = append(i.Retry, *d)
		}
		if len(args) == 0 {
			return errors.New("retry: write the pauses between attempts, such as 5s 30s 2m 10m; the last repeats")
		}
		return nil
	case "dead_on":
		for _, arg := range args {
			status, err := strconv.Atoi(arg)
			if err != nil || status < 300 || status > 599 {
				return errors.New("dead_on: write statuses from 300 to 599, such as 410")
			}
			i.DeadOn = append(i.DeadOn, status)
		}
		if len(args) == 0 {
			return errors.New("dead_on: write at least one status, such as 410")
		}
		return nil
	case "after", "expire", "keep":
	default:
		return option.Unknown(word, "after", "retry", "expire", "dead_on", "keep")
	}
	if len(args) != 1 {
		return fmt.Errorf("%s: write one duration, such as 4s; an unset {$VARIABLE} vanishes", word)
	}
	switch word {
	case "after":
		i.After, err = option.Duration(args[0])
	case "expire":
		i.Expire, err = option.Duration(args[0])
	case "keep":
		var d time.Duration
		if d, err = caddy.ParseDuration(args[0]); err != nil || d < 0 {
			return errors.New("keep: write a duration, such as 24h, or 0s for none")
		}
		i.Keep = new(caddy.Duration(d))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

// An InboxModule is a guest module of the namespace
// http.handlers.verify_webhook.inboxes that opens an engine. Its Provision must not
// connect to or open anything, as caddy validate runs it too.
type InboxModule interface {
	// Identity determines which configurations share an engine: the place where it
	// keeps deliveries.
	Identity() string
	// Engine opens the engine in the background. It is called when the configuration
	// starts, unless one of the same Identity is open.
	Engine(logger *slog.Logger) (inbox.Engine, error)
	// Adjust applies all other options to the open inbox, whose engine is one of this
	// Identity. It is called when the configuration is in force. With an error, the
	// inbox keeps the options that it has.
	Adjust(*inbox.Box) error
}

// BoltInbox keeps deliveries in a file of this process.
type BoltInbox struct {
	// The file. Only one process can open it at a time; NFS is not supported.
	// Default: verify_webhook/inbox.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
	// Limit of the size of all deliveries in bytes, pending or dead. Beyond it
	// deliveries go to the app immediately. Default: 1073741824 (1 GiB).
	MaxSize *int64 `json:"max_size,omitempty"`
	// Limit of concurrent attempts over all handlers. Default: 16.
	Concurrency *int `json:"concurrency,omitempty"`
	// Keys that encrypt bodies and headers: 32 random bytes each, as base64 or hex,
	// literal, {env.NAME} or {file./path}. The first encrypts, all decrypt. Default:
	// none.
	Encrypt []string `json:"encrypt,omitempty"`

	keys       [][]byte
	unreadable error // of a key file
}

// CaddyModule returns the Caddy module information.
func (*BoltInbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: inboxNamespace + ".bolt", New: func() caddy.Module { return new(BoltInbox) }}
}

// inboxNamespace is the namespace of engine modules.
const inboxNamespace = "http.handlers.verify_webhook.inboxes"

// Provision checks the options and makes the path absolute.
func (b *BoltInbox) Provision(caddy.Context) error {
	if b.Path == "" {
		b.Path = filepath.Join(caddy.AppDataDir(), "verify_webhook", "inbox.db")
	}
	path, err := filepath.Abs(b.Path)
	if err != nil {
		return fmt.Errorf("inbox bolt: path %s: %w", b.Path, err)
	}
	b.Path = path
	if b.MaxSize != nil && *b.MaxSize <= 0 {
		return fmt.Errorf("inbox bolt: max_size: %d: give a positive size, such as 1GiB", *b.MaxSize)
	}
	if b.Concurrency != nil && *b.Concurrency <= 0 {
		return fmt.Errorf("inbox bolt: concurrency: %d: give a positive number, such as 16", *b.Concurrency)
	}
	b.keys = nil
	for _, value := range b.Encrypt {
		text, err := keys.Resolve(value)
		if _, ok := errors.AsType[*fs.PathError](err); ok { // does not stop the start: see Engine
			b.unreadable = fmt.Errorf("inbox bolt: encrypt: %w", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("inbox bolt: encrypt: %w", err)
		}
		key, err := encryptionKey(text)
		if err != nil {
			return fmt.Errorf("inbox bolt: encrypt: %w", err)
		}
		b.keys = append(b.keys, key)
	}
	return nil
}

// encryptionKey decodes 32 bytes and refuses guessable ones. The error does not repeat
// the text.
func encryptionKey(text string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == 32 {
			return key, keys.CheckKey(key)
		}
	}
	return nil, errors.New("a key is 32 random bytes as base64 or hex: make one with openssl rand -base64 32")
}

// Identity implements InboxModule.
func (b *BoltInbox) Identity() string { return "bolt\x00" + b.Path }

// Engine implements InboxModule. Without one of its keys nothing is stored, and the
// file is left alone.
func (b *BoltInbox) Engine(logger *slog.Logger) (inbox.Engine, error) {
	if b.unreadable != nil {
		return nil, b.unreadable
	}
	return bolt.Open(bolt.Options{Path: b.Path, MaxSize: orElse(b.MaxSize, 0), Keys: b.keys, Logger: logger})
}

// Adjust implements InboxModule. Without one of its keys nothing changes: what is open
// goes on storing with those that it has.
func (b *BoltInbox) Adjust(box *inbox.Box) error {
	if b.unreadable != nil {
		return b.unreadable
	}
	box.Limit(orElse(b.Concurrency, 0))
	return box.Engine().(*bolt.Store).Adjust(orElse(b.MaxSize, 0), b.keys)
}

// loadInbox returns the configured engine's module, or that of the default file.
func loadInbox(ctx caddy.Context, a *App) (InboxModule, error) {
	if len(a.InboxRaw) == 0 {
		b := new(BoltInbox)
		return b, b.Provision(ctx)
	}
	module, err := ctx.LoadModule(a, "InboxRaw")
	if err != nil {
		var named struct {
			Inbox string `json:"inbox"`
		}
		if json.Unmarshal(a.InboxRaw, &named) == nil {
			if _, missing := caddy.GetModule(inboxNamespace + "." + named.Inbox); missing != nil {
				return nil, inboxNotCompiledIn(named.Inbox)
			}
		}
		return nil, err
	}
	engine, ok := module.(InboxModule)
	if !ok {
		return nil, fmt.Errorf("inbox: %T is not an inbox engine", module)
	}
	return engine, nil
}

func inboxNotCompiledIn(name string) error {
	if name == "nats" {
		return errors.New("inbox nats is not in this Caddy: build one with it: xcaddy build --with " + modulePath + " --with " + modulePath + "/caddymodule/nats")
	}
	return errors.New("inbox: an unknown engine (not repeated here, as it may be a secret): bolt is built in, nats is one more --with")
}

// needsInbox reports whether the configuration has an inbox, or the default one still
// holds deliveries. a.mu is held.
func (a *App) needsInbox() bool {
	if len(a.InboxRaw) > 0 || slices.ContainsFunc(a.handlers, func(h *Handler) bool { return h.Inbox != nil }) {
		return true
	}
	b, ok := a.inbox.(*BoltInbox)
	if !ok {
		return false
	}
	_, err := os.Stat(b.Path)
	return err == nil
}

// policies returns the retry policies of all handlers by name. One without an inbox
// still delivers what an earlier configuration stored.
func (a *App) policies() map[string]inbox.Policy {
	all := make(map[string]inbox.Policy)
	for _, h := range a.named("") {
		if h.Inbox != nil {
			all[h.Name] = h.Inbox.policy()
		} else if _, known := all[h.Name]; !known {
			all[h.Name] = inbox.Policy{}
		}
	}
	return all
}

// Interface guards
var (
	_ InboxModule       = (*BoltInbox)(nil)
	_ caddy.Provisioner = (*BoltInbox)(nil)
)
