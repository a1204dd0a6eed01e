package integration

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// An app is behind a gateway. Tests share it, so each request carries a case in its
// query, by which the app separates them.
type app struct {
	*httptest.Server
	address string

	mu       sync.Mutex
	received map[string][]arrival
	answers  map[string]http.HandlerFunc
	released chan struct{}
	once     sync.Once
}

// An arrival is a request as the app got it.
type arrival struct {
	Method, Target, Host string
	Header               http.Header
	Body                 []byte
	ContentLength        int64
	TransferEncoding     []string
	Trailer              http.Header
}

func newApp() *app {
	a := &app{received: make(map[string][]arrival), answers: make(map[string]http.HandlerFunc), released: make(chan struct{})}
	a.Server = httptest.NewServer(a)
	a.address = strings.TrimPrefix(a.URL, "http://")
	return a
}

// ServeHTTP records a request and answers as its test says, else 200.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		body = append(body, "; the app could not read on: "+err.Error()...)
	}
	id := r.URL.Query().Get("case")
	a.mu.Lock()
	a.received[id] = append(a.received[id], arrival{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header.Clone(), Body: body,
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Trailer: r.Trailer,
	})
	answer := a.answers[id]
	a.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	_, _ = io.WriteString(w, "taken")
}

// answer sets the response to requests of a case.
func (a *app) answer(id string, with http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[id] = with
}

// got returns the requests of a case that have arrived.
func (a *app) got(id string) []arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.received[id]
}

// release ends blocked responses at the end of a test.
func (a *app) release() { a.once.Do(func() { close(a.released) }) }

// until waits for what a test does, or for the test's end.
func (a *app) until(c <-chan struct{}) {
	select {
	case <-c:
	case <-a.released:
	}
}
