package bolt

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestADiskThatIsFullWhileAccepting: what does not fit is refused, and so goes to the
// app; what was accepted is kept, and the store accepts again as soon as there is space.
func TestADiskThatIsFullWhileAccepting(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		s, l := d.begin(t, -1)
		d.fill(t, 0)
		n, why := d.exhaust(t, s, 0, 200)
		t.Logf("%d accepted", n)
		if why != inbox.WhyUnavailable || n == 0 || strings.Count(l.String(), "level=ERROR") != 1 || !strings.Contains(l.String(), "cannot be written") {
			t.Errorf("%d accepted, then %s; log:\n%s", n, why, l)
		}
		after := d.crashed(t)
		opens(t, s)
		for _, s := range []*Store{s, after} {
			for i := range n {
				found(t, s, i, true)
			}
		}
		found(t, s, n, false)
		if a, err := s.Take(t.Context(), shop, inbox.NextDue); err != nil || a == nil || a.Entry.Key != key(0) {
			t.Errorf("what was accepted is not delivered: %+v, %v", a, err)
		}
		d.empty(t)
		until(t, "nothing is accepted when there is space", func() bool {
			_, err := s.Accept(t.Context(), delivery(n), false)
			return err == nil
		})
	})
}

// TestADiskThatIsFullWhileMoving: a replay under another name writes the delivery again.
// If that is impossible, it says so, and the delivery stays what it was.
func TestADiskThatIsFullWhileMoving(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		s, _ := d.begin(t, -1)
		body := bytes.Repeat([]byte("x"), 256<<10)
		states := []inbox.State{inbox.Dead, inbox.Pending} // of deliveries 0 and 1
		for n, state := range states {
			r := delivery(n)
			r.Body = body
			got, err := s.Accept(t.Context(), r, true)
			if err != nil {
				t.Fatal(err)
			}
			s.Settle(got.Attempt, inbox.Settlement{To: state, Status: 410, After: time.Hour})
		}
		d.fill(t, 0)
		n, _ := d.exhaust(t, s, len(states), 200)
		opens(t, s)
		is := func(n int, handler string, state inbox.State) {
			t.Helper()
			got, e, err := s.Get(t.Context(), key(n))
			if err != nil || e.Handler != handler || e.State != state || !bytes.Equal(got.Body, body) {
				t.Errorf("%d is %+v, %v, want %v of %s", n, e, err, state, handler)
			}
		}
		move := func(n int) (moved int, err error) {
			return s.Replay(t.Context(), inbox.Selection{Keys: []inbox.Key{key(n)}}, "other")
		}
		for i, state := range states {
			if moved, err := move(i); err == nil || moved != 0 {
				t.Errorf("moved %d, %v", moved, err)
			}
			opens(t, s)
			is(i, "shop", state)
		}
		for i := range n {
			found(t, s, i, true)
		}
		d.empty(t)
		for i := range states {
			until(t, "it is not moved when there is space", func() bool {
				moved, err := move(i)
				return moved == 1 && err == nil
			})
			is(i, "other", inbox.Pending)
		}
	})
}

// TestADiskThatIsFullWhileCompacting: the file stays as large as it is, and in use.
func TestADiskThatIsFullWhileCompacting(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		const stored, left = 600, 40
		s, _ := d.begin(t, -1)
		body := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 8<<10) }
		for n := range stored {
			r := delivery(n)
			r.Body = body(n)
			if _, err := s.Accept(t.Context(), r, false); err != nil {
				t.Fatal(err)
			}
		}
		for range stored - left {
			s.Settle(d.take(t, s), inbox.Settlement{To: inbox.Delivered})
		}
		closeStore(t, s)
		before, err := os.Stat(d.path)
		if err != nil {
			t.Fatal(err)
		}
		d.fill(t, 128<<10)
		space := func(string) int64 { return 1 << 40 } // another program takes it meanwhile
		s, l := begin(t, Options{Path: d.path, Reserve: -1, free: space})
		opens(t, s)
		if !strings.Contains(l.String(), "could not be made smaller") {
			t.Errorf("it was compacted; log:\n%s", l)
		}
		is := func() {
			t.Helper()
			for n := stored - left; n < stored; n++ {
				if got, _, err := s.Get(t.Context(), key(n)); err != nil || !bytes.Equal(got.Body, body(n)) {
					t.Errorf("%d: %v", n, err)
				}
			}
			if all, err := filepath.Glob(d.path + "*"); len(all) != 1 {
				t.Errorf("files: %v, %v", all, err)
			}
		}
		is()
		d.fill(t, 0)
		s.Settle(d.take(t, s), inbox.Settlement{To: inbox.Pending, Status: 500})
		until(t, "the mark is not written", func() bool { return s.Status().Unwritten == 0 })
		closeStore(t, s)
		d.empty(t)
		s, _ = begin(t, Options{Path: d.path, Reserve: -1, free: space})
		opens(t, s)
		is()
		if now, err := os.Stat(d.path); err != nil || now.Size() > before.Size()/4 {
			t.Errorf("when there is space it still has %d of %d bytes, %v", now.Size(), before.Size(), err)
		}
	})
}

