package integration

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkGateway sends the same deliveries through reverse_proxy alone and
// through verify_webhook in front of it, in turns, in one process. An op is one
// delivery each way; ratio is the median over the turns of verified req/s to
// plain req/s.
//
//	go test ./integration -run=- -bench=Gateway -benchtime=20000x
func BenchmarkGateway(b *testing.B) {
	g := start(b, setup{level: "INFO", site: `
		handle /plain {
			reverse_proxy APP
		}
		handle /verified {
			verify_webhook github {env.GITHUB_KEY}
			reverse_proxy APP
		}`})
	const senders, turn = 8, 400
	body := bytes.Repeat([]byte("x"), 1024)
	header := github.deliver(b, githubKey, time.Now(), body).header
	g.app.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // records nothing
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "taken")
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()

	send := func(path string, n int) time.Duration {
		var left atomic.Int64
		left.Store(int64(n))
		var all sync.WaitGroup
		began := time.Now()
		for range senders {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					r, err := http.NewRequest(http.MethodPost, "http://"+g.address+path, bytes.NewReader(body))
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
						b.Errorf("%s: answered %d", path, resp.StatusCode)
						return
					}
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	send("/plain", turn) // connections are made and pools filled
	send("/verified", turn)

	var plain, verified time.Duration
	var ratios []float64
	b.ResetTimer()
	for done := 0; done < b.N && !b.Failed(); {
		n := min(turn, b.N-done)
		p, v := send("/plain", n), send("/verified", n)
		plain, verified, done = plain+p, verified+v, done+n
		ratios = append(ratios, float64(p)/float64(v))
	}
	b.StopTimer()
	slices.Sort(ratios)
	b.ReportMetric(float64(b.N)/plain.Seconds(), "plain_req/s")
	b.ReportMetric(float64(b.N)/verified.Seconds(), "verified_req/s")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}
