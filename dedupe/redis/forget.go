package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// forgottenFor is used if the server no longer knows the length of the window.
const forgottenFor = 31 * 24 * time.Hour

var (
	forget = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if not v then return 0 end
if string.sub(v, 1, 1) == 'I' then return -1 end
return redis.call('DEL', KEYS[1])`)

	forgetIf = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0`)
)

// Forget implements [dedupe.Forgetter]. It leaves a note for instances that remember
// the delivery themselves, for as long as they do.
func (s *Store) Forget(ctx context.Context, k dedupe.Key) (bool, error) {
	left, err := s.client.PTTL(ctx, s.key(k)).Result()
	if err == nil { // the note first, so that no instance restores it in between
		err = s.client.Set(ctx, s.note(k), "", max(left, forgottenFor)).Err()
	}
	if err != nil {
		return false, fmt.Errorf("redis forget: %w", err)
	}
	n, err := s.run(ctx, forget, k).Int()
	switch {
	case err != nil:
		return false, fmt.Errorf("redis forget: %w", err)
	case n < 0:
		_ = s.client.Del(ctx, s.note(k)).Err() // if it fails, one instance may forward one more copy
		return false, dedupe.ErrInFlight
	}
	return n == 1, nil
}

func (s *Store) note(k dedupe.Key) string { return s.prefix + "f:" + string(k[:]) }

// Forgotten implements [dedupe.SharedForgetter].
func (s *Store) Forgotten(ctx context.Context, k dedupe.Key) (bool, error) {
	n, err := s.client.Exists(ctx, s.note(k)).Result()
	if err != nil {
		return false, fmt.Errorf("redis forgotten: %w", err)
	}
	return n == 1, nil
}

// scanned is how many keys of the server one round trip looks at.
const scanned = 256

// ForgetStatus implements [dedupe.Forgetter]. It scans all keys of the server's
// database, and leaves notes as Forget does.
func (s *Store) ForgetStatus(ctx context.Context, status int) (gone []dedupe.Key, err error) {
	scan := func(ctx context.Context, c redis.Cmdable) error {
		for cursor := uint64(0); ; {
			names, next, err := c.Scan(ctx, cursor, globEscaped.Replace(s.prefix)+"*", scanned).Result()
			if err != nil {
				return err
			}
			keys, err := s.forgetAmong(ctx, s.keysOf(names), "D"+strconv.Itoa(status))
			gone = append(gone, keys...)
			if err != nil || next == 0 {
				return err
			}
			cursor = next
		}
	}
	if c, ok := s.client.(*redis.ClusterClient); ok {
		var mu sync.Mutex // the masters are visited concurrently
		err = c.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return scan(ctx, master)
		})
	} else {
		err = scan(ctx, s.client)
	}
	if err != nil {
		return gone, fmt.Errorf("redis forget: %w", err)
	}
	return gone, nil
}

// globEscaped makes a prefix match only itself.
var globEscaped = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `\`, `\\`)

// keysOf returns the keys of deliveries among the names of keys of the server, which
// also has notes.
func (s *Store) keysOf(names []string) (keys []dedupe.Key) {
	for _, name := range names {
		if k := strings.TrimPrefix(name, s.prefix); len(k) == len(dedupe.Key{}) {
			keys = append(keys, dedupe.Key([]byte(k)))
		}
	}
	return keys
}

// forgetAmong removes those of the keys that have a value, and returns them.
func (s *Store) forgetAmong(ctx context.Context, keys []dedupe.Key, value string) (gone []dedupe.Key, err error) {
	values, lefts := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	if err := s.each(ctx, keys, func(p redis.Pipeliner, i int) {
		values[i], lefts[i] = p.Get(ctx, s.key(keys[i])), p.PTTL(ctx, s.key(keys[i]))
	}); err != nil {
		return nil, err
	}
	var found []dedupe.Key
	var left []time.Duration
	for i, k := range keys {
		if values[i].Val() == value {
			found, left = append(found, k), append(left, lefts[i].Val())
		}
	}
	if err := s.each(ctx, found, func(p redis.Pipeliner, i int) { // the notes first, as in Forget
		p.Set(ctx, s.note(found[i]), "", max(left[i], forgottenFor))
	}); err != nil {
		return nil, err
	}
	removed := make([]*redis.Cmd, len(found))
	err = s.each(ctx, found, func(p redis.Pipeliner, i int) {
		removed[i] = forgetIf.Eval(ctx, p, []string{s.key(found[i])}, value)
	})
	for i, k := range found {
		if n, _ := removed[i].Int(); n == 1 {
			gone = append(gone, k)
		}
	}
	return gone, err
}

// each sends one or more commands for each key, in one round trip to each server.
func (s *Store) each(ctx context.Context, keys []dedupe.Key, add func(redis.Pipeliner, int)) error {
	if len(keys) == 0 {
		return nil
	}
	commands, _ := s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // its error may be that a key is gone
		for i := range keys {
			add(p, i)
		}
		return nil
	})
	for _, c := range commands {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}
