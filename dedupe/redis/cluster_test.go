package redis

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/redistest"
)

// Deliveries with one status are forgotten on every master of a cluster, and the notes,
// which belong to other slots, are left.
func TestForgettingReachesEveryMaster(t *testing.T) {
	servers := []*redistest.Server{redistest.Start(t, "--cluster-enabled", "yes"), redistest.Start(t, "--cluster-enabled", "yes")}
	var nodes []*Store
	for i, server := range servers {
		node, err := Open(Options{Addresses: []string{server.Addr}, Namespace: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		if err := node.client.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", i*8192, i*8192+8191).Err(); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node)
	}
	host, port, _ := net.SplitHostPort(servers[1].Addr)
	if err := nodes[0].client.Do(t.Context(), "CLUSTER", "MEET", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		eventually(t, "the cluster is complete", func() bool {
			info, err := node.client.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:2")
		})
	}
	s, err := Open(Options{Addresses: []string{servers[0].Addr}, Namespace: "c", Mode: Cluster})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 40
	key := func(i int) dedupe.Key { return dedupe.NewKey(strconv.Itoa(i)) }
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			st, err := s.Claim(t.Context(), key(i), dedupe.NewToken(), time.Minute)
			if err != nil || st.Phase != dedupe.Claimed {
				t.Errorf("claim: %v %v", st, err)
			}
			if err := s.Done(t.Context(), key(i), dedupe.Mark{Status: 1000 + i%2, TTL: time.Minute}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if gone, err := s.ForgetStatus(t.Context(), 1000); err != nil || len(gone) != n/2 {
		t.Fatalf("forgotten: %d %v, want %d", len(gone), err, n/2)
	}
	for i := range n {
		if forgotten, err := s.Forgotten(t.Context(), key(i)); err != nil || forgotten != (i%2 == 0) {
			t.Errorf("a note of %d: %t %v", i, forgotten, err)
		}
	}
}
