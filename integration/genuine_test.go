package integration

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGenuinePasses sends one genuine delivery of each sender: the app gets the bytes
// as sent, and the gateway's mark.
func TestGenuinePasses(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, s := range senders {
		t.Run(s.name, func(t *testing.T) {
			for _, protocol := range protocols {
				m := s.message(t)
				a, got := g.send(t, protocol, m)
				wantTaken(t, protocol, a, got)
				wantArrival(t, got, s.name, m)
			}
		})
	}
}

// wantTaken fails unless the app got a delivery once and its response was returned.
func wantTaken(t testing.TB, what string, a answer, got []arrival) {
	t.Helper()
	if a.status != http.StatusOK || a.body != "taken" || len(got) != 1 {
		t.Fatalf("%s: answered %d %q, app called %d times; want 200 and once", what, a.status, a.body, len(got))
	}
}

// wantArrival compares the app's request with the one sent.
func wantArrival(t testing.TB, got []arrival, name string, m message) {
	t.Helper()
	one := got[0]
	if !bytes.Equal(one.Body, m.body) || one.ContentLength != int64(len(m.body)) {
		t.Errorf("the app got %d bytes (Content-Length %d), not the %d that were signed", len(one.Body), one.ContentLength, len(m.body))
	}
	if mark := one.Header.Values("Webhook-Verified"); len(mark) != 1 || mark[0] != name {
		t.Errorf("Webhook-Verified: %q, want %q", mark, name)
	}
	if len(one.TransferEncoding) > 0 || len(one.Trailer) > 0 || one.Header.Get("Trailer") != "" {
		t.Errorf("the app got Transfer-Encoding %q, trailers %v, Trailer %q; want none",
			one.TransferEncoding, one.Trailer, one.Header.Get("Trailer"))
	}
}

// wantRefused fails unless the app got nothing and the sender got a status without a
// body.
func wantRefused(t testing.TB, what string, status int, a answer, got []arrival) {
	t.Helper()
	if a.status != status || a.body != "" || len(got) != 0 {
		t.Errorf("%s: answered %d %q, app called %d times; want %d, no body, never", what, a.status, a.body, len(got), status)
	}
}

// TestAlteredIsRefused alters each sender's delivery in one place at a time. From
// outside all refusals look the same.
func TestAlteredIsRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	var seen sync.Map // the distinct refusals, each with an example
	for _, s := range senders {
		t.Run(s.name, func(t *testing.T) {
			for what, m := range alterations(t, s) {
				for _, protocol := range protocols {
					a, got := g.send(t, protocol, m)
					wantRefused(t, protocol+", "+what, http.StatusUnauthorized, a, got)
					seen.Store(a.outside(), s.name+": "+what)
				}
			}
		})
	}
	kinds := 0
	seen.Range(func(look, example any) bool {
		if kinds++; kinds > 1 {
			t.Errorf("a refusal that can be told from the others: %s (%s)", look, example)
		}
		return true
	})
}

// alterations are deliveries that differ from a genuine one in one place.
func alterations(t testing.TB, s sender) map[string]message {
	t.Helper()
	now := time.Now()
	genuine := s.deliver(t, s.key, now, []byte(s.body))
	with := func(header http.Header, body []byte) message {
		return message{path: s.path, header: header, body: body}
	}
	all := map[string]message{
		"another key": s.deliver(t, s.otherKey(), now, []byte(s.body)),
		"no headers":  with(nil, genuine.body),
		"empty body":  with(genuine.header, nil),
		"longer body": with(genuine.header, append(bytes.Clone(genuine.body), '\n')),
	}
	body := bytes.Clone(genuine.body)
	body[len(body)/2] ^= 1
	all["one bit of the body"] = with(genuine.header, body)
	for name, values := range genuine.header {
		header := genuine.header.Clone()
		header.Set(name, alter(values[0]))
		all["one byte of "+name] = with(header, genuine.body)
		header = genuine.header.Clone()
		delete(header, name)
		all["no "+name] = with(header, genuine.body)
		header = genuine.header.Clone()
		header.Set(name, "")
		all["empty "+name] = with(header, genuine.body)
		header = genuine.header.Clone()
		header.Set(name, values[0][:len(values[0])-4]) // more than base64 padding, which is optional
		all["shorter "+name] = with(header, genuine.body)
	}
	if s.timed {
		all["ten minutes old"] = s.deliver(t, s.key, now.Add(-10*time.Minute), genuine.body)
		all["ten minutes ahead"] = s.deliver(t, s.key, now.Add(10*time.Minute), genuine.body)
		all["another minute"] = with(anotherMinute(genuine.header, now), genuine.body)
	}
	return all
}

