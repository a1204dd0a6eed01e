package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const million = 1_000_000

// storeSizes measures what a million done deliveries take.
func (e *environment) storeSizes(progress io.Writer) (string, error) {
	text := "| a million done deliveries | memory of the gateway, MB | of Redis, MB | file, MB | one collection, CPU ms | of an empty store, ms |\n|---|---:|---:|---:|---:|---:|\n"
	for _, name := range []string{"memory", "bolt", "redis"} {
		c := named(name)
		c.global = strings.Replace(c.global, "dedupe.db", "dedupe.db\nmax_entries 2000000", 1)
		if name == "memory" {
			c.global = roomFor(2 * million)
		}
		c.fill = 1 // a second address
		fmt.Fprintf(progress, "stores: fill %s\n", name)
		line, err := e.storeSize(c)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		text += fmt.Sprintf("| %s | %s |\n", name, line)
	}
	return text, nil
}

func (e *environment) storeSize(c candidate) (string, error) {
	s, err := e.run(c)
	if err != nil {
		return "", err
	}
	defer s.stop()
	heap, idle, err := s.collect()
	if err != nil {
		return "", err
	}
	other := redisMemory(s.besideAt)
	if err := e.fillStore(s, million); err != nil {
		return "", err
	}
	after, full, err := s.collect()
	if err != nil {
		return "", err
	}
	return strings.Join([]string{mb(after - heap), mb(redisMemory(s.besideAt) - other), mb(s.settledSize("dedupe.db")), fmt.Sprintf("%.1f", full), fmt.Sprintf("%.1f", idle)}, " | "), nil
}

// collect collects a few times, and returns the bytes in use and the CPU time of one
// collection in milliseconds.
func (s *server) collect() (live, ms float64, err error) {
	if live, err = s.live(); err != nil { // the first one has more to free
		return 0, 0, err
	}
	before, err := s.collections()
	if err != nil {
		return 0, 0, err
	}
	for range 5 {
		if live, err = s.live(); err != nil {
			return 0, 0, err
		}
	}
	after, err := s.collections()
	return live, (after.cpu - before.cpu).Seconds() * 1000 / float64(max(1, after.count-before.count)), err
}

// mb is a number of bytes in MB; nothing for none.
func mb(bytes float64) string {
	if bytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", bytes/1e6)
}

// live has Caddy collect its garbage, and returns how many bytes are in use after it.
func (s *server) live() (float64, error) {
	resp, err := http.Get("http://" + s.admin + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`).FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no HeapAlloc in Caddy's heap profile")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// redisMemory is used_memory of a server; 0 without one.
func redisMemory(address string) float64 {
	if address == "" {
		return 0
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0
	}
	defer c.Close()
	fmt.Fprint(c, "INFO memory\r\nQUIT\r\n")
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "used_memory:"); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// settledSize is the size of a file of the server once it is the same for a second; 0
// without one.
func (s *server) settledSize(name string) float64 {
	last := int64(-1)
	for range int(patience / time.Second) {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			return 0
		}
		if info.Size() == last {
			break
		}
		last = info.Size()
		time.Sleep(time.Second)
	}
	return float64(last)
}

// inboxSizes measures what deliveries take that wait for an app which is down.
func (e *environment) inboxSizes(progress io.Writer) (string, error) {
	const deliveries = 100_000
	text := "| body | stored a second | CPU µs | memory, bytes each | disk, KB each | syncs each |\n|---|---:|---:|---:|---:|---:|\n"
	for _, body := range []int{1 << 10, 16 << 10} {
		fmt.Fprintf(progress, "stored: bodies of %s\n", sizeText(body))
		line, err := e.inboxSize(body, deliveries*1024/body)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("| %s | %s |\n", sizeText(body), line)
	}
	return text, nil
}

func (e *environment) inboxSize(body, n int) (string, error) {
	nobody, err := freeAddress()
	if err != nil {
		return "", err
	}
	c := named("inbox")
	c.site = ours(standard, "inbox", "reverse_proxy "+nobody)
	s, err := e.run(c)
	if err != nil {
		return "", err
	}
	defer s.stop()
	j := e.job(s, fresh, body, 64)
	j.Want, j.Duration = answer{200, 0}, 10*patience
	send := func(n int) (result, error) {
		j.First, j.Most = e.serial, n
		e.serial += int64(n)
		g, err := e.prepareGenerator(j)
		if err != nil {
			return result{}, err
		}
		defer g.end()
		r, err := g.run(j.Duration)
		if err == nil && len(r.Wrong) > 0 {
			err = fmt.Errorf("not answered %s: %v", j.Want, r.Wrong)
		}
		return r, err
	}
	if _, err := send(200); err != nil { // the app is found to be down
		return "", err
	}
	return s.whatIsStored(n, send)
}

func (s *server) whatIsStored(n int, send func(int) (result, error)) (string, error) {
	file := filepath.Join(s.dir, "inbox.db")
	heap, err := s.live()
	if err != nil {
		return "", err
	}
	commits, err := boltCommits(file)
	if err != nil {
		return "", err
	}
	cpu, err := s.cpu()
	if err != nil {
		return "", err
	}
	size := s.settledSize("inbox.db")
	r, err := send(n)
	if err != nil {
		return "", err
	}
	used, err := s.cpu()
	if err != nil {
		return "", err
	}
	committed, err := boltCommits(file)
	if err != nil {
		return "", err
	}
	after, err := s.live()
	if err != nil {
		return "", err
	}
	each := float64(r.Sent)
	return fmt.Sprintf("%.0f | %.0f | %.0f | %.1f | %.2f", each/r.Took.Seconds(), micros(used-cpu)/each, (after-heap)/each,
		(s.settledSize("inbox.db")-size)/each/1000, 2*float64(committed-commits)/each), nil
}

// boltCommits is the number of the newest transaction in a bbolt file: each is written
// with two syncs, of its pages and of its meta page.
func boltCommits(path string) (newest uint64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	const txid = 64 // in a meta page: behind the page's head, magic, version, sizes, root, freelist, pages
	for page := range 2 {
		var text [8]byte
		if _, err := file.ReadAt(text[:], int64(page*os.Getpagesize()+txid)); err != nil {
			return 0, err
		}
		newest = max(newest, binary.LittleEndian.Uint64(text[:]))
	}
	return newest, nil
}
