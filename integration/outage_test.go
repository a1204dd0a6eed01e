package integration

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestOutageIsBridgedInMemory: an attempt is not its sender's. With lb_try_duration
// the proxy goes on trying an app that is down when the sender has long hung up;
// the sender's next attempt learns that the app took it.
func TestOutageIsBridgedInMemory(t *testing.T) {
	t.Parallel()
	address := freeAddress() // nobody listens here yet
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY} {\n\tupstream_timeout 2m\n}\n" +
		"reverse_proxy " + address + " {\n\tlb_try_duration 2m\n\tlb_try_interval 50ms\n}"})
	const deliveries = 5
	var senders sync.WaitGroup
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	messages := make([]message, deliveries)
	ids := make([]string, deliveries)
	for i := range messages {
		messages[i], ids[i] = at("/").message(t), newCase()
		senders.Go(func() {
			if a, err := g.post(ctx, g.h1, ids[i], messages[i]); err == nil {
				t.Errorf("answered %d while the app was down", a.status)
			}
		})
	}
	inFlight := func(n string) bool {
		response, err := http.Get("http://" + g.admin + "/verify_webhook/status")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), `"in_flight":`+n)
	}
	eventually(t, "all are in flight", func() bool { return inFlight("5") })
	hangUp()
	senders.Wait()

	server := &http.Server{Addr: address, Handler: g.app}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	eventually(t, "none is in flight", func() bool { return inFlight("0") })
	for i, id := range ids {
		if n := len(g.app.got(id)); n != 1 {
			t.Errorf("the app got delivery %d %d times, want once", i, n)
		}
		wantDuplicate(t, "the sender's next attempt", g.once(t, messages[i]))
	}
}
