package tenants

import (
	"errors"
	"time"
)

// errGone is the error for a tenant whose file was there at the look before: a tool that
// removes a file and creates it again, such as git, replaces it.
var errGone = errors.New("the tenant's file has gone: if it is not there at the next look, the tenant's deliveries are refused")

// isGone notes that the tenant's file is missing at a look that began then. Several such
// looks at once are one.
func (t *tenant) isGone(began time.Time) {
	if t.err != errGone || began.Before(t.asked) { // or the clock was set back
		t.asked = began
	}
	t.began, t.err, t.ready = began, errGone, false
}

// stillGone reports whether the file was missing at a look a pause earlier, too.
func (t *tenant) stillGone(began time.Time, pause time.Duration) bool {
	return t.err == errGone && began.Sub(t.asked) >= pause
}
