package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	fetchTimeout = 5 * time.Second
	// maxWait is how long a request waits for a fetch and for what comes of it.
	maxWait = 2 * fetchTimeout
	// maxFetched is the longest answer that is read: sets of keys and
	// certificates have some kilobytes.
	maxFetched = 256 << 10
	// failureLasts is how long an address that failed is not tried again.
	failureLasts = 10 * time.Second
)

// A fetcher gets what a sender publishes: each address once at a time, whoever
// waits for it. The zero value works.
type fetcher struct {
	get func(context.Context, string) (fetched, error) // default: getAddress
	now func() time.Time                               // default: time.Now

	mu      sync.Mutex
	flights map[string]*flight
	failed  map[string]time.Time
	budget  fetchBudget
}

// A need is what a delivery has to have fetched.
type need struct {
	address string
	client  netip.Prefix // who sent it
	known   bool         // the address has served before: it needs no budget
}

// A flight is a fetch under way.
type flight struct {
	done   chan struct{}
	err    error        // once done
	client *fetchClient // whose delivery began it
}

// fetched is an answer of status 200.
type fetched struct {
	text   string
	maxAge time.Duration // of Cache-Control; 0: it says nothing
}

var (
	errFailedLately = errors.New("it failed less than 10 s ago")
	errManyFetches  = errors.New("too many fetches in this minute")
	errManyWaiters  = errors.New("too many deliveries wait for fetches")
)

// fetch waits until the address is fetched, and settle, which every flight
// calls once, has taken the answer or the error. A caller that gives up leaves
// the flight to the others: what it brings is of use.
func (f *fetcher) fetch(ctx context.Context, n need, settle func(fetched, error) error) error {
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

func (f *fetcher) join(n need, settle func(fetched, error) error) (fl *flight, leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, client := f.clock(), f.budget.client(n.client)
	fl = f.flights[n.address]
	switch {
	case f.budget.waiting == maxWaiters || client.waiting == maxClientWaiters:
		return nil, nil, errManyWaiters
	case fl == nil && now.Sub(f.failed[n.address]) < failureLasts:
		return nil, nil, errFailedLately
	case fl == nil && !n.known && !f.budget.mayBegin(client, now):
		return nil, nil, errManyFetches
	case fl == nil:
		fl = &flight{done: make(chan struct{}), client: client}
		if f.flights == nil {
			f.flights, f.failed = make(map[string]*flight), make(map[string]time.Time)
		}
		f.flights[n.address] = fl
		go f.fly(fl, n.address, settle)
	}
	f.budget.waiting++
	client.waiting++
	return fl, func() { f.leave(client) }, nil
}

func (f *fetcher) leave(client *fetchClient) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget.waiting--
	client.waiting--
}

func (f *fetcher) fly(fl *flight, address string, settle func(fetched, error) error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	get := f.get
	if get == nil {
		get = getAddress
	}
	got, err := get(ctx, address)
	err = settle(got, err)

	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	maps.DeleteFunc(f.failed, func(_ string, at time.Time) bool { return now.Sub(at) >= failureLasts })
	fl.client.failed = time.Time{}
	if err != nil {
		f.failed[address], fl.client.failed = now, now
	}
	delete(f.flights, address)
	fl.err = err
	close(fl.done)
}

func (f *fetcher) clock() time.Time {
	if f.now == nil {
		return time.Now()
	}
	return f.now()
}

// client fetches with the machine's roots and the proxy of the environment. It
// keeps no connection and follows no redirect: what a sender publishes stands
// at the address itself.
var client = &http.Client{
	Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func getAddress(ctx context.Context, address string) (fetched, error) {
	if !strings.HasPrefix(address, "https://") {
		return fetched{}, errors.New("not an https address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fetched{}, err
	}
	req.Header.Set("User-Agent", "caddy-verify-webhook")
	res, err := client.Do(req)
	if err != nil {
		return fetched{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fetched{}, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFetched+1))
	if err != nil {
		return fetched{}, err
	}
	if len(body) > maxFetched {
		return fetched{}, fmt.Errorf("longer than %d bytes", maxFetched)
	}
	return fetched{text: strings.TrimSpace(string(body)), maxAge: maxAge(res.Header)}, nil
}

// maxAge reads max-age of Cache-Control (RFC 9111 §5.2.2.1).
func maxAge(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil && strings.EqualFold(name, "max-age") {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// withoutURL takes the address off an error of net/http: it may hold a token.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
