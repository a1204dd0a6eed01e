package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A job is what the generator does in one process.
type job struct {
	Address, Path string
	TLS           bool   // with HTTP/2
	Provider, Key string // of the sender
	KeyKind       verifier.KeyKind
	Mix           string
	Body          int   // bytes
	OwnBodies     bool  // no two deliveries have the same body
	Tenants       int   // whose names follow the path, if there are any
	Headers       int   // beside those of the sender
	First         int64 // serial number
	Most          int   // deliveries; none is sent twice, but for duplicates
	Connections   int
	Burst         int // deliveries that a connection sends at once; 0: it waits for each answer
	Duration      time.Duration
	Rate          float64 // deliveries a second in an open loop; 0: a closed loop
	Want          answer
}

// host is the name that senders call.
const host = "hooks.test"

// An answer is what a delivery must be answered.
type answer struct {
	Status, Length int
}

func (a answer) String() string { return fmt.Sprintf("%d with %d bytes", a.Status, a.Length) }

// A result is what the generator saw.
type result struct {
	Sent           int
	Took           time.Duration
	P50, P99, P999 time.Duration  // of an open loop, from the time when the delivery was due
	Wrong          map[string]int // answers that are not the expected one
	Dials          int            // connections beyond the first ones
}

// runGenerator does one job: it reads it, prepares, says ready, waits for a line, and
// writes the result.
func runGenerator(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(400) // its collector should not compete with what is measured
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	g, err := newGenerator(j)
	if err != nil {
		return err
	}
	defer g.close()
	fmt.Fprintln(out, "ready")
	if _, err := lines.ReadBytes('\n'); err != nil {
		return err
	}
	if err := g.run(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(g.result)
}

// A generator sends deliveries over connections that it keeps.
type generator struct {
	job
	deliveries []delivery
	senders    []*sender
	next       atomic.Int64
	result     result
}

func newGenerator(j job) (*generator, error) {
	g := &generator{job: j}
	d, err := newDeliverer(j)
	if err != nil {
		return nil, err
	}
	if g.deliveries, err = d.prepare(); err != nil {
		return nil, err
	}
	for range j.Connections {
		s, err := newSender(g)
		if err != nil {
			return nil, err
		}
		g.senders = append(g.senders, s)
	}
	if j.Mix == duplicate {
		return g, g.prime()
	}
	return g, nil
}

func (g *generator) close() {
	for _, s := range g.senders {
		s.close()
	}
}

// prime has every delivery accepted once.
func (g *generator) prime() error {
	s, err := newSender(g)
	if err != nil {
		return err
	}
	defer s.close()
	for _, d := range g.deliveries {
		m, err := s.exchange(d)
		if err != nil {
			return err
		}
		if got := (answer{m.status, m.length}); got != (answer{200, len(answered)}) {
			return fmt.Errorf("the first copy of a duplicate: %s", got)
		}
	}
	return nil
}

func (g *generator) run() error {
	errs := make([]error, len(g.senders))
	var all sync.WaitGroup
	begin := time.Now()
	due := make(chan time.Time, g.Most)
	if g.Rate > 0 {
		go pace(begin, g.Duration, g.Rate, g.Most, due)
	}
	for i, s := range g.senders {
		all.Go(func() {
			if g.Rate > 0 {
				errs[i] = s.open(due)
			} else {
				errs[i] = s.closed(begin.Add(g.Duration))
			}
		})
	}
	all.Wait()
	g.result.Took = time.Since(begin)
	g.collect()
	return errors.Join(errs...)
}

// collect adds up what the senders saw.
func (g *generator) collect() {
	var took []time.Duration
	g.result.Wrong = make(map[string]int)
	for _, s := range g.senders {
		g.result.Sent += s.sent
		g.result.Dials += s.dials
		took = append(took, s.took...)
		for what, n := range s.wrong {
			g.result.Wrong[what] += n
		}
	}
	slices.Sort(took)
	g.result.P50, g.result.P99, g.result.P999 = percentile(took, 50), percentile(took, 99), percentile(took, 99.9)
}

// take returns a delivery that nobody has sent, or, of duplicates, the next.
func (g *generator) take() (delivery, bool) {
	n := int(g.next.Add(1) - 1)
	if g.Mix == duplicate {
		n %= len(g.deliveries)
	}
	if n >= len(g.deliveries) {
		return delivery{}, false
	}
	return g.deliveries[n], true
}
