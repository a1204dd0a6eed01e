package bolt

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox/internal/enginetest"
)

// TestTheFutureIsWarnedOf: the log says that a clock was wrong, and only then.
func TestTheFutureIsWarnedOf(t *testing.T) {
	c := enginetest.NewClock()
	o := Options{Path: filepath.Join(t.TempDir(), "inbox.db"), Now: c.Now}
	s, _ := begin(t, o)
	until(t, "it does not open", func() bool { return s.Status().Health == nil })
	if _, err := s.Accept(t.Context(), enginetest.Delivery(1), false); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	for back, want := range map[time.Duration]bool{0: false, 2 * time.Minute: true} {
		c.Advance(-back)
		s, l := begin(t, o)
		until(t, "it does not open", func() bool { return strings.Contains(l.String(), "file is open") })
		if got := strings.Contains(l.String(), "of the future"); got != want {
			t.Errorf("%s: warned %t: %s", back, got, l)
		}
		closeStore(t, s)
		c.Advance(back)
	}
}