// TestADiskThatIsFullAtStart: the start goes on, what is stored is delivered, and the
// results are written into the reserve or when there is space.
func TestADiskThatIsFullAtStart(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		s, _ := d.begin(t, 4<<20)
		n, why := d.exhaust(t, s, 0, 2000)
		if why != inbox.WhyDisk {
			t.Fatalf("%d accepted, then %s", n, why)
		}
		closeStore(t, s)
		s, _ = d.begin(t, 4<<20)
		refuses(t, s, inbox.WhyDisk, "")
		s.Settle(d.take(t, s), inbox.Settlement{To: inbox.Delivered})
		until(t, "the mark is not written", func() bool { return s.Status().Unwritten == 0 })
		closeStore(t, s)
		d.fill(t, 0) // somebody else takes the reserve
		s, l := d.begin(t, -1)
		for range n - 1 {
			s.Settle(d.take(t, s), inbox.Settlement{To: inbox.Delivered})
		}
		d.empty(t)
		until(t, "the marks are not written when there is space", func() bool { return s.Status().Unwritten == 0 && s.Status().Health == nil })
		if all, err := s.Queues(t.Context()); len(all) != 0 || err != nil {
			t.Errorf("left: %+v, %v", all, err)
		}
		put(t, s, n)
		t.Logf("%d accepted; log:\n%s", n, l)
	})
}

// A disk without a byte before the file exists.
func TestADiskThatIsFullBeforeTheFile(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		d.fill(t, 8<<10)
		s, l := begin(t, Options{Path: d.path, Reserve: -1})
		until(t, "the log does not say so", func() bool { return strings.Contains(l.String(), "level=ERROR") })
		refuses(t, s, inbox.WhyUnavailable, "cannot be opened")
		if strings.Count(l.String(), "level=ERROR") != 1 {
			t.Errorf("log:\n%s", l)
		}
		d.empty(t)
		opens(t, s)
		put(t, s, 1)
	})
}

// marks lets the app accept some deliveries from all over a full file, so that many
// pages change at once. The first ones share commits, which fills the file sooner. It returns how many of the accepted ones would be sent again
// after a kill.
func (d *disk) marks(t *testing.T, reserve int64, first int, full inbox.Why) (again int) {
	t.Helper()
	s, _ := d.begin(t, reserve)
	acceptAll(t, s, first, make([]byte, 200))
	stored, why := d.exhaust(t, s, first, 200)
	if stored < first+500 || why != full {
		t.Fatalf("%d stored, then %s", stored, why)
	}
	opens(t, s)
	var attempts []*inbox.Attempt
	for n := range 3000 {
		if a := d.take(t, s); n%16 == 0 {
			attempts = append(attempts, a)
		}
	}
	for _, a := range attempts {
		s.Settle(a, inbox.Settlement{To: inbox.Delivered, Status: 200})
	}
	until(t, "the marks are neither written nor refused", func() bool { return s.Status().Unwritten == 0 || s.Status().Health != nil })
	all, err := d.crashed(t).Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pending := 0
	for _, q := range all {
		pending += q.Pending
	}
	if again = pending - (stored - len(attempts)); again < 0 {
		t.Errorf("%d stored, %d taken, but only %d pending: some are lost", stored, len(attempts), pending)
	}
	d.empty(t)
	until(t, "the marks are not written when there is space", func() bool { return s.Status().Unwritten == 0 && s.Status().Health == nil })
	t.Logf("reserve %d: %d stored, then %s; %d of %d would be sent again", reserve, stored, why, again, len(attempts))
	return again
}

// TestADiskThatIsFullWhileMarking: marks need space too. Without a reserve, all
// deliveries of an outage that fills the disk would be delivered twice.
func TestADiskThatIsFullWhileMarking(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		if again := d.marks(t, 4<<20, 6500, inbox.WhyDisk); again != 0 {
			t.Errorf("%d of what the app accepted would be sent again", again)
		}
	})
}

func TestADiskThatIsFullWhileMarkingWithoutAReserve(t *testing.T) {
	onEachDisk(t, func(t *testing.T, d *disk) {
		if d.marks(t, -1, 13_000, inbox.WhyUnavailable) == 0 {
			t.Error("the reserve makes no difference: it is not tested")
		}
	})
}

// TestADiskThatBecomesReadOnly refuses, and opens when it may write.
func TestADiskThatBecomesReadOnly(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	s, _ := d.begin(t, -1)
	put(t, s, 1)
	closeStore(t, s)
	if err := syscall.Mount("tmpfs", filepath.Dir(d.path), "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, _ = begin(t, Options{Path: d.path, Reserve: -1})
	until(t, "nobody notices", func() bool { return s.Status().Health != errOpening })
	refuses(t, s, inbox.WhyUnavailable, "read-only")
	d.empty(t)
	opens(t, s)
	found(t, s, 1, true)
}
