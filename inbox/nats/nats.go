// Package nats keeps the deliveries of an inbox in a JetStream stream that any number of
// gateways share.
//
// # One record per key
//
// A delivery is a message on NAME.KEY.delivery, with its body. Its state, which changes,
// is a short message on NAME.KEY.state. The stream keeps the last message of each subject.
// Each message names the one that it follows, and the server refuses it if that is no
// longer the last of its key (Nats-Expected-Last-Subject-Sequence). So all gateways see
// the changes of a delivery in the same order, and if two gateways begin an attempt, only
// one succeeds. A removal is a message without a body in place of the delivery; it
// expires.
//
// Each gateway reads the headers of all messages, so it has all states in memory, as
// package bolt does: it finds, counts and chooses without asking the server. Its view may
// be some milliseconds old. That costs a refused message and nothing else, because the
// server decides.
//
// There is no work-queue consumer, because it cannot fulfil the contract: its pending
// messages cannot be found by key or made due sooner, delayed messages count against
// MaxAckPending and block the others, and a message with an acknowledgement deadline is
// attempted twice if the app takes longer.
//
// # Gateways that stop
//
// An attempt belongs to the gateway that makes it, as long as that gateway says that it
// is alive: in one message every 3 s, for all its attempts. After 10 s of silence another
// gateway declares it gone, and its attempts are pending again. So killing a gateway
// delays the deliveries that it was attempting by 7 to 14 s; closing one delays nothing.
// If a gateway is frozen, or cut off from the stream for that long, another one may repeat
// the attempts that it is still making. If the app then accepts one of them, that result
// counts.
//
// A gateway makes the first attempt of what it has accepted. Others make it after 10 s, or
// when that gateway stops.
//
// # What an acknowledgement is worth
//
// By default a NATS server writes to disk immediately but syncs every two minutes: a
// machine that loses power loses what it acknowledged since. With one replica, set
// sync_interval: always in the server's jetstream block. With three, any one machine may be
// lost; set it too if all can lose power together. A client cannot see sync_interval, so
// opening a stream with one replica logs a warning.
//
// The server must be version 2.11 or later, for messages that expire.
package nats

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/index"
)

// Options configure an [Engine]. Only Servers is required.
type Options struct {
	// Servers are the URLs of one or more servers of a cluster, such as
	// nats://nats-1:4222; the others are discovered. tls:// demands TLS.
	Servers []string

	// Credentials is the path of a .creds file: a JWT and its seed. It is read at each
	// connection. Default: the user in the URLs (nats://user:pass@host).
	Credentials string

	// TLS, if set, demands TLS of all servers and configures it, with client certificates
	// for servers that verify them. Default: TLS if a URL
	// begins with tls:// or the server demands it, with the system's authorities.
	TLS *tls.Config

	// Stream is the name of the stream: letters, digits, "-" and "_". It is created if
	// necessary. Gateways that use the same name share deliveries, so staging and
	// production need different ones. Default: verify_webhook_inbox.
	Stream string

	// Replicas is the number of servers that keep each message: 1, 3 or 5. Default: that
	// of the stream; 1 for a new one.
	Replicas int

	// MaxSize limits the size of all stored deliveries, pending or dead, in bytes. With
	// headers and marks the stream may need 2.5 times as much plus 64 MiB, which the
	// server reserves. Default: 1 GiB.
	MaxSize int64

	// Now is the wall clock. Gateways that share a stream should agree on the time.
	// Default: time.Now.
	Now func() time.Time

	// Logger reports a server that does not answer, a stream that does not keep its
	// promise, and deliveries that cannot be read. It gets keys, which are digests, but
	// never ids, bodies or credentials. Default: no logs.
	Logger *slog.Logger

	// Set by tests.
	lease    time.Duration // a gateway that is silent for longer is gone
	patience time.Duration // for the answer to one request
}

