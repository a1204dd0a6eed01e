package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkTenants sends deliveries through three handlers, one with a fixed secret, one
// with one tenant and one with ten thousand in random order, in turns. An op is one
// delivery each way. Reported are the medians over the turns: the CPU time of a delivery
// with a fixed secret, and that of the other two as a share.
//
//	go test ./integration -run=- -bench=Tenants -benchtime=60000x
func BenchmarkTenants(b *testing.B) {
	dir := b.TempDir()
	const tenants = 10_000
	name := func(i int) string { return fmt.Sprint("tenant-", i) }
	for i := range tenants {
		if err := os.WriteFile(filepath.Join(dir, name(i)), []byte(githubKey), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	handler := func(path, keys string) string {
		return "handle /" + path + "/* {\nverify_webhook github {\nname " + path + "\ndedupe off\n" + keys + "\n}\nreverse_proxy APP\n}\n"
	}
	own := "tenant {path.1}\nsecret {file." + filepath.ToSlash(dir) + "/{tenant}}"
	g := start(b, setup{level: "INFO", site: handler("fixed", "secret {env.GITHUB_KEY}") + handler("one", own) + handler("many", own)})
	const senders, turn = 16, 2000
	body := bytes.Repeat([]byte("x"), 1024)
	header := github.deliver(b, githubKey, time.Now(), body).header
	g.app.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // records nothing
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "taken")
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	var serial atomic.Int64
	send := func(path func(int64) string, n int) time.Duration {
		var left atomic.Int64
		left.Store(int64(n))
		var all sync.WaitGroup
		used := g.cpuTime(b)
		for range senders {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					r, err := http.NewRequest(http.MethodPost, "http://"+g.address+path(serial.Add(1)), bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					r.Header = header
					resp, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						b.Errorf("%s: answered %d", r.URL.Path, resp.StatusCode)
						return
					}
				}
			})
		}
		all.Wait()
		return g.cpuTime(b) - used
	}
	ways := []func(int64) string{
		func(int64) string { return "/fixed/" + name(1) },
		func(int64) string { return "/one/" + name(1) },
		func(n int64) string { return "/many/" + name(int(n*7919%tenants)) },
	}
	for _, way := range ways { // connections are made, pools and the cache filled
		send(way, tenants)
	}
	var fixed, one, many []float64
	b.ResetTimer()
	for done := 0; done < b.N && !b.Failed(); {
		n := min(turn, b.N-done)
		var used [3]time.Duration
		for i := range ways {
			i = (i + done/turn) % len(ways) // each begins a round in its turn
			used[i] = send(ways[i], n)
		}
		done += n
		fixed = append(fixed, float64(used[0].Microseconds())/float64(n))
		one = append(one, float64(used[1])/float64(used[0]))
		many = append(many, float64(used[2])/float64(used[0]))
	}
	b.StopTimer()
	median := func(all []float64) float64 {
		slices.Sort(all)
		return all[len(all)/2]
	}
	b.ReportMetric(median(fixed), "cpu_µs/delivery")
	b.ReportMetric(median(one), "one_tenant_ratio")
	b.ReportMetric(median(many), "many_tenants_ratio")
}
