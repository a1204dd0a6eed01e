package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A candidate is a way to put something in front of the app. Its texts hold APP, the
// app's address, SECRET and DIR, a folder of its own.
type candidate struct {
	name     string
	about    string
	verifies bool
	first    bool   // answers a delivery before the app has it
	global   string // options of verify_webhook in the Caddyfile
	site     string // of the Caddyfile
	needs    string // a program
	fill     int    // deliveries that are done before
	start    func(e *environment, c candidate, dir string) (*server, error)
}

const (
	proxy    = "reverse_proxy APP"
	buffered = "reverse_proxy APP {\nrequest_buffers 2MiB\n}"
	sender1  = "sender standard_webhooks SECRET {\nname shop\nOPTIONS\n}\n"
)

func ours(options, rest string) string {
	return "verify_webhooks /hooks/* {\n" + strings.Replace(sender1, "OPTIONS", options, 1) + rest + "\n}\nrespond 404"
}

// candidates lists them in the order of the tables; the first is what all are compared
// with.
var candidates = []candidate{
	{name: "plain", about: "Caddy's `reverse_proxy`, nothing verified", site: proxy},
	{name: "plain-buffers", about: "the same with `request_buffers 2MiB`", site: buffered},
	{name: "memory", about: "verified, deduplicated in memory", verifies: true, site: ours("", proxy)},
	{name: "memory-buffers", about: "the same with `request_buffers 2MiB`", verifies: true, site: ours("", buffered)},
	{name: "no-dedupe", about: "verified, `dedupe off`", verifies: true, site: ours("dedupe off", proxy)},
	{name: "memory-1m", about: "`memory` with a million done deliveries in the store", verifies: true, fill: 1_000_000,
		global: "store memory {\nmax_entries 4000000\n}", site: ours("", proxy)},
}

// named returns a candidate.
func named(name string) candidate {
	for _, c := range candidates {
		if c.name == name {
			return c
		}
	}
	panic("no candidate " + name)
}

// A server is a candidate that runs.
type server struct {
	*process
	candidate
	address string
	admin   string    // Caddy's, else empty
	beside  []process // what it needs
}

// errMissing says that a candidate needs what is not installed.
var errMissing = errors.New("not installed")

// run starts a candidate and fills its store.
func (e *environment) run(c candidate) (*server, error) {
	if c.needs != "" {
		if _, err := exec.LookPath(c.needs); err != nil {
			return nil, fmt.Errorf("%s: %w", c.needs, errMissing)
		}
	}
	dir, err := os.MkdirTemp(e.dir, c.name+"-")
	if err != nil {
		return nil, err
	}
	start := c.start
	if start == nil {
		start = startCaddy
	}
	s, err := start(e, c, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if c.fill > 0 {
		if err := e.fillStore(s); err != nil {
			s.stop()
			return nil, fmt.Errorf("%s: fill the store: %w", c.name, err)
		}
	}
	return s, nil
}

func startCaddy(e *environment, c candidate, dir string) (*server, error) {
	s := &server{candidate: c}
	var err error
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	global := "admin " + s.admin + "\nauto_https off\npersist_config off\n"
	if c.global != "" {
		global += "verify_webhook {\n" + c.global + "\n}\n"
	}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil, err
	}
	text := "{\n" + global + "}\nhttp://:" + port + " {\nbind 127.0.0.1\n" + c.site + "\n}\n"
	text = strings.NewReplacer("APP", e.appAddress, "SECRET", e.secretText(), "DIR", filepath.ToSlash(dir)).Replace(text)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	env := []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}
	if s.process, err = launch(c.name, dir, env, e.caddy, "run", "--adapter", "caddyfile", "--config", file); err != nil {
		return nil, err
	}
	if err := s.listening(s.address); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// fillStore has deliveries accepted through the gateway, as any others are.
func (e *environment) fillStore(s *server) error {
	const turn = 100_000
	for left := s.fill; left > 0; left -= turn {
		j := e.job(s, fresh, 64, 64)
		j.Most, j.Duration = min(turn, left), patience*10
		if _, err := e.drive(s, j, nil); err != nil {
			return err
		}
	}
	return nil
}

// memory is what Go's allocator has handed out so far, from Caddy's metrics.
func (s *server) memory() (allocations, bytes float64, err error) {
	if s.admin == "" {
		return 0, 0, nil
	}
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	return readMemory(resp.Body)
}
