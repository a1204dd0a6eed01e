package nats

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ block, want string }{ // want "": accepted
		{"url nats://nats-1:4222 tls://nats-2:4222\nstream hooks\nreplicas 3\nmax_size 2GiB\nconcurrency 4", ""},
		{"url nats://127.0.0.1:4222", ""},
		{"", "url: missing"},
		{"stream hooks", "url: missing"},
		{"url", "url: 0 arguments"},
		{"url nats-1:4222", "write nats://HOST:4222"},
		{"url s3cr3t-of-the-server", "not repeated here"},
		{"url nats://x:4222\nurl nats://y:4222", "already set"},
		{"url nats://x:4222\nreplicas 2", "write 1, 3 or 5"},
		{"url nats://x:4222\nreplicas none", "positive number"},
		{"url nats://x:4222\nstream a.b", "stream: write"},
		{"url nats://x:4222\nstream a b", "stream: 2 arguments"},
		{"url nats://x:4222\nmax_size 0", "positive size"},
		{"url nats://x:4222\ncredentials /nowhere/at.creds", "credentials: stat /nowhere/at.creds"},
		{"url nats://x:4222\ncredentials " + os.DevNull, "credentials: " + os.DevNull + ": not a regular file"},
		{"url nats://x:4222\nstreem hooks", "did you mean stream?"},
		{"s3cr3t-of-the-server", "not repeated here"},
	} {
		i := new(Inbox)
		err := i.UnmarshalCaddyfile(caddyfile.NewTestDispenser("nats {\n" + tc.block + "\n}"))
		if err == nil {
			err = i.Provision(caddy.Context{})
		}
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%q: %v", tc.block, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%q: the error is %v, want %q", tc.block, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("%q: the error quotes what may be a secret: %v", tc.block, err)
		}
	}
}

// TestIdentity: each option makes another inbox, so that the next configuration opens
// it as it says.
func TestIdentity(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, i := range []Inbox{
		{URL: []string{"nats://a"}}, {URL: []string{"nats://b"}}, {URL: []string{"nats://a"}, Stream: "s"}, {URL: []string{"nats://a"}, Replicas: new(3)},
		{URL: []string{"nats://a"}, Credentials: "c"}, {URL: []string{"nats://a"}, MaxSize: new(int64(1))}, {URL: []string{"nats://a"}, Concurrency: new(1)},
	} {
		if id := i.Identity(); seen[id] {
			t.Errorf("%+v: the identity of another one", i)
		} else {
			seen[id] = true
		}
	}
}

// TestAZeroIsNotTheDefault: in JSON a zero is an error, as in the Caddyfile.
func TestAZeroIsNotTheDefault(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"replicas", "max_size", "concurrency"} {
		i := new(Inbox)
		if err := json.Unmarshal([]byte(`{"url":["nats://x:4222"],"`+field+`":0}`), i); err != nil {
			t.Fatal(err)
		}
		if err := i.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), field+": 0: write") {
			t.Errorf("%s: 0: %v", field, err)
		}
	}
}
