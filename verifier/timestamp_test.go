package verifier

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestParseTimestamp: each instant has one text in a unit.
func TestParseTimestamp(t *testing.T) {
	at := time.Date(2025, 10, 9, 8, 53, 20, 0, time.UTC) // 1760000000, by date -u -d @1760000000
	for _, tc := range []struct {
		unit, text string
		want       time.Time // zero: refused
	}{
		{"s", "1760000000", at},
		{"ms", "1760000000123", at.Add(123 * time.Millisecond)},
		{"us", "1760000000123456", at.Add(123456 * time.Microsecond)},
		{"s", "1760000000123", time.Unix(1760000000123, 0)}, // ms for s: readable, and far ahead
		{"s", "999999999999999999", time.Unix(999999999999999999, 0)},
		{"s", "1", time.Unix(1, 0)},
		{"s", "", time.Time{}},
		{"s", "0", time.Time{}},
		{"s", "01760000000", time.Time{}},
		{"s", "-1760000000", time.Time{}},
		{"s", "+1760000000", time.Time{}},
		{"s", " 1760000000", time.Time{}},
		{"s", "1760000000 ", time.Time{}},
		{"s", "1760000000\n", time.Time{}},
		{"s", "1760000000.0", time.Time{}},
		{"s", "1760000000.123", time.Time{}},
		{"s", "1760000000,5", time.Time{}},
		{"s", "1_760_000_000", time.Time{}},
		{"s", "1.76e9", time.Time{}},
		{"s", "0x68e77a80", time.Time{}},
		{"s", "Infinity", time.Time{}},
		{"s", "inf", time.Time{}},
		{"s", "NaN", time.Time{}},
		{"s", "null", time.Time{}},
		{"s", "１７６０００００００", time.Time{}}, // full-width digits
		{"s", "9223372036854775807", time.Time{}},
		{"s", "9223372036854775808", time.Time{}},
		{"s", strings.Repeat("9", 5000), time.Time{}},
		{"ms", "1760000000.123", time.Time{}},
		{"s", "2025-10-09T08:53:20Z", time.Time{}},

		{"rfc3339", "2025-10-09T08:53:20Z", at},
		{"rfc3339", "2025-10-09T10:53:20+02:00", at},
		{"rfc3339", "2025-10-09T08:53:20.5Z", at.Add(time.Second / 2)},
		{"rfc3339", "2025-10-09T08:53:20", time.Time{}},
		{"rfc3339", "2025-10-09 08:53:20Z", time.Time{}},
		{"rfc3339", "2025-10-09T08:53:20Z ", time.Time{}},
		{"rfc3339", "2025-02-30T08:53:20Z", time.Time{}},
		{"rfc3339", "1760000000", time.Time{}},

		{"iso8601_utc", "2025-10-09T08:53:20", at},
		{"iso8601_utc", "2025-10-09T08:53:20.25", at.Add(time.Second / 4)},
		{"iso8601_utc", "2025-10-09T08:53:20Z", at},
		{"iso8601_utc", "2025-10-09T03:53:20-05:00", at},
		{"iso8601_utc", "2025-10-09", time.Time{}},
		{"iso8601_utc", "1760000000", time.Time{}},

		{"http_date", "Thu, 09 Oct 2025 08:53:20 GMT", at},
		{"http_date", "Thu, 09 Oct 2025 08:53:20 UTC", time.Time{}},
		{"http_date", "Thursday, 09-Oct-25 08:53:20 GMT", time.Time{}}, // obsolete RFC 850 form
		{"http_date", "Thu Oct  9 08:53:20 2025", time.Time{}},         // obsolete asctime form
		{"http_date", "Thu, 09 Oct 2025 08:53:20 GMT+1", time.Time{}},
	} {
		t.Run(tc.unit+" "+strconv.Quote(tc.text[:min(len(tc.text), 40)]), func(t *testing.T) {
			got, err := parseTimestamp(tc.text, tc.unit)
			switch {
			case tc.want.IsZero() && err == nil:
				t.Errorf("got %v, want it refused", got)
			case !tc.want.IsZero() && (err != nil || !got.Equal(tc.want)):
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

// TestTolerance: the same in both directions, including the limit.
// TestFresh: no delivery is accepted for longer than Fresh says.
func TestFresh(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Scheme)
		want   time.Duration
	}{
		"default":     {func(*Scheme) {}, 10 * time.Minute},
		"own":         {func(s *Scheme) { s.Tolerance = new(Duration(time.Hour)) }, 2 * time.Hour},
		"the longest": {func(s *Scheme) { s.Tolerance = new(Duration(math.MaxInt64)) }, math.MaxInt64 - 1},
		"not checked": {func(s *Scheme) { s.Timestamp.Off = true }, 0},
		"none":        {func(s *Scheme) { s.Timestamp, s.Message = nil, nil }, 0},
	} {
		s := timed("s")
		tc.change(&s)
		v, err := Compile(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := v.Fresh(); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestTolerance(t *testing.T) {
	minute := Duration(time.Minute)
	for _, tc := range []struct {
		what      string
		tolerance *Duration
		skew      time.Duration // now minus timestamp
		want      Reason
	}{
		{"same second", nil, 0, genuine},
		{"at the edge, old", nil, 5 * time.Minute, genuine},
		{"past the edge, old", nil, 5*time.Minute + 1, StaleTimestamp},
		{"at the edge, ahead", nil, -5 * time.Minute, genuine},
		{"past the edge, ahead", nil, -5*time.Minute - 1, FutureTimestamp},
		{"own tolerance, edge", &minute, time.Minute, genuine},
		{"own tolerance, old", &minute, time.Minute + time.Second, StaleTimestamp},
		{"own tolerance, ahead", &minute, -time.Minute - time.Second, FutureTimestamp},
		{"a year", nil, 365 * 24 * time.Hour, StaleTimestamp},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := timed("s")
			s.Tolerance = tc.tolerance
			v := mustVerifier(t, s, Key{Text: testKey})
			req := post("X-Time", "1760000000", "X-Signature", timedMAC)
			if got := judge(v, req, testNow.Add(tc.skew), testBody); got != string(tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if tc.want != genuine {
				if _, _, err := v.Open(req, testNow.Add(tc.skew)); rejection(t, err).Skew != tc.skew {
					t.Errorf("skew %v, want %v", rejection(t, err).Skew, tc.skew)
				}
			}
		})
	}
}

func timed(unit string) Scheme {
	return Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}},
		Message:   StringList{"{timestamp}.{body}"},
		Timestamp: &Timestamp{Header: StringList{"X-Time"}, Unit: unit},
	}
}

// openssl
const timedMAC = "a5e6ac59bf6a410d07072d1bd182062662bec60e4d1270123e91f6b4152d2457"

// TestTimestampSources: every unit from a header, a key beside the signature and the
// body. The text is signed as sent.
func TestTimestampSources(t *testing.T) {
	for _, tc := range []struct {
		what, unit, text string
		want             Reason
	}{
		{"seconds", "s", "1760000000", genuine},
		{"milliseconds", "ms", "1760000000999", genuine},
		{"microseconds", "us", "1760000000999999", genuine},
		{"rfc3339", "rfc3339", "2025-10-09T08:53:20Z", genuine},
		{"rfc3339 with a zone", "rfc3339", "2025-10-09T10:53:20.5+02:00", genuine},
		{"iso8601_utc", "iso8601_utc", "2025-10-09T08:53:20", genuine},
		{"http_date", "http_date", "Thu, 09 Oct 2025 08:53:20 GMT", genuine},
		{"milliseconds for seconds", "s", "1760000000000", FutureTimestamp},
		{"microseconds for seconds", "s", "1760000000000000", FutureTimestamp},
		{"seconds for milliseconds", "ms", "1760000000", StaleTimestamp},
		{"more than 292 years ahead", "s", "99999999999", FutureTimestamp},
		{"as far ahead as digits go", "s", "999999999999999999", FutureTimestamp},
		{"year 9999", "rfc3339", "9999-12-31T23:59:59Z", FutureTimestamp},
		{"year 1", "rfc3339", "0001-01-01T00:00:00Z", StaleTimestamp},
		{"one", "s", "1", StaleTimestamp},
		{"zero", "s", "0", MalformedTimestamp},
		{"negative", "s", "-1760000000", MalformedTimestamp},
		{"plus", "s", "+1760000000", MalformedTimestamp},
		{"leading zero", "s", "01760000000", MalformedTimestamp},
		{"fraction", "s", "1760000000.5", MalformedTimestamp},
		{"infinity", "s", "Infinity", MalformedTimestamp},
		{"empty", "s", "", MissingTimestamp},
	} {
		t.Run(tc.what, func(t *testing.T) {
			mac := macOf(testKey, tc.text+"|"+testBody)
			s := timed(tc.unit)
			s.Message = StringList{"{timestamp}|{body}"}
			v := mustVerifier(t, s, Key{Text: testKey})
			expect(t, v, post("X-Time", tc.text, "X-Signature", mac), testBody, tc.want)

			s.Signature = &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"v1"}, PairSeparator: ";"}
			s.Timestamp = &Timestamp{KV: "t", Unit: tc.unit}
			v = mustVerifier(t, s, Key{Text: testKey})
			expect(t, v, post("X-Signature", "t="+tc.text+";v1="+mac), testBody, tc.want)
			expect(t, v, post("X-Signature", "v1="+mac+"; t="+tc.text), testBody, tc.want)

			s.Signature = &Signature{Header: StringList{"X-Signature"}, Syntax: "positional", Names: []string{"at", "sig"}, Key: StringList{"sig"}, PairSeparator: ";"}
			s.Timestamp = &Timestamp{KV: "at", Unit: tc.unit}
			v = mustVerifier(t, s, Key{Text: testKey})
			expect(t, v, post("X-Signature", tc.text+";"+mac), testBody, tc.want)

			if tc.text == "" {
				return
			}
			s = Scheme{Signature: &Signature{Header: StringList{"X-Signature"}}, Timestamp: &Timestamp{JSON: "meta.at", Unit: tc.unit}}
			v = mustVerifier(t, s, Key{Text: testKey})
			body := `{"meta":{"at":` + strconv.Quote(tc.text) + `}}`
			expect(t, v, post("X-Signature", macOf(testKey, body)), body, tc.want)
		})
	}
}

