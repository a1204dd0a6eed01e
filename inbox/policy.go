package inbox

import (
	"slices"
	"time"
)

// A Policy says how long and how often a handler retries. Zero means the default,
// except for DeadOn and Keep.
type Policy struct {
	Retry  []time.Duration // pauses after the first, second, … attempt; the last repeats. Default: DefaultRetry
	Expire time.Duration   // lifetime of a generation before it is dead. Default: 3 days
	DeadOn []int           // statuses of the app that make it dead immediately
	Keep   time.Duration   // how long a delivered one is kept for replay. Default: not kept
}

// DefaultExpire covers a weekend: Friday evening to Monday morning is 62 h.
const DefaultExpire = 3 * 24 * time.Hour

// DefaultRetry is frequent at first, for a deploy, and then moderate for an app that
// fails for hours.
var DefaultRetry = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour,
}

// maxRetryAfter limits the Retry-After of an app.
const maxRetryAfter = time.Hour

func (p Policy) withDefaults() Policy {
	if len(p.Retry) == 0 {
		p.Retry = DefaultRetry
	}
	if p.Expire <= 0 {
		p.Expire = DefaultExpire
	}
	return p
}

// pause is the time before the attempt after number n, from 0. chance, from 0 to 1,
// spreads it by ±20 %, so that deliveries that failed together are not retried
// together.
func (p Policy) pause(n int, chance float64) time.Duration {
	d := p.Retry[min(n, len(p.Retry)-1)]
	return time.Duration(float64(d) * (0.8 + 0.4*chance))
}

// A Result is the outcome of an attempt.
type Result struct {
	Status     int           // the app's, or of what refused it; 0: no answer
	RetryAfter time.Duration // requested by the app; at most an hour is used
	Unreached  bool          // the delivery did not reach its handler
	Refused    bool          // a route above the handler refused it: the app was not called
	Taken      bool          // the app has already accepted it, from another instance
	Later      time.Duration // the app was not called; this long from now it may be; 0: it was
}

func (r Result) delivered() bool {
	return r.Taken || r.asked() && r.Status >= 200 && r.Status < 300
}

// asked reports whether the app was called.
func (r Result) asked() bool { return !r.Unreached && !r.Refused && !r.Taken && r.Later == 0 }

// unanswered reports whether the app seems to be down: a proxy answers 502 to 504 for
// it.
func (r Result) unanswered() bool {
	return r.asked() && (r.Status == 0 || r.Status >= 502 && r.Status <= 504)
}

// settlement translates a result. While the app is down no attempts are spent. The app is
// not to blame for a suspect. DeadOn is for the app's statuses, not for those of a route.
func (p Policy) settlement(e Entry, r Result, down, suspect bool, now time.Time, chance float64) Settlement {
	switch {
	case r.delivered():
		return Settlement{To: Delivered, Status: r.Status, Keep: p.Keep}
	case r.Unreached:
		return Settlement{To: Pending, Hold: HoldRoute, Unspent: true}
	case r.Later > 0:
		return Settlement{To: Pending, Status: e.Status, After: r.Later, Hold: e.Hold, Unspent: true}
	}
	s := Settlement{To: Pending, Status: r.Status}
	if r.Refused {
		s.Hold = HoldRefused
	}
	if r.asked() && slices.Contains(p.DeadOn, r.Status) || !now.Before(e.Since.Add(p.Expire)) {
		s.To = Dead
		return s
	}
	s.After = p.pause(e.Attempts, chance)
	if wait := min(r.RetryAfter, maxRetryAfter); wait > 0 {
		s.After = max(s.After, wait)
	} else if r.unanswered() && !suspect {
		s.Hold = HoldApp
	}
	s.Unspent = down && r.unanswered() && !suspect
	return s
}
