package main

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A delivery is a request as a sender makes it.
type delivery struct {
	path   string
	header []byte // lines with their ends
	body   []byte
}

// Mixes are what the deliveries of a run have in common.
const (
	fresh     = "fresh"     // genuine and new
	forged    = "forged"    // signed with another key
	unsigned  = "unsigned"  // without a signature
	stale     = "stale"     // genuine an hour ago
	duplicate = "duplicate" // genuine, and accepted before
)

var mixes = []string{fresh, forged, unsigned, stale, duplicate}

// A deliverer makes deliveries of one sender.
type deliverer struct {
	job
	sign *verifier.Verifier
	form bool
	body []byte // if all deliveries have the same
}

func newDeliverer(j job) (*deliverer, error) {
	p, err := providers.Get(j.Provider)
	if err != nil {
		return nil, err
	}
	d := &deliverer{job: j, form: j.Provider == "twilio"}
	if d.sign, err = verifier.New(p.Scheme, []verifier.Key{{Text: j.Key, Kind: j.KeyKind}}); err != nil {
		return nil, fmt.Errorf("%s: %w", j.Provider, err)
	}
	if !j.OwnBodies {
		d.body = d.bodyOf("")
	}
	return d, nil
}

// prepare makes all deliveries of a job, in parallel.
func (d *deliverer) prepare() ([]delivery, error) {
	all := make([]delivery, d.Most)
	at := time.Now()
	if d.Mix == stale {
		at = at.Add(-time.Hour)
	}
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() {
			for i := w; i < d.Most && errs[w] == nil; i += workers {
				all[i], errs[w] = d.one(d.First+int64(i), at)
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// one makes the delivery with a serial number.
func (d *deliverer) one(serial int64, at time.Time) (delivery, error) {
	id := "msg_" + strconv.FormatInt(serial, 36)
	one := delivery{path: d.Path, body: d.body}
	if d.Tenants > 0 {
		one.path += "/" + tenantName(int(serial*7919%int64(d.Tenants))) // 7919 is a prime: neighbours are not
	}
	if one.body == nil {
		one.body = d.bodyOf(id)
	}
	req := &verifier.Request{Method: "POST", Target: one.path, Host: host, TLS: d.TLS, Header: make(map[string][]string)}
	if err := d.sign.Sign(req, id, at, one.body); err != nil {
		return one, err
	}
	if d.form {
		req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
		req.Header["I-Twilio-Idempotency-Token"] = []string{id}
	} else {
		req.Header["Content-Type"] = []string{"application/json"}
	}
	for n := range d.Headers {
		req.Header["X-Extra-"+strconv.Itoa(n)] = []string{"as many as a CDN and a mesh add"}
	}
	var header bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		if d.Mix != unsigned || !strings.Contains(name, "Signature") {
			fmt.Fprintf(&header, "%s: %s\r\n", name, req.Header[name][0])
		}
	}
	one.header = header.Bytes()
	return one, nil
}

func tenantName(n int) string { return "tenant-" + strconv.Itoa(n) }

// bodyOf makes an event of the job's size.
func (d *deliverer) bodyOf(id string) []byte {
	begin, end, filler := `{"event_id":"`+id+`","note":"`, `"}`, "Thirty bytes of a longer note. "
	if d.form {
		begin, end, filler = "MessageSid="+id+"&Body=", "&From=%2B14155550100", "Thirty+bytes+of+a+longer+note.+"
	}
	fill := max(0, d.Body-len(begin)-len(end))
	body := append([]byte(begin), strings.Repeat(filler, fill/len(filler)+1)[:fill]...)
	return append(body, end...)
}