// TestTimestampInBody: the signature is checked first, then the time.
func TestTimestampInBody(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}},
		Timestamp: &Timestamp{JSON: "at"},
	}, Key{Text: testKey})
	for body, want := range map[string]Reason{
		`{"at":1760000000}`:                 genuine,
		`{"at":"1760000000"}`:               genuine,
		`{"at":1760000000.0}`:               MalformedTimestamp,
		`{"at":1.76e9}`:                     MalformedTimestamp,
		`{"at":null}`:                       MissingTimestamp,
		`{"at":""}`:                         MissingTimestamp,
		`{"at":[1760000000]}`:               MissingTimestamp,
		`{}`:                                MissingTimestamp,
		`{"at":1760000000,"at":1760000000}`: MalformedTimestamp,
		`{"at":1,"a\u0074":1760000000}`:     MalformedTimestamp,
		`[{"at":1760000000}]`:               MalformedTimestamp,
		`at=1760000000`:                     MalformedTimestamp,
		`{"at":1759999000}`:                 StaleTimestamp,
	} {
		expect(t, v, post("X-Signature", macOf(testKey, body)), body, want)
		expect(t, v, post("X-Signature", wrongHex), body, SignatureMismatch)
	}
	// also signed outside the body
	v = mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}},
		Message:   StringList{"{timestamp}.{body}"},
		Timestamp: &Timestamp{JSON: "at"},
	}, Key{Text: testKey})
	body := `{"at":1760000000}`
	expect(t, v, post("X-Signature", macOf(testKey, "1760000000."+body)), body, genuine)
	expect(t, v, post("X-Signature", wrongHex), `{}`, MissingTimestamp)
	expect(t, v, post("X-Signature", wrongHex), `{"at":1,"at":2}`, MalformedTimestamp)
}

