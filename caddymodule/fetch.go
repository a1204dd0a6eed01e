package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
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
	// maxFetches is how many fetches a fetcher begins in a minute: who forges
	// deliveries must not make the gateway hammer the sender.
	maxFetches = 10
	// maxWaiters is how many requests wait for fetches at a time.
	maxWaiters = 64
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
	begun   []time.Time // within a minute
	waiting int
}

// A flight is a fetch under way.
type flight struct {
	done chan struct{}
	err  error // once done
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
func (f *fetcher) fetch(ctx context.Context, address string, settle func(fetched, error) error) error {
	fl, err := f.join(address, settle)
	if err != nil {
		return err
	}
	defer f.leave()
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case <-fl.done:
		return fl.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fetcher) join(address string, settle func(fetched, error) error) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	fl := f.flights[address]
	switch {
	case f.waiting == maxWaiters:
		return nil, errManyWaiters
	case fl == nil && now.Sub(f.failed[address]) < failureLasts:
		return nil, errFailedLately
	case fl == nil && !f.mayBegin(now):
		return nil, errManyFetches
	case fl == nil:
		fl = &flight{done: make(chan struct{})}
		if f.flights == nil {
			f.flights, f.failed = make(map[string]*flight), make(map[string]time.Time)
		}
		f.flights[address] = fl
		go f.fly(fl, address, settle)
	}
	f.waiting++
	return fl, nil
}

func (f *fetcher) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting--
}

// mayBegin counts a fetch that begins now, unless there were too many.
func (f *fetcher) mayBegin(now time.Time) bool {
	f.begun = slices.DeleteFunc(f.begun, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(f.begun) == maxFetches {
		return false
	}
	f.begun = append(f.begun, now)
	return true
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
	if err != nil {
		f.failed[address] = now
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
