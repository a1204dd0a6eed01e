// Package redis is the dedupe store that several instances of the gateway share:
// Redis or Valkey, 7 or later; one server, Sentinel, or Cluster.
//
// A delivery is one key, so that a cluster needs no cross-slot operation, and
// every step is one round trip. Leases and windows run on the server's clock. A
// server that fails over may forget the last claims and dones, because its
// replicas lag: then a delivery comes twice, but none is lost.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// Mode is how the servers are arranged.
type Mode string

const (
	Standalone Mode = "standalone" // one server; the default
	Sentinel   Mode = "sentinel"   // Addresses are the sentinels of Options.Master
	Cluster    Mode = "cluster"    // Addresses are some of the nodes
)

// Options say where the store is. Addresses and Namespace are required.
type Options struct {
	Addresses []string // host:port
	Mode      Mode     // default: Standalone
	Master    string   // the name of the monitored master; Sentinel only

	// Namespace is the prefix of every key. It separates what must not see each
	// other's deliveries: staging and production on one server would otherwise lose
	// them.
	Namespace string

	Username string
	Password string
	DB       int // not in a cluster, which has only 0

	TLS *tls.Config // nil: a plain connection
}

// Store implements [dedupe.Store].
type Store struct {
	client  redis.UniversalClient
	batcher *batcher // nil in a cluster, where a batch would wait for the slowest node
	prefix  string
}

// Open checks the options and returns a store. It does not connect yet: a server that
// is down at start matters only to the first claim.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	u := o.universal()
	var c redis.UniversalClient
	switch o.Mode {
	case Sentinel:
		c = redis.NewFailoverClient(u.Failover())
	case Cluster:
		c = redis.NewClusterClient(u.Cluster())
	default:
		c = redis.NewClient(u.Simple())
	}
	s := &Store{client: c, prefix: o.Namespace + ":wh:"}
	if o.Mode != Cluster {
		s.batcher = &batcher{client: c, wait: batchWait}
	}
	return s, nil
}

// Validate reports the first problem of the options. It does not connect.
func (o Options) Validate() error {
	switch {
	case len(o.Addresses) == 0:
		return errors.New("redis: no address (address <host:port>)")
	case o.Namespace == "":
		return errors.New("redis: no namespace; one keeps staging and production on one server apart (namespace <text>)")
	case o.Mode == Sentinel && o.Master == "":
		return errors.New("redis: mode sentinel requires the name of the master (mode sentinel <master>)")
	case o.Mode != Sentinel && o.Master != "":
		return errors.New("redis: a master is named only in mode sentinel")
	case o.Mode == Cluster && o.DB != 0:
		return errors.New("redis: a cluster has only db 0")
	case (o.Mode == "" || o.Mode == Standalone) && len(o.Addresses) > 1:
		return errors.New("redis: several addresses require mode sentinel <master> or mode cluster")
	}
	for _, address := range o.Addresses {
		// Not repeated: a URL may contain the password, which the log of a failed
		// dial would show.
		if _, _, err := net.SplitHostPort(address); !strings.HasPrefix(address, "/") && (err != nil || strings.Contains(address, "/")) {
			return errors.New("redis: an address is not host:port: write no URL; username, password, db and tls are separate options")
		}
	}
	switch o.Mode {
	case "", Standalone, Sentinel, Cluster:
		return nil
	}
	return errors.New("redis: unknown mode: want standalone, sentinel or cluster")
}

// universal sets time limits. go-redis's defaults add up to more than 20 s in the
// worst case, longer than any sender waits; the gate allows 500 ms for a claim or a
// done.
func (o Options) universal() *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:      o.Addresses,
		MasterName: o.Master,
		Username:   o.Username,
		Password:   o.Password,
		DB:         o.DB,
		TLSConfig:  o.TLS,

		DialTimeout:           500 * time.Millisecond,
		DialerRetries:         1, // the default tries five times, 100 ms apart
		ReadTimeout:           300 * time.Millisecond,
		WriteTimeout:          300 * time.Millisecond,
		ContextTimeoutEnabled: true,

		// One retry hides a connection that the server has closed. Every command may
		// be repeated: a claim knows its own token.
		MaxRetries:      1,
		MinRetryBackoff: 8 * time.Millisecond,
		MaxRetryBackoff: 50 * time.Millisecond,

		PoolSize:         max(32, 10*runtime.GOMAXPROCS(0)),
		PipelinePoolSize: -1, // batches find connections that are open
		PoolTimeout:      400 * time.Millisecond,
		MinIdleConns:     2,
		ConnMaxIdleTime:  5 * time.Minute,
		ConnMaxLifetime:  30 * time.Minute,

		// Valkey and others do not support these, and each costs a round trip at
		// connect.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// A value is 'I' and the token of the claim, or 'D' and the app's status. Only a