// TestRepeatedTimestampKey: candidates may repeat, the timestamp must not.
func TestRepeatedTimestampKey(t *testing.T) {
	sig := &Signature{Header: StringList{"X-A", "X-B"}, Syntax: "kv", Key: StringList{"v1"}}
	v := mustVerifier(t, Scheme{Signature: sig, Message: StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"}}, Key{Text: testKey})
	good := "v1=" + timedMAC
	for _, tc := range []struct {
		a, b string
		want Reason
	}{
		{"t=1760000000," + good, "", genuine},
		{good, "", MissingTimestamp},
		{"t=," + good, "", MissingTimestamp},
		{"t=1760000000,t=1760000000," + good, "", MalformedTimestamp},
		{"t=1760000000,t=1," + good, "", MalformedTimestamp},
		{"t=1," + good + ",t=1760000000", "", MalformedTimestamp},
		{"t=,t=1760000000," + good, "", MalformedTimestamp},
		{"t=1760000000,t=," + good, "", MalformedTimestamp},
		{"t=1760000000,v1=" + wrongHex, "t=1760000000," + good, genuine},
		{"t=1760000001,v1=" + wrongHex, "t=1760000000," + good, MalformedTimestamp},
		{"T=1,t=1760000000," + good, "", genuine},
	} {
		expect(t, v, post("X-A", tc.a, "X-B", tc.b), testBody, tc.want)
	}
}

// TestTimestampOff: freshness is not checked, but the text is still signed and still
// digits.
func TestTimestampOff(t *testing.T) {
	s := timed("s")
	s.Timestamp.Off = true
	v := mustVerifier(t, s, Key{Text: testKey})
	// openssl
	expect(t, v, post("X-Time", "1000000000", "X-Signature", "ad45447fddd92083aa72e16833fe0a81890d91c0bf15d5ba625db6a27b13880b"), testBody, genuine)
	expect(t, v, post("X-Time", "1000000001", "X-Signature", "ad45447fddd92083aa72e16833fe0a81890d91c0bf15d5ba625db6a27b13880b"), testBody, SignatureMismatch)
	expect(t, v, post("X-Time", "soon", "X-Signature", macOf(testKey, "soon."+testBody)), testBody, MalformedTimestamp)
	expect(t, v, post("X-Signature", macOf(testKey, "."+testBody)), testBody, MissingTimestamp)
}

// TestTimestampHeaders: of several headers the first one present is read.
func TestTimestampHeaders(t *testing.T) {
	s := timed("s")
	s.Timestamp.Header = StringList{"webhook-timestamp", "svix-timestamp"}
	v := mustVerifier(t, s, Key{Text: testKey})
	expect(t, v, post("Webhook-Timestamp", "1760000000", "X-Signature", timedMAC), testBody, genuine)
	expect(t, v, post("Svix-Timestamp", "1760000000", "X-Signature", timedMAC), testBody, genuine)
	expect(t, v, post("Webhook-Timestamp", "", "Svix-Timestamp", "1760000000", "X-Signature", timedMAC), testBody, genuine)
	expect(t, v, post("Webhook-Timestamp", "1", "Svix-Timestamp", "1760000000", "X-Signature", timedMAC), testBody, StaleTimestamp)
	expect(t, v, post("Svix-Timestamp", "1760000000", "Svix-Timestamp", "1760000000", "X-Signature", timedMAC), testBody, MalformedTimestamp)
}

// TestSaturatedSkew: a rejection can express times beyond the range of Duration.
func TestSaturatedSkew(t *testing.T) {
	v := mustVerifier(t, timed("s"), Key{Text: testKey})
	_, _, err := v.Open(post("X-Time", "999999999999999999", "X-Signature", timedMAC), testNow)
	if rej := rejection(t, err); rej.Reason != FutureTimestamp || rej.Skew != math.MinInt64 || strings.Contains(rej.Detail, "-") {
		t.Errorf("got %v (skew %d)", rej, rej.Skew)
	}
}

// TestVerdictTime: the verdict has the time of the attempt.
func TestVerdictTime(t *testing.T) {
	v := mustVerifier(t, timed("s"), Key{Text: testKey})
	verdict, err := deliver(v, post("X-Time", "1760000000", "X-Signature", timedMAC), testNow.Add(time.Minute), testBody)
	if err != nil || !verdict.Timestamp.Equal(testNow) || verdict.Key != "1" {
		t.Errorf("got %+v, %v", verdict, err)
	}
}

// TestTimestampOffUnread: with the check off the timestamp is read only if the
// message contains it.
func TestTimestampOffUnread(t *testing.T) {
	unread := mustVerifier(t, bare(func(s *Scheme) {
		s.Timestamp = &Timestamp{Header: StringList{"X-Time"}, Off: true}
	}), Key{Text: testKey})
	if got := judge(unread, post("X-Signature", bodyHex), testNow, testBody); got != genuine {
		t.Errorf("a timestamp that nothing reads: got %s", got)
	}
	read := mustVerifier(t, bare(func(s *Scheme) {
		s.Timestamp, s.Message = &Timestamp{Header: StringList{"X-Time"}, Off: true}, StringList{"{timestamp}.{body}"}
	}), Key{Text: testKey})
	if got := judge(read, post("X-Signature", bodyHex), testNow, testBody); got != string(MissingTimestamp) {
		t.Errorf("a timestamp that is signed: got %s", got)
	}
}
