package integration

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestARefusedConfigurationServesNothing: Caddy starts apps in random order, so a server
// may listen before its configuration is refused. Without a gate, half of the starts let
// requests through.
func TestARefusedConfigurationServesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, setup{level: "INFO", site: githubSite})
	g.quit(t)
	g.setup.site = "handle /api/* {\nverify_webhooks /api/hooks/* {\nsender github {env.GITHUB_KEY}\nreverse_proxy APP\n}\n}\nreverse_proxy APP"
	var strangers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		strangers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond): // only limits the load
				}
				conn, err := net.Dial("tcp", g.address)
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(50 * time.Millisecond)) // whether it is answered does not matter
				fmt.Fprintf(conn, "POST /x?case=refused HTTP/1.1\r\nHost: %s\r\nWebhook-Verified: github\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", g.address)
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			}
		})
	}
	for range 5 {
		g.log, g.exited = newLogbook(), make(chan struct{})
		if err := g.begin(); err == nil || !strings.Contains(err.Error(), "does not see every request") {
			t.Errorf("it starts, or fails for another reason: %v", err)
		}
	}
	close(stop)
	strangers.Wait()
	if got := g.app.got("refused"); len(got) > 0 {
		t.Errorf("a refused configuration passed on %d requests, such as %+v", len(got), got[0])
	}
}
