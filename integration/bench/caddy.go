package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What Caddy tells of its own memory.

// fillStore has n deliveries accepted, as any others are, but by Caddy itself instead of
// the app.
func (e *environment) fillStore(s *server, n int) error { return e.deliver(s, s.apart, n) }

// visitTenants has one delivery of each tenant accepted: of so many in a row, no two are
// of one tenant.
func (e *environment) visitTenants(s *server) error { return e.deliver(s, s.address, s.tenants) }

// deliver has n small deliveries accepted at an address of the server.
func (e *environment) deliver(s *server, address string, n int) error {
	const turn = 100_000
	for left := n; left > 0; left -= turn {
		j := e.job(s, fresh, 64, 16)
		j.Address, j.Most, j.Duration, j.Burst = address, min(turn, left), 10*patience, 32
		j.First = e.serial
		e.serial += int64(j.Most)
		g, err := e.prepareGenerator(j)
		if err != nil {
			return err
		}
		r, err := g.run(j.Duration)
		g.end()
		if err != nil {
			return err
		}
		if r.Sent != j.Most || len(r.Wrong) > 0 {
			return fmt.Errorf("of %d deliveries %d were sent, and not answered %s: %v", j.Most, r.Sent, j.Want, r.Wrong)
		}
	}
	return nil
}

// memory is what Go's allocator has handed out so far. Caddy's metrics have it, too, but
// each handler makes them longer.
func (s *server) memory() (allocations, bytes float64, err error) {
	if s.admin == "" {
		return 0, 0, nil
	}
	resp, err := http.Get("http://" + s.admin + "/debug/vars")
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	return readMemory(resp.Body)
}

// readMemory finds the totals of Go's allocator in what package expvar publishes.
func readMemory(r io.Reader) (allocations, bytes float64, err error) {
	var vars struct {
		MemStats struct{ Mallocs, TotalAlloc float64 } `json:"memstats"`
	}
	if err := json.NewDecoder(r).Decode(&vars); err != nil {
		return 0, 0, fmt.Errorf("the variables of the process: %w", err)
	}
	if vars.MemStats.Mallocs == 0 || vars.MemStats.TotalAlloc == 0 {
		return 0, 0, errors.New("the variables of the process have no memstats")
	}
	return vars.MemStats.Mallocs, vars.MemStats.TotalAlloc, nil
}

// collections are those of Go's collector so far.
type collections struct {
	count int
	cpu   time.Duration
}

// gcLine is a line of GODEBUG=gctrace=1: its third part is the CPU time of each phase.
var gcLine = regexp.MustCompile(`(?m)^gc \d+ @.* ms clock, ([\d.+/]+) ms cpu,`)

// collections reads the log of the process.
func (s *server) collections() (c collections, err error) {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return c, err
	}
	for _, m := range gcLine.FindAllSubmatch(text, -1) {
		c.count++
		for _, phase := range strings.FieldsFunc(string(m[1]), func(r rune) bool { return r == '+' || r == '/' }) {
			ms, err := strconv.ParseFloat(phase, 64)
			if err != nil {
				return c, err
			}
			c.cpu += time.Duration(ms * float64(time.Millisecond))
		}
	}
	return c, nil
}