// script can compare and set in one step on the server; DELEX and SET IFEQ do the
// same, but need Redis 8.4 or Valkey 9. A script costs the server five times as much
// as a command, so the claim of an absent key is none.
var (
	claim = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if not v then
  redis.call('SET', KEYS[1], 'I' .. ARGV[1], 'PX', ARGV[2])
  return 'C'
end
if v == 'I' .. ARGV[1] then -- the reply was lost and the client asks again
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'C'
end
return v`)

	renew = redis.NewScript(`
if redis.call('GET', KEYS[1]) == 'I' .. ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0`)

	release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == 'I' .. ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0`)
)

func (s *Store) key(k dedupe.Key) string { return s.prefix + string(k[:]) }

func (s *Store) do(ctx context.Context, args ...any) *redis.Cmd {
	c := redis.NewCmd(ctx, args...)
	if s.batcher != nil {
		return s.batcher.do(ctx, c)
	}
	_ = s.client.Process(ctx, c)
	return c
}

func (s *Store) run(ctx context.Context, script *redis.Script, k dedupe.Key, args ...any) *redis.Cmd {
	c := s.do(ctx, append([]any{"evalsha", script.Hash(), 1, s.key(k)}, args...)...)
	if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
		return script.Eval(ctx, s.client, []string{s.key(k)}, args...)
	}
	return c
}

// Claim implements [dedupe.Store].
func (s *Store) Claim(ctx context.Context, k dedupe.Key, t dedupe.Token, lease time.Duration) (dedupe.State, error) {
	mine := "I" + string(t[:])
	v, err := s.do(ctx, "set", s.key(k), mine, "nx", "get", "px", lease.Milliseconds()).Text()
	if errors.Is(err, redis.Nil) {
		return dedupe.State{Phase: dedupe.Claimed}, nil
	}
	// The script extends a claim that is ours already. It also answers for a server
	// that is full, and for one before 7.0, which refuses NX with GET.
	if refused := redis.Error(nil); v == mine || errors.As(err, &refused) {
		v, err = s.run(ctx, claim, k, t[:], lease.Milliseconds()).Text()
	}
	if err != nil {
		return dedupe.State{}, fmt.Errorf("redis claim: %w", err)
	}
	return parse(v)
}

func parse(v string) (dedupe.State, error) {
	switch {
	case v == "C":
		return dedupe.State{Phase: dedupe.Claimed}, nil
	case v != "" && v[0] == 'I':
		return dedupe.State{Phase: dedupe.InFlight}, nil
	case v != "" && v[0] == 'D':
		status, err := strconv.Atoi(v[1:])
		if err == nil {
			return dedupe.State{Phase: dedupe.Done, Status: status}, nil
		}
	}
	return dedupe.State{}, errors.New("redis claim: the key holds a value that is not ours; is the namespace somebody else's?")
}

// Renew implements [dedupe.Store].
func (s *Store) Renew(ctx context.Context, k dedupe.Key, t dedupe.Token, lease time.Duration) (bool, error) {
	n, err := s.run(ctx, renew, k, t[:], lease.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("redis renew: %w", err)
	}
	return n == 1, nil
}

// Done implements [dedupe.Store]. Rooms do not apply to the server's memory: when it
// is full, its maxmemory-policy decides.
func (s *Store) Done(ctx context.Context, k dedupe.Key, m dedupe.Mark) error {
	// PX must be at least 1 ms.
	ttl := max(m.TTL, time.Millisecond)
	if _, err := s.do(ctx, "set", s.key(k), "D"+strconv.Itoa(m.Status), "px", ttl.Milliseconds()).Text(); err != nil {
		return fmt.Errorf("redis done: %w", err)
	}
	return nil
}

// Release implements [dedupe.Store].
func (s *Store) Release(ctx context.Context, k dedupe.Key, t dedupe.Token) error {
	if _, err := s.run(ctx, release, k, t[:]).Int(); err != nil {
		return fmt.Errorf("redis release: %w", err)
	}
	return nil
}

// Health implements [dedupe.Store]. It returns nil: calls to an unhealthy server
// fail.
func (s *Store) Health() error { return nil }

// Close closes the connections.
func (s *Store) Close() error { return s.client.Close() }

var (
	_ dedupe.Store           = (*Store)(nil)
	_ dedupe.SharedForgetter = (*Store)(nil)
)