const (
	defaultStream   = "verify_webhook_inbox"
	defaultMaxSize  = 1 << 30
	defaultLease    = 10 * time.Second
	defaultPatience = 3 * time.Second // well below the lease
	beatsPerLease   = 3
)

// Engine implements [inbox.Engine].
type Engine struct {
	o       Options
	log     *slog.Logger
	changed chan struct{}
	retry   chan struct{} // the connection is back
	broken  chan error    // why reading the stream must end
	stop    chan struct{}
	ended   sync.WaitGroup

	mu        sync.Mutex
	queued    *sync.Cond // there is something to write, or the engine halts
	nc        *nats.Conn // nil before the first connection
	js        jetstream.JetStream
	stream    jetstream.Stream
	id        string
	health    error // nil: deliveries are stored
	idx       *index.Index[*entry]
	epoch     uint32 // counts how often the stream was read from its start: see sweep
	loaded    bool   // the whole stream has been read once
	accepting map[inbox.Key]*accept
	leaving   map[inbox.Key]*entry  // removed here, but not yet in the stream
	looking   map[inbox.Key]*uint64 // keys that the server is being asked for, with the last version received meanwhile
	queue     []*entry              // to be written
	urgent    []*entry              // to be written before queue: a caller is waiting
	unwritten int
	idle      []chan struct{} // closed when nothing is unwritten
	attempt   uint32          // serial of the last attempt
	serial    uint64          // serial of the last write
	self      session
	sessions  map[sessionID]*session // of other gateways
	damaged   int
	closed    bool
	halted    bool

	beating sync.Mutex // one beat at a time
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Open returns an engine that connects in the background, however long it takes. It fails
// only for a missing or invalid option, never for a problem with the servers.
func Open(o Options) (*Engine, error) {
	if len(o.Servers) == 0 {
		return nil, errors.New("inbox nats: no server (url nats://<host>:4222)")
	}
	if o.Stream == "" {
		o.Stream = defaultStream
	}
	if !streamName.MatchString(o.Stream) {
		return nil, errors.New(`inbox nats: a stream's name is 1 to 64 letters, digits, "-" and "_"`)
	}
	if o.Replicas < 0 || o.Replicas > 5 || o.Replicas > 0 && o.Replicas%2 == 0 {
		return nil, errors.New("inbox nats: replicas must be 1, 3 or 5")
	}
	o.MaxSize = sizeOf(o.MaxSize)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.lease == 0 {
		o.lease = defaultLease
	}
	if o.patience == 0 {
		o.patience = defaultPatience
	}
	e := &Engine{
		o: o, log: o.Logger.With("stream", o.Stream),
		changed: make(chan struct{}, 1), retry: make(chan struct{}, 1), broken: make(chan error, 1), stop: make(chan struct{}),
		health: errConnecting, idx: index.New[*entry](),
		accepting: make(map[inbox.Key]*accept), leaving: make(map[inbox.Key]*entry), looking: make(map[inbox.Key]*uint64),
		self: session{id: newSessionID()}, sessions: make(map[sessionID]*session),
	}
	e.queued = sync.NewCond(&e.mu)
	e.ended.Go(e.run)
	e.ended.Go(e.beat)
	for range writers {
		e.ended.Go(e.write)
	}
	return e, nil
}

func sizeOf(maxSize int64) int64 {
	if maxSize <= 0 {
		return defaultMaxSize
	}
	return maxSize
}

// Adjust changes Options.MaxSize and Options.Replicas while the engine is in use. The
// stream follows in the background; if the server refuses, that is logged, and the
// stream stays as it is.
func (e *Engine) Adjust(maxSize int64, replicas int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if maxSize = sizeOf(maxSize); maxSize == e.o.MaxSize && replicas == e.o.Replicas || e.halted {
		return
	}
	e.o.MaxSize, e.o.Replicas = maxSize, replicas
	if e.stream == nil {
		return // opening it does the rest
	}
	e.ended.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*e.o.patience)
		defer cancel()
		if _, err := e.open(ctx); err != nil {
			e.log.Error("the stream cannot be changed: it stays as it is until the next connection", "error", err)
		}
	})
}

