package page

import (
	"context"
	_ "embed"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A Request is one that "caddy webhook listen" received, as the inspector shows it.
type Request struct {
	// Row is its line in the list, in JSON an object.
	Row any
	// Bytes is about what it takes in memory.
	Bytes int
	// Show returns what the page shows of it, in JSON an object.
	Show func(ctx context.Context) any
	// Send sends it to the app again and returns the app's answer, in JSON an object. Nil
	// if it must not be sent.
	Send func(ctx context.Context) (any, error)
	// Save writes it to a file, whose path it returns.
	Save func() (path string, err error)
}

// An Inspector serves the page of "caddy webhook listen".
type Inspector struct {
	guard
	about About
	mu    sync.Mutex
	kept  []numbered // oldest first
	bytes int        // of those
	last  int        // number of the last one that came
	more  chan struct{}
}

type numbered struct {
	n int // counted from 1
	Request
}

// The inspector forgets the oldest requests beyond these limits. Strangers find the
// address of a tunnel.
const (
	mostRequests = 200
	mostBytes    = 64 << 20 // at least the newest request is kept
)

//go:embed inspector.js
var inspectorScript string

var inspector = newDocument("Webhook inspector", "what caddy webhook listen prints", inspectorScript)

// About is what the inspector says of the gateway.
type About struct {
	Address string   `json:"address"`      // where it receives requests
	To      string   `json:"to,omitempty"` // its app
	Senders []string `json:"senders"`      // their names
}

// NewInspector returns the server of the page on the address of a loopback listener.
func NewInspector(addr net.Addr, about About) *Inspector {
	return &Inspector{guard: newGuard(addr, inspector), about: about, more: make(chan struct{})}
}

// Add shows a request to all browsers.
func (i *Inspector) Add(r Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	i.kept, i.bytes = append(i.kept, numbered{i.last, r}), i.bytes+r.Bytes
	for len(i.kept) > mostRequests || i.bytes > mostBytes && len(i.kept) > 1 {
		i.bytes -= i.kept[0].Bytes
		i.kept[0] = numbered{}
		i.kept = i.kept[1:]
	}
	close(i.more)
	i.more = make(chan struct{})
}

// after returns the kept requests that came after number n, and a channel that is closed
// when there are more.
func (i *Inspector) after(n int) ([]numbered, <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := len(i.kept)
	for at > 0 && i.kept[at-1].n > n {
		at--
	}
	return append([]numbered(nil), i.kept[at:]...), i.more
}

// find returns the kept request of a number.
func (i *Inspector) find(text string) (Request, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n, err := strconv.Atoi(text)
	for _, r := range i.kept {
		if err == nil && r.n == n {
			return r.Request, nil
		}
	}
	return Request{}, &StatusError{http.StatusNotFound, "this request is no longer kept"}
}

// ServeHTTP answers only requests of the page itself: GET requests streams the list, GET
// requests/N shows one, POST requests/N sends or saves it.
func (i *Inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := i.admitted(w, r)
	if !ok {
		return
	}
	switch {
	case path == "about" && r.Method == http.MethodGet:
		answer(w, i.about)
		return
	case path == "requests" && r.Method == http.MethodGet:
		i.follow(w, r)
		return
	}
	number, found := strings.CutPrefix(path, "requests/")
	if !found {
		fail(w, &StatusError{http.StatusNotFound, "no such path"})
		return
	}
	one, err := i.find(number)
	if err == nil {
		var shown any
		if shown, err = one.serve(w, r); err == nil {
			answer(w, shown)
			return
		}
	}
	fail(w, err)
}

func (one *Request) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	switch r.Method {
	case http.MethodGet:
		return one.Show(r.Context()), nil
	case http.MethodPost:
	default:
		return nil, notAllowed(w, "GET, POST")
	}
	var do struct {
		Do string `json:"do"`
	}
	if err := readJSON(r, &do); err != nil {
		return nil, err
	}
	switch {
	case do.Do == "send" && one.Send != nil:
		return one.Send(r.Context())
	case do.Do == "save":
		path, err := one.Save()
		return map[string]string{"saved": path}, err
	}
	return nil, &StatusError{http.StatusBadRequest, "a request can be saved, and sent again if it reached the app"}
}

// row is what the list shows of a request.
type row struct {
	N   int `json:"n"`
	Row any `json:"row"`
}

// follow streams the list as Server-Sent Events, those that are kept first.
func (i *Inspector) follow(w http.ResponseWriter, r *http.Request) {
	rows := make(chan row)
	go func() {
		for last := 0; ; {
			fresh, more := i.after(last)
			for _, one := range fresh {
				select {
				case rows <- row{one.n, one.Row}:
					last = one.n
				case <-r.Context().Done():
					return
				}
			}
			select {
			case <-more:
			case <-r.Context().Done():
				return
			}
		}
	}()
	stream(r.Context(), w, rows)
}
