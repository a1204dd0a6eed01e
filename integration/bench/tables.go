package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A table is rows that are measured in turns, and compared with the first.
type table struct {
	id, title         string
	body, connections int
	rows              []row
	rounds            []map[string]sample // by the row's name
	missing           []string            // what is not installed
}

// A row is a candidate and what is sent to it.
type row struct {
	candidate
	mix string
}

func (r row) String() string {
	if r.mix == fresh {
		return r.name
	}
	return r.name + ", " + r.mix
}

// settings say how a row is measured.
type settings struct {
	duration time.Duration // of one closed loop
	latency  time.Duration // of one open loop; 0: none
	rate     float64
	rounds   int
	progress io.Writer
}

// tables are those of a run.
func (o options) tables() (all []*table) {
	add := func(t *table, rows ...row) {
		for i, r := range rows {
			if i == 0 || o.candidates.MatchString(r.name) && slices.Contains(o.mixes, r.mix) {
				t.rows = append(t.rows, r)
			}
		}
		if o.selected.MatchString(t.id) {
			all = append(all, t)
		}
	}
	size, some := o.bodies[0], o.connections
	main := &table{id: "candidates", title: fmt.Sprintf("Bodies of %s, %d connections", sizeText(size), some), body: size, connections: some}
	memory := named("memory")
	add(main, append(rowsOf(candidates...), row{memory, forged}, row{memory, unsigned}, row{memory, stale}, row{memory, duplicate}, row{refusing, unsigned})...)
	add(&table{id: "inbox", title: fmt.Sprintf("Inbox: bodies of %s, %d connections", sizeText(size), 4*some), body: size, connections: 4 * some},
		rowsOf(named("plain"), memory, named("inbox"), named("inbox-first"))...)
	for _, body := range o.bodies[1:] {
		add(&table{id: fmt.Sprint("bodies-", body), title: fmt.Sprintf("Bodies of %s, %d connections", sizeText(body), some), body: body, connections: some},
			rowsOf(named("plain"), named("plain-buffers"), memory)...)
	}
	h2 := &table{id: "http2", title: fmt.Sprintf("HTTP/2 and TLS: bodies of %s, %d connections", sizeText(size), some), body: size, connections: some}
	rows := rowsOf(named("plain"), memory)
	for i := range rows {
		rows[i].tls = true
	}
	add(h2, rows...)
	add(&table{id: "senders", title: fmt.Sprintf("Senders: bodies of %s, %d connections", sizeText(size), some), body: size, connections: some},
		rowsOf(append([]candidate{named("plain")}, senders...)...)...)
	return all
}

func rowsOf(all ...candidate) (rows []row) {
	for _, c := range all {
		rows = append(rows, row{c, fresh})
	}
	return rows
}

func named(name string) candidate {
	return candidates[slices.IndexFunc(candidates, func(c candidate) bool { return c.name == name })]
}

// fill starts the candidates of a table, and measures them.
func (e *environment) fill(t *table, set settings) error {
	servers := make(map[string]*server)
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	var rows []row
	for _, r := range t.rows {
		if servers[r.name] == nil {
			fmt.Fprintf(set.progress, "%s: start %s\n", t.id, r.name)
			s, err := e.run(r.candidate)
			if errors.Is(err, errMissing) {
				t.missing = append(t.missing, err.Error())
				continue
			}
			if err != nil {
				return err
			}
			servers[r.name] = s
		}
		rows = append(rows, r)
	}
	t.rows = rows
	return e.measure(t, servers, set)
}

// measure fills a table. Each round begins with another row.
func (e *environment) measure(t *table, servers map[string]*server, set settings) error {
	warm := set
	warm.duration, warm.latency = min(set.duration, 300*time.Millisecond), 0
	for _, r := range t.rows { // connections to the app are made and pools filled
		if _, err := e.once(t, servers[r.name], r.mix, warm); err != nil {
			return err
		}
	}
	for round := range set.rounds {
		got := make(map[string]sample)
		for i := range t.rows {
			r := t.rows[(i+round)%len(t.rows)]
			s, err := e.once(t, servers[r.name], r.mix, set)
			if err != nil {
				return err
			}
			got[r.String()] = s
		}
		t.rounds = append(t.rounds, got)
		fmt.Fprintf(set.progress, "%s: round %d of %d\n", t.id, round+1, set.rounds)
	}
	return nil
}

// once measures one row in one round.
func (e *environment) once(t *table, s *server, mix string, set settings) (out sample, err error) {
	j := e.job(s, mix, t.body, t.connections)
	j.Duration, j.Most = set.duration, s.most(set.duration, t.body)
	if mix == duplicate {
		j.Most = min(j.Most, 1000)
	}
	if _, err := e.drive(s, j, &out); err != nil {
		return out, err
	}
	if set.latency == 0 || mix != fresh {
		return out, nil
	}
	j.Duration, j.Rate = set.latency, min(set.rate, 100<<20/float64(t.body))
	j.Most = int(j.Rate*set.latency.Seconds()) + 1
	r, err := e.drive(s, j, nil)
	out.P50, out.P99, out.P999 = micros(r.P50), micros(r.P99), micros(r.P999)
	return out, err
}

// most bounds how many deliveries are made before a round: more than a gateway takes on
// a small machine, no more than the machine signs in a moment. A loop that has sent all
// ends early.
func (s *server) most(duration time.Duration, body int) int {
	rate := min(50_000, 2<<30/body)
	if s.provider != "" || s.algorithm != "" {
		rate = 10_000
	}
	return max(1, int(float64(rate)*duration.Seconds()))
}

// column returns a row's values over the rounds.
func (t *table) column(r row, of func(sample) float64) (values []float64) {
	for _, round := range t.rounds {
		values = append(values, of(round[r.String()]))
	}
	return values
}

// sizeText is a number of bytes, for people.
func sizeText(n int) string {
	for _, unit := range []struct {
		size int
		name string
	}{{1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d %s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
