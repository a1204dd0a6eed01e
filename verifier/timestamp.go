package verifier

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

var errTimestamp = errors.New("not a timestamp of its unit")

// imfFixdate is the preferred form of RFC 9110 §5.6.7, the only one that senders may
// produce.
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// parseTimestamp reads text in a unit. Unix times are only digits without a leading
// zero: with a sign, a fraction or zeros in front, one instant would have several
// texts, and bytes could move between a timestamp and adjacent text.
func parseTimestamp(text, unit string) (time.Time, error) {
	switch unit {
	case "rfc3339":
		return time.Parse(time.RFC3339, text)
	case "iso8601_utc":
		if strings.HasSuffix(text, "Z") || strings.LastIndexAny(text, "+-") > len("2006-01-02") {
			return time.Parse(time.RFC3339, text)
		}
		return time.Parse("2006-01-02T15:04:05", text)
	case "http_date":
		return time.Parse(imfFixdate, text)
	}
	if text == "" || len(text) > 18 || text[0] == '0' || strings.Trim(text, "0123456789") != "" {
		return time.Time{}, errTimestamp
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, errTimestamp
	}
	switch unit {
	case "ms":
		return time.UnixMilli(n), nil
	case "us":
		return time.UnixMicro(n), nil
	}
	return time.Unix(n, 0), nil
}

// formatTimestamp is the inverse of parseTimestamp.
func formatTimestamp(t time.Time, unit string) string {
	switch unit {
	case "rfc3339":
		return t.UTC().Format(time.RFC3339)
	case "iso8601_utc":
		return t.UTC().Format("2006-01-02T15:04:05")
	case "http_date":
		return t.UTC().Format(imfFixdate)
	case "ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	case "us":
		return strconv.FormatInt(t.UnixMicro(), 10)
	}
	return strconv.FormatInt(t.Unix(), 10)
}

func (v *Rules) compileTimestamp() (err error) {
	if v.scheme.Timestamp == nil {
		if v.scheme.Tolerance != nil {
			return wrong("tolerance", "the scheme has no timestamp: add one, or drop tolerance")
		}
		return nil
	}
	ts := *v.scheme.Timestamp
	all := ts.sources()
	if len(all) == 0 && ts.Off {
		return wrong("timestamp", "off: the scheme has no timestamp to switch off: drop the line")
	}
	if v.timestampAt, err = v.compileSources("timestamp", all, "header, kv, json, form or claim"+orEither); err != nil {
		return err
	}
	ts.Unit = orDefault(ts.Unit, "s")
	if err := known("timestamp", "unit", ts.Unit, "s", "ms", "us", "rfc3339", "iso8601_utc", "http_date"); err != nil {
		return err
	}
	if key := v.timestampAt.key(); key != "" {
		switch syntax := v.signature.Syntax; {
		case v.http != nil: // see compileCreated
		case syntax != "kv" && syntax != "positional":
			return wrong("timestamp", "kv: the signature's syntax is %s, which has no keys", syntax)
		case slices.Contains(v.signature.Key, key):
			return wrong("timestamp", "kv: that key carries the signature")
		case syntax == "positional" && !slices.Contains(v.signature.Names, key):
			return wrong("timestamp", "kv: not one of the names %s", join(v.signature.Names))
		}
	}
	v.tolerance = DefaultTolerance
	if v.scheme.Tolerance != nil {
		v.tolerance = time.Duration(*v.scheme.Tolerance)
	}
	if v.tolerance <= 0 {
		return wrong("tolerance", "%s would refuse every delivery: write a positive duration, or switch the check off with: timestamp off", v.tolerance)
	}
	v.timestamp = ts
	return nil
}

// bodyTimestamp reads a timestamp inside the signed content.
func (c *Check) bodyTimestamp(body []byte) *Rejection {
	if c.timestamp != "" || !c.v.timestampAt.inside() {
		return nil
	}
	src := &c.v.timestampAt[0]
	text, err := c.read(src, body)
	switch {
	case absent(err) && c.v.timestamp.Optional:
		return nil
	case err != nil:
		return src.refused(err, MissingTimestamp, MalformedTimestamp, "")
	}
	c.timestamp = text
	if src.kind == inClaim && c.v.timestamp.Unit == "s" { // a NumericDate may have a fraction
		c.timestamp, _, _ = strings.Cut(text, ".")
	}
	return nil
}

// readTimestamp parses the delivery's timestamp and compares it with now.
func (c *Check) readTimestamp() *Rejection {
	ts := &c.v.timestamp
	if ts.Off && !c.v.timestampSigned {
		return nil // not required
	}
	if c.timestamp == "" && ts.Optional {
		return nil
	}
	if c.timestamp == "" {
		return reject(MissingTimestamp, "no %s", c.v.timestampAt)
	}
	t, err := parseTimestamp(c.timestamp, ts.Unit)
	if err != nil {
		return reject(MalformedTimestamp, "%s is not a time in %s", c.v.timestampAt, ts.Unit)
	}
	c.time = t
	if ts.Off {
		return nil
	}
	skew := c.now.Sub(t)
	switch {
	case skew > c.v.tolerance:
		return &Rejection{Reason: StaleTimestamp, Detail: "the delivery is " + skew.Round(time.Second).String() + " old, tolerance " + c.v.tolerance.String(), Skew: skew}
	case skew < -c.v.tolerance: // not -skew: the smallest Duration is its own negative
		ahead := -max(skew, -math.MaxInt64)
		return &Rejection{Reason: FutureTimestamp, Detail: "the delivery is " + ahead.Round(time.Second).String() + " ahead, tolerance " + c.v.tolerance.String(), Skew: skew}
	}
	return nil
}
