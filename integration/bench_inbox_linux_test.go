package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkInbox sends deliveries through three handlers, one without an inbox, one
// with, one that stores first, and over HTTP/2 through the first two, in turns, in one
// process with senders and app. An op is one delivery each way. Reported are the medians
// over the turns: the CPU time of a delivery without an inbox, what inbox adds to it and
// that as a share, over HTTP/1.1 and HTTP/2, and the throughput of both modes as a share
// of that without.
//
//	go test ./integration -run=- -bench=Inbox -benchtime=40000x
func BenchmarkInbox(b *testing.B) {
	g := start(b, setup{level: "INFO", global: "verify_webhook {\ninbox bolt {\npath DIR/inbox.db\n}\n}", site: `
		handle /none {
			verify_webhook github {env.GITHUB_KEY} {
				name none
			}
			reverse_proxy APP
		}
		handle /inbox {
			verify_webhook github {env.GITHUB_KEY} {
				name inbox
				inbox
			}
			reverse_proxy APP
		}
		handle /first {
			verify_webhook github {env.GITHUB_KEY} {
				name first
				inbox first
			}
			reverse_proxy APP
		}`})
	const senders, turn = 64, 2000
	body := bytes.Repeat([]byte("x"), 1024)
	signature := github.deliver(b, githubKey, time.Now(), body).header["X-Hub-Signature-256"]
	var arrived, sent atomic.Int64
	last := make(chan struct{}, 1)                                                         // all that was sent has arrived
	g.app.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // records nothing
		_, _ = io.Copy(io.Discard, r.Body)
		if arrived.Add(1) == sent.Load() {
			last <- struct{}{}
		}
		_, _ = io.WriteString(w, "taken")
	})
	clients := map[bool]*http.Client{false: {Transport: &http.Transport{MaxIdleConnsPerHost: senders}}, true: g.h2}
	defer clients[false].CloseIdleConnections()

	var serial atomic.Int64
	send := func(path string, h2 bool, n int) (took, cpu time.Duration) {
		var left atomic.Int64
		left.Store(int64(n))
		sent.Add(int64(n))
		var all sync.WaitGroup
		began, used := time.Now(), g.cpuTime(b)
		for range senders {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					r, err := http.NewRequest(http.MethodPost, "http://"+g.address+path, bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					r.Header = http.Header{"X-Hub-Signature-256": signature, "X-Github-Delivery": {strconv.FormatInt(serial.Add(1), 10)}}
					resp, err := clients[h2].Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						b.Errorf("%s: answered %d", path, resp.StatusCode)
						return
					}
				}
			})
		}
		all.Wait()
		select {
		case <-last: // what was stored first is on its way
		case <-time.After(time.Minute):
			b.Errorf("%s: %d of %d arrived", path, arrived.Load(), sent.Load())
		}
		return time.Since(began), g.cpuTime(b) - used
	}
	ways := []struct {
		path string
		h2   bool
	}{{"/none", false}, {"/inbox", false}, {"/first", false}, {"/none", true}, {"/inbox", true}}
	for _, way := range ways { // connections are made and pools filled
		send(way.path, way.h2, turn)
	}
	var cpu, added, share, shareH2, inboxRate, firstRate []float64
	b.ResetTimer()
	for done := 0; done < b.N && !b.Failed(); {
		n := min(turn, b.N-done)
		var took, used [5]time.Duration
		for i := range ways {
			i = (i + done/turn) % len(ways) // each begins a round in its turn
			took[i], used[i] = send(ways[i].path, ways[i].h2, n)
		}
		done += n
		cpu = append(cpu, float64(used[0].Microseconds())/float64(n))
		added = append(added, float64((used[1]-used[0]).Microseconds())/float64(n))
		share = append(share, float64(used[1])/float64(used[0]))
		shareH2 = append(shareH2, float64(used[4])/float64(used[3]))
		inboxRate = append(inboxRate, float64(took[0])/float64(took[1]))
		firstRate = append(firstRate, float64(took[0])/float64(took[2]))
	}
	b.StopTimer()
	median := func(all []float64) float64 {
		slices.Sort(all)
		return all[len(all)/2]
	}
	b.ReportMetric(median(cpu), "cpu_µs/delivery")
	b.ReportMetric(median(added), "added_µs")
	b.ReportMetric(median(share), "inbox_cpu_ratio")
	b.ReportMetric(median(shareH2), "inbox_h2_cpu_ratio")
	b.ReportMetric(median(inboxRate), "inbox_rate_ratio")
	b.ReportMetric(median(firstRate), "first_rate_ratio")
}

// cpuTime is the CPU time of the gateway's process, over its threads, to the
// nanosecond: schedstat of proc(5).
func (g *gateway) cpuTime(b *testing.B) (all time.Duration) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", g.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		b.Fatalf("no threads: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil { // the thread has ended
			continue
		}
		used, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(used, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		all += time.Duration(n)
	}
	return all
}