var (
	errConnecting = errors.New("the inbox is connecting to NATS")
	errLost       = errors.New("the connection to NATS is lost")
	errClosed     = errors.New("the inbox is closed")
)

func newSessionID() (id sessionID) {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return sessionID(binary.BigEndian.Uint64(b[:]) | 1)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// subject returns the subject of messages of one kind for a key; "*" is any kind.
func (e *Engine) subject(key inbox.Key, kind string) string {
	return strings.Join([]string{e.o.Stream, key.String(), kind}, ".")
}

// Find implements [inbox.Engine].
func (e *Engine) Find(_ context.Context, key inbox.Key) (inbox.Entry, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.health != nil {
		return inbox.Entry{}, false, inbox.ErrUnavailable
	}
	e.purge()
	view, found := e.idx.Find(key)
	return view, found, nil
}

// Hasten implements [inbox.Engine]. It writes nothing: each gateway learns by itself how
// the app answers.
func (e *Engine) Hasten(_ context.Context, q inbox.Queue, h inbox.Hold) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.health != nil {
		return inbox.ErrUnavailable
	}
	e.idx.Hasten(q, h, e.o.Now().UnixNano())
	return nil
}

// Queues implements [inbox.Engine].
func (e *Engine) Queues(context.Context) ([]inbox.QueueStats, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.health != nil {
		return nil, inbox.ErrUnavailable
	}
	e.purge()
	return e.idx.Queues(), nil
}

// Status implements [inbox.Engine].
func (e *Engine) Status() inbox.Status {
	e.mu.Lock()
	nc := e.nc
	s := inbox.Status{
		ID: e.id, Health: e.health, Bytes: e.idx.Bytes, Limit: e.o.MaxSize,
		Unwritten: e.unwritten, Damaged: e.damaged, Shared: true,
	}
	e.mu.Unlock()
	if nc != nil {
		s.LargestBody = max(nc.MaxPayload()-bodyHeadroom, 1)
	}
	return s
}

// Changed implements [inbox.Engine]. It also receives when another gateway accepts or
// settles.
func (e *Engine) Changed() <-chan struct{} { return e.changed }

// Close implements [inbox.Engine].
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	again := e.closed
	e.closed, e.health = true, errClosed
	if !again {
		for _, x := range e.idx.Entries {
			if x.Attempt != 0 {
				e.idx.Change(x, func() { x.State, x.Attempt = inbox.Pending, 0 })
				e.touch(x)
			}
		}
	}
	e.mu.Unlock()
	if again {
		e.ended.Wait()
		return nil
	}
	err := e.await(ctx)
	if err == nil {
		err = e.leave(ctx)
	}
	e.halt()
	return err
}

// halt stops everything, even with unwritten marks. Other gateways notice the silence.
func (e *Engine) halt() {
	e.mu.Lock()
	if !e.halted {
		e.halted, e.closed, e.health = true, true, errClosed
		close(e.stop)
	}
	nc := e.nc
	e.mu.Unlock()
	e.queued.Broadcast()
	if nc != nil {
		nc.Close()
	}
	e.ended.Wait()
}

// await waits until nothing is unwritten.
func (e *Engine) await(ctx context.Context) error {
	e.mu.Lock()
	if e.unwritten == 0 {
		e.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	e.idle = append(e.idle, done)
	e.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("inbox nats: some marks are not written yet"), ctx.Err())
	}
}

// count adds to the number of unwritten marks. mu is held.
func (e *Engine) count(n int) {
	if e.unwritten += n; e.unwritten > 0 {
		return
	}
	for _, done := range e.idle {
		close(done)
	}
	e.idle = nil
}

var _ inbox.Engine = (*Engine)(nil)
