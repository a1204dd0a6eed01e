package caddymodule

import (
	"context"
	"net"
	"sync"
)

// An entry keeps connections waiting until the app has started: Caddy starts apps in no
// particular order, and a server must not serve a configuration that is refused a moment
// later. Those of HTTP/3 do not wait: Caddy has no way to make them.
type entry struct {
	decided chan struct{}
	once    sync.Once
	refused bool
}

func (e *entry) end(started bool) {
	e.once.Do(func() {
		e.refused = !started
		if e.decided != nil { // provisioned
			close(e.decided)
		}
	})
}

// wait is a ConnContext of net/http.
func (e *entry) wait(ctx context.Context, c net.Conn) context.Context {
	<-e.decided
	if e.refused {
		_ = c.Close()
	}
	return ctx
}
