package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// scaleTables say what grows with the configuration, each from its least to its most.
func (o options) scaleTables() (all []*table) {
	add := func(id, title string, cases ...candidate) {
		t := &table{id: "scale-" + id, title: title, body: o.bodies[0], connections: o.connections, rows: rowsOf(cases...)}
		if o.selected.MatchString(id) {
			all = append(all, t)
		}
	}
	add("handlers", "Handlers in one block; the last one's deliveries", each([]int{1, 40, 400}, func(c *candidate, n int) {
		c.site = ours(standard, "", others(n-1)+plainly)
	})...)
	add("keys", "Keys of one handler; the last one's deliveries", each([]int{1, 8, 64}, func(c *candidate, n int) { c.keys = n })...)
	var customers []candidate
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		c := tenants(n)
		c.name = strconv.Itoa(n)
		customers = append(customers, c)
	}
	add("tenants", "Tenants of one handler, in random order", customers...)
	add("entries", "Done deliveries in the memory store", each(entries(o.entries), func(c *candidate, n int) {
		c.fill, c.global = n, roomFor(2*n+1_000_000)
	})...)
	add("headers", "Headers beside those of the sender", each([]int{0, 20, 80}, func(c *candidate, n int) { c.headers = n })...)
	add("collector", "Settings of Go's collector", collectors()...)
	return all
}

// each makes a variant of memory for each number.
func each(numbers []int, change func(*candidate, int)) (all []candidate) {
	for _, n := range numbers {
		c := named("memory")
		c.name = strconv.Itoa(n)
		change(&c, n)
		all = append(all, c)
	}
	return all
}

// others are senders whose deliveries never come.
func others(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "sender %s {\nname other-%d\n}\n", standard, i)
	}
	return b.String()
}

// entries are how many done deliveries a store gets: up to most, and a million where the
// machine is short of memory.
func entries(most int) []int {
	if available() < 8<<30 {
		most = min(most, million)
	}
	return slices.DeleteFunc([]int{1000, 100_000, million, 10 * million}, func(n int) bool { return n > most })
}

// available is the memory that Linux would give to a program, in bytes.
func available() float64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kb * 1024
		}
	}
	return 0
}

func collectors() (all []candidate) {
	for _, env := range [][]string{nil, {"GOGC=200"}, {"GOGC=400"}, {"GOGC=off", "GOMEMLIMIT=128MiB"}, {"GOGC=off", "GOMEMLIMIT=256MiB"}} {
		c := named("memory")
		c.name, c.env = strings.Join(env, " "), env
		if env == nil {
			c.name = "default (GOGC=100)"
		}
		all = append(all, c)
	}
	return all
}

// benchScale measures and prints what docs/sizing.md holds.
func (e *environment) benchScale(o options, out io.Writer) error {
	set := o.settings
	set.latency = 0
	tables, texts := o.scaleTables(), make(map[string]string)
	for _, t := range tables {
		if err := e.fill(t, set); err != nil {
			return err
		}
		t.print(out)
	}
	for _, part := range []struct {
		id   string
		text func(io.Writer) (string, error)
	}{{"stores", e.storeSizes}, {"stored", e.inboxSizes}} {
		if !o.selected.MatchString(part.id) {
			continue
		}
		text, err := part.text(set.progress)
		if err != nil {
			return err
		}
		texts[part.id] = text
		fmt.Fprint(out, "\n"+text)
	}
	if !o.write {
		return nil
	}
	return e.writeSizing(tables, texts)
}
