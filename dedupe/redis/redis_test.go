package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/storetest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// age subtracts d from the lifetime of every matching key: time passes without
// sleeping.
const age = `
for _, k in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', k) - ARGV[2]
  if left > 0 then redis.call('PEXPIRE', k, left) else redis.call('DEL', k) end
end
return 1`

var namespaces atomic.Int64

func subject(tb storetest.TB, o Options) storetest.Subject {
	tb.Helper()
	o.Namespace = fmt.Sprintf("test%d", namespaces.Add(1))
	s, err := Open(o)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() { s.Close() })
	return storetest.Subject{Store: s, Advance: func(d time.Duration) {
		if err := s.client.Eval(context.Background(), age, nil, s.prefix, d.Milliseconds()).Err(); err != nil {
			tb.Fatalf("advance: %v", err)
		}
	}}
}

func TestStandalone(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, func(tb storetest.TB, _ int) storetest.Subject {
		s := subject(tb, Options{Addresses: []string{server.Addr}, DB: 3})
		s.Break = func(ail bool) {
			if ail {
				server.Kill()
			} else {
				server.Restart()
			}
		}
		return s
	})
}

// The rights that docs/dedupe.md lists.
func TestUserAndPassword(t *testing.T) {
	acl := filepath.Join(t.TempDir(), "users.acl")
	users := "user default off\nuser gateway on >opensesame ~x:wh:* +@read +@write +@scripting +@connection\n"
	if err := os.WriteFile(acl, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t, "--aclfile", acl)
	for _, c := range []struct {
		user, password string
		ok             bool
	}{{"gateway", "opensesame", true}, {"gateway", "wrong", false}, {"", "", false}} {
		s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x", Username: c.user, Password: c.password})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if c.ok {
			walk(t, s)
		}
		_, err = s.Claim(t.Context(), dedupe.NewKey(c.password), dedupe.NewToken(), time.Minute)
		if (err == nil) != c.ok {
			t.Errorf("user %q password %q: %v", c.user, c.password, err)
		}
		if err != nil && c.password != "" && strings.Contains(err.Error(), c.password) {
			t.Error("the error holds the password")
		}
	}
}

func TestCluster(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes")
	boot, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	defer boot.Close()
	if err := boot.client.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for {
		info, err := boot.client.ClusterInfo(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			break
		}
	}
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "c", Mode: Cluster})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	walk(t, s)
}

