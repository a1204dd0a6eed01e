// Package nats keeps the deliveries of an inbox in a JetStream stream, which any
// number of gateways share.
//
// # One record a key
//
// A delivery is a message on NAME.KEY.delivery, with its body; what changes (its
// state) is a short one on NAME.KEY.state. The stream keeps the last message of each
// subject. Every message says which one it was written after, and the server refuses
// it if that is not the last of its key any more
// (Nats-Expected-Last-Subject-Sequence). So changes of one delivery are in one order
// for all gateways, and of two gateways that begin an attempt one begins it. A
// removal is a message without a body in the delivery's place, which expires.
//
// Each gateway reads the headers of all messages, and so has all states in memory,
// as package bolt has: it finds, counts and chooses without asking the server. What
// it knows may be some milliseconds old. That costs a refused message, and nothing
// else: the server decides.
//
// There is no work-queue consumer, because it cannot keep the contract: what waits
// in it can neither be found by key nor made due sooner, what is delayed counts
// against MaxAckPending and so holds up the rest, and a message that is acknowledged
// by its deadline has had two attempts if the app took longer.
//
// # Gateways that end
//
// An attempt belongs to the gateway that makes it, for as long as that says that it
// is there: in one message every 3 s, however many attempts it makes. After 10 s of
// silence another one writes that it is gone, and its attempts are pending again.
// So a gateway that is killed in an attempt delays that delivery by 7 to 14 s, and
// one that is closed by nothing. A gateway that is alive but cut off from the stream
// for so long, or stopped, may end an attempt that another one makes again. If the
// app took it, that is what counts.
//
// What a gateway accepts it tries first itself. Others try it after 10 s, or when
// that gateway ends.
//
// # What an acknowledgement is worth
//
// By default a NATS server writes to its disk at once, but syncs every two minutes:
// a machine that loses its power loses what it acknowledged since. With one replica,
// set sync_interval: always in the server's jetstream block. With three, one machine
// may be lost at any time; if all may lose power at once, set it as well. No client
// can see sync_interval, so opening a stream of one replica logs a warning.
//
// The server must be 2.11 or newer, for messages that expire.
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

// Options configure an [Engine]. Only Servers must be set.
type Options struct {
	// Servers are the URLs of one or more servers of a cluster, such as
	// nats://nats-1:4222; the others are found through them. tls:// demands TLS.
	Servers []string

	// Credentials is the path of a .creds file: a JWT and the seed that proves it. It
	// is read at each connection. Default: what the URLs say (nats://user:pass@host).
	Credentials string

	// TLS, if set, demands TLS of all servers, and says whom to trust. Default: TLS where
	// a URL begins with tls:// or a server demands it, with the system's authorities.
	TLS *tls.Config

	// Stream is the name of the stream: letters, digits, "-" and "_". It is made if
	// need be. What shares a name shares its deliveries, so staging and production need
	// two. Default: verify_webhook_inbox.
	Stream string

	// Replicas is how many servers keep each message: 1, 3 or 5. Default: what the
	// stream has; 1 for a new one.
	Replicas int

	// MaxSize bounds the bytes of the deliveries that are stored, pending or dead. The
	// stream may take 2.5 times that and 64 MiB, which the server reserves: headers and
	// marks. Default: 1 GiB.
	MaxSize int64

	// MaxBody is the longest body that a handler accepts, in bytes. If the server's
	// max_payload is too small for it, opening logs a warning. Default: not compared.
	MaxBody int64

	// Now is the wall clock, and tells what is due: those of gateways that share a
	// stream should agree. Default: time.Now.
	Now func() time.Time

	// Logger hears of a server that does not answer, a stream that does not keep what
	// is promised, and deliveries that cannot be read. It is told keys, which are
	// digests, but never ids, bodies or credentials. Default: silence.
	Logger *slog.Logger

	// Set by tests.
	lease    time.Duration // after which a silent gateway is gone
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
	broken  chan error    // why the reading of the stream is to end
	stop    chan struct{}
	ended   sync.WaitGroup

	mu        sync.Mutex
	queued    *sync.Cond // there is something to write, or it stops
	nc        *nats.Conn // nil: there was no connection yet
	js        jetstream.JetStream
	stream    jetstream.Stream
	id        string
	health    error // nil: deliveries are stored
	idx       *index.Index[*entry]
	epoch     uint32 // of the reading of the stream: see sweep
	loaded    bool   // the whole stream was read once
	accepting map[inbox.Key]*accept
	leaving   map[inbox.Key]*entry  // removed, and the stream does not know yet
	looking   map[inbox.Key]*uint64 // the server is asked for a key: the last version that came in meanwhile
	queue     []*entry              // to be written
	urgent    []*entry              // to be written before those: somebody waits
	unwritten int
	idle      []chan struct{} // closed once nothing is unwritten
	attempt   uint32          // the serial of the last one
	serial    uint64          // of the last write
	self      session
	sessions  map[sessionID]*session // of the others
	damaged   int
	closed    bool
	halted    bool

	beating sync.Mutex // one beat at a time
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Open returns an engine that connects in the background, and for as long as it
// takes: until then, Accept refuses. The error is an option that is missing or
// wrong, never what is wrong with the servers.
func Open(o Options) (*Engine, error) {
	if len(o.Servers) == 0 {
		return nil, errors.New("inbox nats: no server (url nats://<host>:4222)")
	}
	if o.Stream == "" {
		o.Stream = defaultStream
	}
	if !streamName.MatchString(o.Stream) {
		return nil, errors.New(`inbox nats: the name of a stream is 1 to 64 letters, digits, "-" and "_"`)
	}
	if o.Replicas < 0 || o.Replicas > 5 || o.Replicas > 0 && o.Replicas%2 == 0 {
		return nil, errors.New("inbox nats: replicas is 1, 3 or 5")
	}
	if o.MaxSize <= 0 {
		o.MaxSize = defaultMaxSize
	}
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

var (
	errConnecting = errors.New("the inbox connects to NATS")
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

// subject is where the messages of one kind of a key are; "*" is any kind.
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

// Hasten implements [inbox.Engine]. It is not written: each gateway hears of an app
// by itself.
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
	defer e.mu.Unlock()
	return inbox.Status{
		ID: e.id, Health: e.health, Bytes: e.idx.Bytes, Limit: e.o.MaxSize,
		Unwritten: e.unwritten, Damaged: e.damaged,
	}
}

// Changed implements [inbox.Engine]. It also receives when another gateway accepts
// or settles.
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

// halt ends all that runs, whatever is not written. Others learn of it by silence.
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

// count adds to what is unwritten. Mu is held.
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
