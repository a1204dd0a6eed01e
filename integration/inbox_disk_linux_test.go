package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func init() { inboxDiskFull = testInboxDiskFull }

// A fullDisk has little space for an inbox, and none once another program has taken it.
type fullDisk struct {
	inbox string                         // its path
	why   string                         // no more is stored
	early bool                           // taken can be before the gateway starts
	fill  func(t *testing.T, g *gateway) // by the inbox alone
	taken func(t *testing.T, g *gateway) // by another program
	empty func(t *testing.T, g *gateway)
}

// smallDisk is mounted, where that is permitted: 2 MiB, and the reserve of 64.
func smallDisk(t *testing.T) *fullDisk {
	t.Helper()
	dir := t.TempDir()
	mount := func(t *testing.T, flags uintptr, size string) error {
		return syscall.Mount("tmpfs", dir, "tmpfs", flags, "size="+size)
	}
	if err := mount(t, 0, "66m"); err != nil {
		t.Skipf("needs to mount a small disk: %v; a limit of the size of files takes its place", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return &fullDisk{
		inbox: filepath.Join(dir, "inbox.db"), why: "disk", early: true,
		fill: func(*testing.T, *gateway) {},
		taken: func(t *testing.T, _ *gateway) {
			f, err := os.Create(filepath.Join(dir, "filler"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for page := make([]byte, 4096); err == nil; {
				_, err = f.Write(page)
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		},
		empty: func(t *testing.T, _ *gateway) {
			if err := mount(t, syscall.MS_REMOUNT, "256m"); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// smallFiles limits the size of the gateway's files. The system refuses what is beyond
// it, as a full disk does, which needs no privilege.
func smallFiles(t *testing.T) *fullDisk {
	t.Helper()
	needs(t, "prlimit")
	d := &fullDisk{inbox: "DIR/inbox.db", why: "unavailable"}
	limit := func(t *testing.T, g *gateway, size string) {
		t.Helper()
		if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(g.cmd.Process.Pid), "--fsize="+size+":").CombinedOutput(); err != nil {
			t.Fatalf("prlimit: %v: %s", err, out)
		}
	}
	d.fill = func(t *testing.T, g *gateway) { limit(t, g, strconv.Itoa(2<<20)) }
	d.taken = func(t *testing.T, g *gateway) {
		st, err := os.Stat(filepath.Join(g.dir, "inbox.db"))
		if err != nil {
			t.Fatal(err)
		}
		limit(t, g, fmt.Sprint(st.Size()))
	}
	d.empty = func(t *testing.T, g *gateway) { limit(t, g, "unlimited") }
	return d
}

// testInboxDiskFull: what does not fit gets the app's answer; what is stored is
// delivered, also after a kill and a start without a byte; and there is an end to it
// when there is space.
func testInboxDiskFull(t *testing.T) {
	for name, disk := range map[string]func(*testing.T) *fullDisk{"mounted": smallDisk, "limited": smallFiles} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := disk(t)
			b := newBrittleApp(t)
			b.well.Store(true)
			b.close()
			g := startInbox(t, setup{global: boltInbox(filepath.ToSlash(d.inbox), ""), site: inboxSite("inbox", b.address, "name github")})
			path := strings.Replace(d.inbox, "DIR", g.dir, 1)
			d.fill(t, g)
			send := func() (m message, status int) {
				t.Helper()
				m = signedBy(t, github, "/", []byte(newID()+bodyMark+strings.Repeat("x", 32<<10)))
				m.header.Set("X-Github-Delivery", newID())
				a := g.once(t, m)
				if a.status != http.StatusBadGateway && a.header.Get("Webhook-Stored") == "" {
					t.Fatalf("answered %d %v, want it stored, or the app's 502", a.status, a.header)
				}
				return m, a.status
			}
			var kept, refused []message
			for len(refused) < 5 {
				if m, status := send(); status == http.StatusOK {
					kept = append(kept, m)
				} else {
					refused = append(refused, m)
				}
			}
			g.wantLog(t, "not stored in the inbox", `"`+d.why+`"`)
			if n := g.metric(t, `caddy_verify_webhook_inbox_bypassed_total{name="github",why="`+d.why+`"}`); n < 5 {
				t.Errorf("counted %v times", n)
			}
			g.kill()
			if d.early {
				d.taken(t, g)
			}
			restart(t, g)
			if !d.early {
				d.taken(t, g)
			}
			m, status := send()
			if status == http.StatusOK {
				t.Error("a full disk stores deliveries")
			}
			refused = append(refused, m)
			b.open(t)
			taken := func(m message) int {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.entry(m.header.Get("X-Github-Delivery")).takes)
			}
			for _, m := range kept {
				eventually(t, "what is stored is taken", func() bool { return taken(m) > 0 })
			}
			d.empty(t, g)
			g.settled(t)
			for _, m := range refused {
				eventually(t, "the sender's retry is accepted", func() bool { return g.once(t, m).status == http.StatusOK })
			}
			b.close()
			eventually(t, "deliveries are stored when there is space", func() bool {
				m, status := send()
				if status == http.StatusOK {
					kept = append(kept, m)
				}
				return status == http.StatusOK
			})
			b.open(t)
			g.settled(t)
			g.quit(t)
			if left := stored(t, path); len(left) != 0 {
				t.Errorf("left in the inbox: %d", len(left))
			}
			for _, m := range append(kept, refused...) {
				if n := taken(m); n != 1 {
					t.Errorf("taken %d times", n)
				}
			}
			t.Logf("%d stored, %d refused; each taken once", len(kept), len(refused))
		})
	}
}
