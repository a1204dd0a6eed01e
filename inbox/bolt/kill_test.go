package bolt

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

var kills = flag.Int("kills", 25, "how often TestKill kills a process")

func put(t *testing.T, s *Store, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if _, err := s.Accept(t.Context(), delivery(n), false); err != nil {
			t.Fatalf("accept %d: %v", n, err)
		}
	}
}

func found(t *testing.T, s *Store, n int, want bool) {
	t.Helper()
	if _, ok, err := s.Find(t.Context(), key(n)); ok != want || err != nil {
		t.Errorf("%d is found: %v %v, want %v", n, ok, err, want)
	}
}

// TestMain makes the test binary the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("INBOX_TEST_CHILD"); path != "" {
		child(path)
	}
	os.Exit(m.Run())
}

// child accepts deliveries, delivers some, and reports each step when it is done: "a"
// for accepted, "t" before it settles a delivered one.
func child(path string) {
	s, err := Open(Options{Path: path})
	if err != nil {
		panic(err)
	}
	var from int
	fmt.Sscan(os.Getenv("INBOX_TEST_FROM"), &from)
	<-s.Changed() // it is open
	var wg sync.WaitGroup
	const writers = 8
	for i := range writers {
		wg.Go(func() {
			for n := from + i; ; n += writers {
				if _, err := s.Accept(context.Background(), delivery(n), false); err != nil {
					panic(err)
				}
				fmt.Printf("a %d\n", n)
				if a, _ := s.Take(context.Background(), shop, inbox.NextDue); a != nil && n%3 == 0 {
					fmt.Printf("t %d\n", a.Delivery.Received.Nanosecond())
					s.Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
				}
			}
		})
	}
	wg.Wait()
}

// TestKill: after a kill -9 at any moment, all accepted deliveries are there.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	accepted, taken, again := make(map[int]bool), make(map[int]bool), 0
	for round := range *kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "INBOX_TEST_CHILD="+path, fmt.Sprintf("INBOX_TEST_FROM=%d", round*100_000))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 0 {
				time.AfterFunc(time.Duration(20+round*7%100)*time.Millisecond, func() { cmd.Process.Kill() })
			}
			what, text, _ := strings.Cut(lines.Text(), " ")
			var number int
			fmt.Sscan(text, &number)
			if what == "a" {
				accepted[number] = true
			} else {
				taken[number] = true
			}
		}
		cmd.Wait()

		s := open(t, Options{Path: path})
		lost := 0
		for n := range accepted {
			_, ok, err := s.Find(t.Context(), key(n))
			if err != nil {
				t.Fatal(err)
			}
			if !ok && !taken[n] {
				lost++
			}
			if ok && taken[n] {
				again++
				delete(taken, n)
			}
		}
		if lost > 0 {
			t.Fatalf("round %d: %d of %d are lost", round, lost, len(accepted))
		}
		if st := s.Status(); st.Damaged > 0 || st.Health != nil {
			t.Fatalf("round %d: %+v", round, st)
		}
		closeStore(t, s)
	}
	if len(accepted) < *kills {
		t.Fatalf("only %d were accepted", len(accepted))
	}
	t.Logf("%d kills, %d accepted, %d taken, 0 lost, %d would be delivered again", *kills, len(accepted), len(taken), again)
}
