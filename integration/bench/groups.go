package main

import (
	"fmt"
	"io"
	"time"
)

// A group is a table: cases that are measured in turns, and compared with the first.
type group struct {
	id, title   string
	body        int
	connections int
	cases       []measuring
	rounds      []map[string]sample // by the case's name
	missing     []string            // what is not installed
}

// measuring is one row: a candidate and what is sent to it.
type measuring struct {
	candidate string
	mix       string
}

func (m measuring) name() string {
	if m.mix == fresh {
		return m.candidate
	}
	return m.candidate + " " + m.mix
}

// settings are the flags.
type settings struct {
	duration time.Duration // of one closed loop
	latency  time.Duration // of one open loop; 0: none
	rate     float64
	rounds   int
	progress io.Writer
}

// most bounds how many deliveries are prepared for a time: more than any gateway takes
// on a small machine, and no more than its memory holds or a second signs.
func most(duration time.Duration, body int) int {
	rate := min(60_000, 2<<30/max(body, 1))
	return max(1, int(float64(rate)*duration.Seconds()))
}

// measure runs a group. Each round begins with another case.
func (e *environment) measure(g *group, servers map[string]*server, set settings) error {
	for _, m := range g.cases { // connections to the app are made and pools filled
		if _, err := e.once(g, servers[m.candidate], m.mix, settings{duration: min(set.duration, 300*time.Millisecond)}); err != nil {
			return err
		}
	}
	for round := range set.rounds {
		row := make(map[string]sample)
		for i := range g.cases {
			m := g.cases[(i+round)%len(g.cases)]
			s, err := e.once(g, servers[m.candidate], m.mix, set)
			if err != nil {
				return err
			}
			row[m.name()] = s
		}
		g.rounds = append(g.rounds, row)
		fmt.Fprintf(set.progress, "%s: round %d of %d\n", g.id, round+1, set.rounds)
	}
	return nil
}

// once measures one case in one round.
func (e *environment) once(g *group, s *server, mix string, set settings) (out sample, err error) {
	j := e.job(s, mix, g.body, g.connections)
	j.Duration, j.Most = set.duration, most(set.duration, g.body)
	if mix == duplicate {
		j.Most = min(j.Most, 1000)
	}
	if _, err := e.drive(s, j, &out); err != nil {
		return out, err
	}
	if set.latency == 0 || mix != fresh {
		return out, nil
	}
	j.Duration, j.Rate = set.latency, set.rate
	j.Most = int(set.rate*set.latency.Seconds()) + 1
	r, err := e.drive(s, j, nil)
	out.P50, out.P99, out.P999 = micros(r.P50), micros(r.P99), micros(r.P999)
	return out, err
}

// column returns a case's values over the rounds.
func (g *group) column(name string, of func(sample) float64) []float64 {
	var values []float64
	for _, round := range g.rounds {
		values = append(values, of(round[name]))
	}
	return values
}
