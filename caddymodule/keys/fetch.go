package keys

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	fetchTimeout = 5 * time.Second
	// maxWait limits how long a request waits for a fetch and the use of its result.
	maxWait = 2 * fetchTimeout
	// maxFetched limits a fetched page, in bytes. Key sets and certificates have a few
	// kilobytes.
	maxFetched = 256 << 10
	// failureLasts is the pause before a failed address is tried again.
	failureLasts = 10 * time.Second
)

// A Fetcher fetches published keys. Concurrent callers for one address share a fetch.
// It is safe for concurrent use, and its zero value works. Set Get and Now before use.
type Fetcher struct {
	// Get requests an address. Default: over https, without redirects, at most
	// 256 KiB.
	Get func(ctx context.Context, address string) (Page, error)
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	mu      sync.Mutex
	flights map[string]*flight
	failed  map[string]time.Time
	budget  fetchBudget
}

// A need is an address to fetch.
type need struct {
	address string
	client  netip.Prefix // client of the request
	known   bool         // it has served a key before, a set not lately: no budget
	set     bool         // a key set: the fetch is useful once a delivery is verified
}

// A flight is a fetch in progress.
type flight struct {
	done    chan struct{}
	err     error        // set before done is closed
	client  *fetchClient // client of the request that began it
	network *fetchClient // that the client is in; may be nil
}

// A Page is the body of an answer with status 200.
type Page struct {
	Text   string        // without surrounding white space
	MaxAge time.Duration // of Cache-Control; 0 without one
}

var (
	errFailedLately = errors.New("it failed less than 10 s ago")
	errManyFetches  = errors.New("too many fetches in this minute")
	errManyWaiters  = errors.New("too many deliveries wait for fetches")
)

// A NotNow is the error for a fetch that may not begin yet.
type NotNow struct {
	// After is how long until it may, more than 0.
	After time.Duration
	err   error
}

func (e *NotNow) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *NotNow) Unwrap() error { return e.err }

// Visit requests an address named in a request of client, and discards the answer. It
// calls settle once, however many callers wait, and waits until settle returns. The
// argument of settle is nil for status 200. Errors hold no address.
func (f *Fetcher) Visit(ctx context.Context, address string, client netip.Prefix, settle func(error) error) error {
	return f.fetch(ctx, need{address: address, client: client}, func(_ Page, err error) error { return settle(err) })
}

// fetch waits until the address is fetched and settle, called once per fetch, has
// returned. If a caller gives up, the fetch continues for other and later ones.
func (f *Fetcher) fetch(ctx context.Context, n need, settle func(Page, error) error) error {
	fl, leave, err := f.join(n, settle)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case <-fl.done:
		return fl.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Fetcher) join(n need, settle func(Page, error) error) (fl *flight, leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, client, network := f.clock(), f.budget.client(n.client), f.budget.network(n.client)
	fl = f.flights[n.address]
	switch {
	case f.budget.waiting == maxWaiters || client.waiting == maxClientWaiters:
		return nil, nil, &NotNow{fetchTimeout, errManyWaiters}
	case fl == nil:
		if failed := now.Sub(f.failed[n.address]); failed < failureLasts {
			return nil, nil, &NotNow{failureLasts - failed, errFailedLately}
		}
		if !n.known {
			if wait := f.budget.begin(client, network, now); wait > 0 {
				return nil, nil, &NotNow{wait, errManyFetches}
			}
		}
		fl = &flight{done: make(chan struct{}), client: client, network: network}
		if f.flights == nil {
			f.flights, f.failed = make(map[string]*flight), make(map[string]time.Time)
		}
		f.flights[n.address] = fl
		go f.fly(fl, n, settle)
	}
	f.budget.keep(client, network)
	f.budget.waiting++
	client.waiting++
	return fl, func() { f.leave(client) }, nil
}

func (f *Fetcher) leave(client *fetchClient) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget.waiting--
	client.waiting--
}

// verified records that a delivery of client was verified by a key from a set.
func (f *Fetcher) verified(client netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.budget.client(client)
	c.useful()
	f.budget.keep(c)
}

func (f *Fetcher) fly(fl *flight, n need, settle func(Page, error) error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	get := f.Get
	if get == nil {
		get = getAddress
	}
	got, err := get(ctx, n.address)
	err = settle(got, err)

	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	maps.DeleteFunc(f.failed, func(_ string, at time.Time) bool { return now.Sub(at) >= failureLasts })
	if err != nil {
		f.failed[n.address] = now
	}
	switch {
	case err == nil && !n.set:
		fl.client.useful()
	case err != nil || !n.known: // of a set, see verified
		fl.client.useless(now)
		fl.network.useless(now)
	}
	delete(f.flights, n.address)
	fl.err = err
	close(fl.done)
}

func (f *Fetcher) clock() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

// client trusts the machine's roots and uses the environment's proxy. It keeps no
// connections and follows no redirects: only the configured host chooses keys.
var client = &http.Client{
	Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func getAddress(ctx context.Context, address string) (Page, error) {
	if !strings.HasPrefix(address, "https://") {
		return Page{}, errors.New("not an https address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Page{}, err
	}
	req.Header.Set("User-Agent", "caddy-verify-webhook")
	res, err := client.Do(req)
	if err != nil {
		return Page{}, withoutURL(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Page{}, statusError(res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFetched+1))
	if err != nil {
		return Page{}, err
	}
	if len(body) > maxFetched {
		return Page{}, fmt.Errorf("longer than %d bytes", maxFetched)
	}
	return Page{Text: strings.TrimSpace(string(body)), MaxAge: maxAge(res.Header)}, nil
}

// A statusError is an answer other than 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// isAnswer reports whether an error says that nothing is at the address, rather than
// that the sender cannot be asked. The latter is also meant if one of hosts, which are the
// sender's, is unknown: only of a pattern may a delivery name one that does not exist.
func isAnswer(err error, address string, hosts []string) bool {
	status, ok := errors.AsType[statusError](err)
	dns, unresolved := errors.AsType[*net.DNSError](err)
	u, invalid := url.Parse(address)
	return ok && status < 500 || unresolved && dns.IsNotFound && invalid == nil && !slices.Contains(hosts, u.Hostname())
}

// maxAge returns max-age of Cache-Control (RFC 9111 §5.2.2.1).
func maxAge(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil && strings.EqualFold(name, "max-age") {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// withoutURL removes the URL from an error of net/http: it may hold a token.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
