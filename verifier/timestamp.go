package verifier

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var errTimestamp = errors.New("not a timestamp of its unit")

// imfFixdate is the one form of RFC 9110 §5.6.7 that senders may produce.
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// parseTimestamp reads text in a unit. Unix times are digits without a leading
// zero and no more: with a sign, a fraction or a zero in front, one instant has
// several texts, and bytes could move between a timestamp and what it touches.
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

// formatTimestamp is parseTimestamp's inverse.
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

// readTimestamp parses the delivery's timestamp and compares it with now.
func (c *Check) readTimestamp() *Rejection {
	ts := &c.v.timestamp
	if ts.Off && !c.v.timestampSigned {
		return nil // nobody asks for it
	}
	if c.timestamp == "" && ts.Optional {
		return nil
	}
	if c.timestamp == "" {
		return reject(MissingTimestamp, "no %s", ts.source())
	}
	t, err := parseTimestamp(c.timestamp, ts.Unit)
	if err != nil {
		return reject(MalformedTimestamp, "%s is not a time in %s", ts.source(), ts.Unit)
	}
	c.time = t
	if ts.Off {
		return nil
	}
	skew := c.now.Sub(t)
	switch {
	case skew > c.v.tolerance:
		return &Rejection{Reason: StaleTimestamp, Detail: "the delivery is " + skew.Round(time.Second).String() + " old, tolerance " + c.v.tolerance.String(), Skew: skew}
	case skew < -c.v.tolerance: // not -skew: the least Duration is its own negative
		ahead := -max(skew, -math.MaxInt64)
		return &Rejection{Reason: FutureTimestamp, Detail: "the delivery is " + ahead.Round(time.Second).String() + " ahead, tolerance " + c.v.tolerance.String(), Skew: skew}
	}
	return nil
}

// inside reports whether only the verified content shows the time.
func (ts *Timestamp) inside() bool { return ts.JSON != "" || ts.Form != "" || ts.Claim != "" }

// source names where the timestamp stands, for a person.
func (ts *Timestamp) source() string {
	switch {
	case ts.KV != "":
		return "key " + ts.KV + " beside the signature"
	case ts.Claim != "":
		return "claim " + ts.Claim + " of the JWT"
	case ts.JSON != "" && ts.Form != "":
		return "form field " + ts.Form + ", or timestamp at " + ts.JSON + " of a JSON body"
	case ts.Form != "":
		return "form field " + ts.Form
	case ts.JSON != "":
		return "timestamp at " + ts.JSON + " of the body"
	}
	return "header " + strings.Join(ts.Header, " or ")
}