// alter changes one character to one that every encoding here has.
func alter(value string) string {
	b := []byte(value)
	if i := len(b) / 2; b[i] != '1' {
		b[i] = '1'
	} else {
		b[i] = '0'
	}
	return string(b)
}

// anotherMinute moves a delivery's timestamp by a minute: fresh, but not the signed
// one.
func anotherMinute(h http.Header, signed time.Time) http.Header {
	from := strconv.FormatInt(signed.Unix(), 10)
	to := strconv.FormatInt(signed.Add(-time.Minute).Unix(), 10)
	moved := make(http.Header)
	for name, values := range h {
		moved[name] = []string{strings.Replace(values[0], from, to, 1)}
	}
	return moved
}

// TestXSignatureMethodsAndTypes: any of three methods, any type of content.
func TestXSignatureMethodsAndTypes(t *testing.T) {
	t.Parallel()
	g := shared(t)
	bodies := map[string]string{
		"application/json":                  jsonBody,
		"application/x-www-form-urlencoded": "event=contact.updated&note=" + bodyMark + "&name=caf%C3%A9+%2B",
		"multipart/form-data; boundary=b1":  "--b1\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n\x89PNG\r\n" + bodyMark + "\r\n--b1--\r\n",
	}
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		for kind, body := range bodies {
			m := workspace.deliver(t, workspaceKey, time.Now(), []byte(strings.Replace(body, bodyMark, bodyMark+newID(), 1)))
			m.method = method
			m.header.Set("Content-Type", kind)
			a, got := g.send(t, "HTTP/1.1", m)
			wantTaken(t, method+" "+kind, a, got)
			wantArrival(t, got, "x_signature", m)
			if got[0].Method != method || got[0].Header.Get("Content-Type") != kind {
				t.Errorf("the app got %s %s, want %s %s", got[0].Method, got[0].Header.Get("Content-Type"), method, kind)
			}
			m.body = append(bytes.Clone(m.body), ' ')
			a, got = g.send(t, "HTTP/1.1", m)
			wantRefused(t, "altered "+method+" "+kind, http.StatusUnauthorized, a, got)
		}
	}
}

// TestYapilyRotation: either header counts, with either key, in either case.
func TestYapilyRotation(t *testing.T) {
	t.Parallel()
	g := shared(t)
	wrong := opensslHex(t, "neither", []byte(jsonBody))
	for _, name := range []string{"Webhook-Signature", "Webhook-Rotation-Signature"} {
		for _, key := range []string{yapilyOldKey, yapilyNewKey} {
			for what, header := range map[string]func(sum string) http.Header{
				"alone":      func(sum string) http.Header { return http.Header{name: {sum}} },
				"upper case": func(sum string) http.Header { return http.Header{name: {strings.ToUpper(sum)}} },
				"beside another": func(sum string) http.Header {
					h := http.Header{"Webhook-Signature": {wrong}, "Webhook-Rotation-Signature": {wrong}}
					h.Set(name, sum)
					return h
				},
			} {
				m := message{path: yapily.path, body: fresh(jsonBody)}
				m.header = header(opensslHex(t, key, m.body))
				confideHeader(m.header.Get(name))
				a, got := g.send(t, "HTTP/1.1", m)
				wantTaken(t, name+" with "+key+", "+what, a, got)
			}
		}
	}
	a, got := g.send(t, "HTTP/1.1", message{path: yapily.path, body: []byte(jsonBody),
		header: http.Header{"Webhook-Signature": {wrong}, "Webhook-Rotation-Signature": {wrong}}})
	wantRefused(t, "neither key", http.StatusUnauthorized, a, got)
}