func TestSentinel(t *testing.T) {
	master := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, "main", master)
	s, err := Open(Options{Addresses: []string{sentinel.Addr}, Namespace: "s", Mode: Sentinel, Master: "main"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	walk(t, s)
}

func TestTLS(t *testing.T) {
	ca, cert, key := certtest.New(t)
	pool, _, err := configfile.Authorities(ca)
	if err != nil {
		t.Fatal(err)
	}
	tlsServer := redistest.StartTLS(t, cert, key)
	s, err := Open(Options{Addresses: []string{tlsServer.Addr}, Namespace: "t", TLS: &tls.Config{RootCAs: pool}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	walk(t, s)

	stranger, err := Open(Options{Addresses: []string{tlsServer.Addr}, Namespace: "t", TLS: &tls.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Claim(t.Context(), dedupe.NewKey("x"), dedupe.NewToken(), time.Minute); err == nil {
		t.Error("a certificate of an unknown authority was accepted")
	}
}

// walk takes one delivery through its states, to show that every call works.
func walk(t *testing.T, s *Store) {
	t.Helper()
	ctx, k, tok := t.Context(), dedupe.NewKey("walk"), dedupe.NewToken()
	if st, err := s.Claim(ctx, k, tok, time.Minute); err != nil || st.Phase != dedupe.Claimed {
		t.Fatalf("claim: %v %v", st, err)
	}
	if held, err := s.Renew(ctx, k, tok, time.Minute); err != nil || !held {
		t.Fatalf("renew: %v %v", held, err)
	}
	if err := s.Release(ctx, k, tok); err != nil {
		t.Fatalf("release: %v", err)
	}
	if err := s.Done(ctx, k, dedupe.Mark{Status: 200, TTL: time.Minute}); err != nil {
		t.Fatalf("done: %v", err)
	}
	if st, err := s.Claim(ctx, k, tok, time.Minute); err != nil || st.Phase != dedupe.Done {
		t.Fatalf("claim of a done one: %v %v", st, err)
	}
	if found, err := s.Forget(ctx, k); err != nil || !found {
		t.Fatalf("forget: %v %v", found, err)
	}
	if err := s.Done(ctx, k, dedupe.Mark{Status: 1000, TTL: time.Minute}); err != nil {
		t.Fatalf("done: %v", err)
	}
	if gone, err := s.ForgetStatus(ctx, 1000); err != nil || len(gone) != 1 || gone[0] != k {
		t.Fatalf("forget a status: %v %v", gone, err)
	}
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	server := redistest.Start(t)
	k := dedupe.NewKey("same")
	for _, ns := range []string{"staging", "production", "p*", `p\*`, "p?[a-z]", "p"} {
		s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if st, err := s.Claim(t.Context(), k, dedupe.NewToken(), time.Minute); err != nil || st.Phase != dedupe.Claimed {
			t.Errorf("%s: %v %v", ns, st, err)
		}
		if err := s.Done(t.Context(), k, dedupe.Mark{Status: 1000, TTL: time.Minute}); err != nil {
			t.Errorf("%s: %v", ns, err)
		}
		defer func() {
			if gone, err := s.ForgetStatus(t.Context(), 1000); err != nil || len(gone) != 1 {
				t.Errorf("%s forgets %v %v, want its own", ns, gone, err)
			}
		}()
	}
}

func TestAForeignValueIsAnError(t *testing.T) {
	server := redistest.Start(t)
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := dedupe.NewKey("k")
	s.client.Set(t.Context(), s.key(k), "something else", 0)
	if st, err := s.Claim(t.Context(), k, dedupe.NewToken(), time.Minute); err == nil {
		t.Errorf("got %v, want an error", st)
	}
}

// A server out of memory refuses claims immediately; the gate then decides alone. What
// the server has it still knows.
func TestOutOfMemoryIsAnError(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	s, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Done(t.Context(), dedupe.NewKey("before"), dedupe.Mark{Status: 200, TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := s.client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Claim(t.Context(), dedupe.NewKey("before"), dedupe.NewToken(), time.Minute); err != nil || st.Phase != dedupe.Done {
		t.Errorf("claim of a done one: got %v %v", st, err)
	}
	if _, err := s.Claim(t.Context(), dedupe.NewKey("k"), dedupe.NewToken(), time.Minute); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("claim: got %v, want OOM", err)
	}
	if err := s.Done(t.Context(), dedupe.NewKey("k"), dedupe.Mark{Status: 200, TTL: time.Minute}); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("done: got %v, want OOM", err)
	}
}

// A server before 7.0 refuses NX with GET.
func TestAnOldServer(t *testing.T) {
	server := startFake(t)
	s, err := Open(Options{Addresses: []string{server.addr}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	result := make(chan dedupe.State, 1)
	go func() {
		st, err := s.Claim(t.Context(), dedupe.NewKey("k"), dedupe.NewToken(), time.Minute)
		if err != nil {
			t.Error(err)
		}
		result <- st
	}()
	server.next(t, 1)[0].answer("-ERR syntax error\r\n")
	for _, reply := range []string{"-NOSCRIPT No matching script.\r\n", "$1\r\nC\r\n"} {
		r := server.next(t, 1)[0]
		if !strings.HasPrefix(r.args[0], "eval") {
			t.Errorf("got %q, want a script", r.args[0])
		}
		r.answer(reply)
	}
	if st := <-result; st.Phase != dedupe.Claimed {
		t.Errorf("got %v, want claimed", st)
	}
}

func TestADeadServerAnswersWithinTheBudget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Open(Options{Addresses: []string{l.Addr().String()}, Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := s.Claim(ctx, dedupe.NewKey(fmt.Sprint(i)), dedupe.NewToken(), time.Minute); err == nil {
				t.Error("a silent server took a claim")
			}
			if took := time.Since(start); took > 900*time.Millisecond {
				t.Errorf("took %v, want about 500ms", took)
			}
		})
	}
	wg.Wait()
}

func TestOptions(t *testing.T) {
	ok := Options{Addresses: []string{"localhost:6379"}, Namespace: "x"}
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no address", func(o *Options) { o.Addresses = nil }, "address"},
		{"no namespace", func(o *Options) { o.Namespace = "" }, "namespace"},
		{"sentinel without master", func(o *Options) { o.Mode = Sentinel }, "mode sentinel <master>"},
		{"master without sentinel", func(o *Options) { o.Master = "m" }, "only in mode sentinel"},
		{"db in a cluster", func(o *Options) { o.Mode = Cluster; o.DB = 1 }, "only db 0"},
		{"several servers", func(o *Options) { o.Addresses = []string{"a:1", "b:1"} }, "mode cluster"},
		{"unknown mode", func(o *Options) { o.Mode = "ring" }, "unknown mode: want"},
		{"URL", func(o *Options) { o.Addresses = []string{"redis://:opensesame@localhost:6379"} }, "not host:port"},
		{"password in the address", func(o *Options) { o.Addresses = []string{"user:opensesame@localhost:6379"} }, "not host:port"},
		{"no port", func(o *Options) { o.Addresses = []string{"opensesame"} }, "not host:port"},
		{"one of several", func(o *Options) { o.Mode, o.Addresses = Cluster, []string{"a:1", "opensesame"} }, "not host:port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := ok
			c.change(&o)
			if _, err := Open(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %q", err, c.want)
			} else if strings.Contains(err.Error(), "opensesame") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
	for _, address := range []string{"localhost:6379", "[::1]:6379", ":6379", "/run/redis.sock"} {
		if err := (Options{Addresses: []string{address}, Namespace: "x"}).Validate(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
