package integration

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// BenchmarkDedupe sends deliveries one at a time through four gateways in turns:
// without dedupe, and with each store. An op is one delivery to each. The p50 of
// each is reported, and ratios: memory to none, bolt and redis to memory.
//
//	go test ./integration -run=- -bench=Dedupe -benchtime=5000x
func BenchmarkDedupe(b *testing.B) {
	kinds := []struct{ name, global, line string }{
		{"off", "", "dedupe off"},
		{"memory", "", ""},
		{"bolt", boltStore("DIR/dedupe.db"), ""},
		{"redis", redisStore(redistest.Start(b).Addr, ""), ""},
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	gateways := make([]*gateway, len(kinds))
	for i, k := range kinds {
		site := "verify_webhook github {env.GITHUB_KEY} {\n" + k.line + "\n}\nreverse_proxy APP"
		gateways[i] = start(b, setup{level: "INFO", global: k.global, site: site})
		gateways[i].app.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // records nothing
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "taken")
		})
	}
	body := bytes.Repeat([]byte("x"), 1024)
	header := github.deliver(b, githubKey, time.Now(), body).header
	n := 0
	send := func(g *gateway) time.Duration {
		r, err := http.NewRequest(http.MethodPost, "http://"+g.address+"/", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		n++
		r.Header = http.Header{"X-Hub-Signature-256": header["X-Hub-Signature-256"], "X-Github-Delivery": {strconv.Itoa(n)}}
		began := time.Now()
		resp, err := client.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		took := time.Since(began)
		if resp.StatusCode != http.StatusOK || string(text) != "taken" {
			b.Fatalf("answered %d %q", resp.StatusCode, text)
		}
		return took
	}
	for range 200 {
		for _, g := range gateways {
			send(g)
		}
	}
	took := make([][]time.Duration, len(kinds))
	b.ResetTimer()
	for i := range b.N {
		for j := range gateways { // in another order each time
			k := (i + j) % len(gateways)
			took[k] = append(took[k], send(gateways[k]))
		}
	}
	b.StopTimer()
	p50 := make([]time.Duration, len(kinds))
	for i := range took {
		slices.Sort(took[i])
		p50[i] = took[i][len(took[i])/2]
		b.ReportMetric(float64(p50[i].Nanoseconds())/1e3, kinds[i].name+"_p50_µs")
	}
	for _, pair := range [][2]int{{1, 0}, {2, 1}, {3, 1}} {
		over, under := pair[0], pair[1]
		b.ReportMetric(float64(p50[over])/float64(p50[under]), kinds[over].name+"/"+kinds[under].name)
	}
	b.ReportMetric(float64((p50[3]-p50[1]).Nanoseconds())/1e3, "redis-memory_µs")
}
