package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// minute is a minute of the senders' and of the outages, shortened.
const minute = 120 * time.Millisecond

// retries are the pauses after which senders try again, as their pages say.
var retries = map[string][]time.Duration{
	"aryeo":  {minute / 6, minute * 10 / 6}, // 10 s and 100 s: three attempts in 110 s
	"stripe": {5 * minute, 30 * minute},     // growing, for three days
	"github": nil,
}

// TestInboxOutage sends through outages of 1, 5 and 30 minutes, to senders as patient
// as they are: without an inbox, deliveries are lost as soon as an outage outlasts the
// sender's patience; with one, none, and every sender gets a 2xx at its first attempt.
func TestInboxOutage(t *testing.T) {
	t.Parallel()
	const deliveries = 40 // of each sender, during each outage
	outages := []int{1, 5, 30}
	out := &outageApp{taken: make(map[string]int)}
	var bare, boxed strings.Builder
	addresses := make(map[int]string)
	losses := make(map[int]*firstLoss)
	for _, minutes := range outages {
		addresses[minutes] = freeAddress()
		losses[minutes] = &firstLoss{seen: make(chan struct{})}
		for site, option := range map[*strings.Builder]string{&bare: "", &boxed: inboxOption("inbox")} {
			fmt.Fprintf(site, "handle /%d {\nverify_webhook github {env.GITHUB_KEY} {\nname outage-%[1]d\n%s}\nreverse_proxy %s\n}\n", minutes, option, addresses[minutes])
		}
	}
	without := start(t, setup{level: "INFO", site: bare.String()})
	with := without.beside(t, setup{level: "INFO", site: boxed.String()})
	with.awaitInbox(t)
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		refused = make(map[string]int) // first attempts without a 2xx
		sent    []string
	)
	deliver := func(g *gateway, gateway, sender string, minutes, n int) {
		id := fmt.Sprintf("%s/%s/%d/%d", gateway, sender, minutes, n)
		m := signedBy(t, github, fmt.Sprintf("/%d", minutes), fmt.Appendf(nil, `{"id":%q,"note":"%s"}`, id, bodyMark))
		m.header.Set("X-Github-Delivery", id)
		for i, pause := range append([]time.Duration{0}, retries[sender]...) {
			<-time.After(pause)
			a, err := g.post(t.Context(), g.h1, "", m)
			if err != nil {
				t.Error(err)
			}
			if a.status == http.StatusOK {
				break
			}
			if gateway == "without" && len(retries[sender]) == 0 {
				losses[minutes].is()
			}
			if i == 0 {
				mu.Lock()
				refused[gateway]++
				mu.Unlock()
			}
		}
		mu.Lock()
		sent = append(sent, id)
		mu.Unlock()
	}
	for _, minutes := range outages {
		length := time.Duration(minutes) * minute
		all.Go(func() {
			<-time.After(length)
			losses[minutes].await(t) // on a busy machine deliveries are late, too
			out.serve(t, addresses[minutes])
		})
		for n := range deliveries {
			for sender := range retries {
				for name, g := range map[string]*gateway{"without": without, "with": with} {
					all.Go(func() {
						<-time.After(length * time.Duration(n) / deliveries)
						deliver(g, name, sender, minutes, n)
					})
				}
			}
		}
	}
	all.Wait()
	eventually(t, "with an inbox everything is taken", func() bool {
		return out.missing(sent, "with/") == 0
	})
	if n := refused["with"]; n > 0 {
		t.Errorf("with an inbox %d senders got no 2xx at their first attempt", n)
	}
	for _, prefix := range []string{
		"without/aryeo/5/", "without/aryeo/30/", "without/github/1/", "without/github/5/", "without/github/30/", "without/stripe/",
	} {
		n := out.missing(sent, prefix)
		t.Logf("%s*: %d never delivered", prefix, n)
		// A busy machine delays the retries of the others beyond the outage.
		if n == 0 && strings.Contains(prefix, "github") {
			t.Errorf("%s*: none lost; this is not the outage it is meant to be", prefix)
		}
	}
	for id, n := range out.taken {
		if n != 1 {
			t.Errorf("%s was taken %d times", id, n)
		}
	}
	t.Logf("with: %d sent, 0 never delivered; without: %d never delivered", len(sent)/2, out.missing(sent, "without/"))
}

// A firstLoss is of the first delivery that an outage loses.
type firstLoss struct {
	once sync.Once
	seen chan struct{}
}

func (l *firstLoss) is() { l.once.Do(func() { close(l.seen) }) }

func (l *firstLoss) await(t *testing.T) {
	select {
	case <-l.seen:
	case <-time.After(patience):
		t.Error("an outage loses nothing of a sender that does not retry")
	}
}

// An outageApp is an app that begins to serve when its outage is over.
type outageApp struct {
	mu    sync.Mutex
	taken map[string]int
}

func (o *outageApp) serve(t *testing.T, address string) {
	listener, err := net.Listen("tcp", address)
	for end := time.Now().Add(patience); err != nil; listener, err = net.Listen("tcp", address) { // a connection may have its port for a moment
		if time.Now().After(end) {
			t.Error(err)
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	server, done := &http.Server{Handler: o}, make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

func (o *outageApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken[r.Header.Get("X-Github-Delivery")]++
}

// missing counts those sent with a prefix that were never taken.
func (o *outageApp) missing(sent []string, prefix string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range sent {
		if strings.HasPrefix(id, prefix) && o.taken[id] == 0 {
			n++
		}
	}
	return n
}
