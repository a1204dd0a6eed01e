package integration

import (
	"encoding/hex"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

const redisNamespace = "integration"

// redisStore is the global option for a Redis, with further lines.
func redisStore(address, more string) string {
	return "verify_webhook {\nstore redis {\naddress " + address + "\nnamespace " + redisNamespace + "\n" + more + "\n}\n}"
}

// boltStore is the global option for a file.
func boltStore(path string) string {
	return "verify_webhook {\nstore bolt {\npath " + path + "\n}\n}"
}

// eachStore runs a test with every store. Without a Redis server on the machine
// that part is skipped.
func eachStore(t *testing.T, test func(t *testing.T, global string)) {
	t.Helper()
	for _, store := range []string{"memory", "bolt", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			switch store {
			case "memory":
				test(t, "")
			case "bolt":
				test(t, boltStore("DIR/dedupe.db"))
			case "redis":
				test(t, redisStore(redistest.Start(t).Addr, ""))
			}
		})
	}
}

// inRedis returns the value of a delivery's key, "" if there is none.
func inRedis(t testing.TB, s *redistest.Server, key string) string {
	t.Helper()
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != 16 {
		t.Fatalf("Webhook-Delivery: %q", key)
	}
	value, err := redisClient(t, s).Get(t.Context(), redisNamespace+":wh:"+string(raw)).Result()
	if err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	return value
}

// redisDo runs a command.
func redisDo(t testing.TB, s *redistest.Server, args ...any) {
	t.Helper()
	if err := redisClient(t, s).Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("redis %v: %v", args, err)
	}
}

func redisClient(t testing.TB, s *redistest.Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, ReadTimeout: patience, DialTimeout: patience})
	t.Cleanup(func() { c.Close() })
	return c
}
