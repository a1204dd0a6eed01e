package keys

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func taken(_ Page, err error) error { return err }

// TestFetchOnceAtATime: concurrent requests share a fetch, and the number of waiting
// ones is limited.
func TestFetchOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, release := 0, make(chan struct{})
		f := &Fetcher{Get: func(context.Context, string) (Page, error) {
			calls++
			<-release
			return Page{Text: "key"}, nil
		}}
		var all sync.WaitGroup
		settled, full := 0, 0
		var mu sync.Mutex
		for i := range maxWaiters + 6 {
			all.Go(func() {
				err := f.fetch(t.Context(), need{address: "a", client: network(i / maxClientWaiters)}, func(Page, error) error { settled++; return nil })
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, errManyWaiters) {
					full++
				}
			})
		}
		synctest.Wait()
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		close(release)
		all.Wait()
		if calls != 1 || settled != 1 || full != 6 || f.budget.waiting != 0 {
			t.Errorf("%d fetches settled %d times, %d turned away, %d still wait", calls, settled, full, f.budget.waiting)
		}
		release = make(chan struct{})
		if err := f.fetch(impatient, need{address: "b"}, taken); !errors.Is(err, context.Canceled) || f.budget.waiting != 0 {
			t.Errorf("a request that is gone: %v, %d wait", err, f.budget.waiting)
		}
		close(release)
	})
}

// TestFetchWaitsInVain: something unrelated to the sender, such as a hanging file
// system, may block a fetch. Nothing waits forever.
func TestFetchWaitsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, began := make(chan struct{}), time.Now()
		f := &Fetcher{Get: func(context.Context, string) (Page, error) { return Page{}, nil }}
		err := f.fetch(t.Context(), need{address: "a"}, func(Page, error) error { <-release; return nil })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != maxWait || f.budget.waiting != 0 {
			t.Errorf("%v after %s, %d wait", err, time.Since(began), f.budget.waiting)
		}
		close(release)
	})
}

// TestFetchFailures: a failed address is not retried immediately, and the number of
// addresses is limited.
func TestFetchFailures(t *testing.T) {
	now, calls := clock, 0
	f := &Fetcher{Now: func() time.Time { return now }, Get: func(context.Context, string) (Page, error) {
		calls++
		return Page{}, errors.New("down")
	}}
	fetch := func(address string, want string) {
		t.Helper()
		if err := f.fetch(t.Context(), need{address: address, client: network(0)}, taken); err == nil || err.Error() != want {
			t.Errorf("%s at %s: %v, want %s", address, now.Sub(clock), err, want)
		}
	}
	fetch("a", "down")
	fetch("a", errFailedLately.Error())
	now = now.Add(failureLasts - 1)
	fetch("a", errFailedLately.Error())
	now = now.Add(1)
	fetch("a", "down")
	for i := range maxClientFetches - 2 {
		fetch("a"+strconv.Itoa(i), "down")
	}
	fetch("b", errManyFetches.Error())
	now = clock.Add(time.Minute)
	fetch("b", "down")
	if calls != maxClientFetches+1 || len(f.failed) > maxClientFetches {
		t.Errorf("%d fetches, %d failures kept", calls, len(f.failed))
	}
}

// TestGetAddress asks a real server over TLS.
func TestGetAddress(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/key":
			w.Header().Set("Content-Type", "image/png")
			w.Header().Set("Cache-Control", `public, max-age=600`)
			_, _ = w.Write([]byte(" key \n"))
		case "/elsewhere":
			http.Redirect(w, r, "/key", http.StatusFound)
		case "/created":
			w.WriteHeader(http.StatusCreated)
		case "/long":
			_, _ = w.Write([]byte(strings.Repeat("x", maxFetched+1)))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	if _, err := getAddress(t.Context(), s.URL+"/key"); err == nil {
		t.Error("a certificate that nobody vouches for is accepted")
	}
	transport := client.Transport
	client.Transport = s.Client().Transport
	defer func() { client.Transport = transport }()
	got, err := getAddress(t.Context(), s.URL+"/key")
	if err != nil || got.Text != "key" || got.MaxAge != 10*time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
	for path, want := range map[string]string{"/elsewhere": "status 302", "/created": "status 201", "/none": "status 404", "/long": "longer than"} {
		if got, err := getAddress(t.Context(), s.URL+path); err == nil || !strings.HasPrefix(err.Error(), want) || got.Text != "" {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if _, err := getAddress(t.Context(), strings.Replace(s.URL, "https", "http", 1)+"/key"); err == nil {
		t.Error("http is fetched")
	}
}

func TestMaxAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "no-store": 0, "max-age=60": time.Minute, "public, MAX-AGE=60": time.Minute, `max-age="60"`: time.Minute,
		"max-age=-1": 0, "max-age=x": 0, "max-age=99999999999999999999": 0, "s-maxage=60": 0,
	} {
		if got := maxAge(http.Header{"Cache-Control": {text}}); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
