package inbox

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
)

// The binary form of a delivery in a file or a message: a version, then its fields in
// a fixed order, strings preceded by their length. Headers may hold bytes that are
// not UTF-8, so it is not a text format. New fields are appended: older readers
// ignore them.
const codecVersion = 2

var errCodec = errors.New("inbox: not a delivery, or damaged")

// AppendBinary appends d to b in the form that [Delivery.UnmarshalBinary] reads. The
// error is always nil.
func (d *Delivery) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, codecVersion)
	b = append(b, d.Key[:]...)
	for _, s := range d.texts() {
		b = appendString(b, *s)
	}
	b = appendTime(b, d.Received)
	b = appendTime(b, d.Timestamp)
	b = append(b, d.flags())
	if d.TLS != nil {
		b = binary.BigEndian.AppendUint16(b, d.TLS.Version)
		b = binary.BigEndian.AppendUint16(b, d.TLS.CipherSuite)
		b = appendString(b, d.TLS.ServerName)
		b = appendString(b, d.TLS.Protocol)
		b = appendStrings(b, d.TLS.Peers)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Header)))
	for _, name := range slices.Sorted(maps.Keys(d.Header)) {
		b = appendString(b, name)
		b = appendStrings(b, d.Header[name])
	}
	b = appendString(b, d.Body)
	return appendString(b, d.Place), nil
}

// UnmarshalBinary sets d to the result of AppendBinary. It copies all it needs from
// b.
func (d *Delivery) UnmarshalBinary(b []byte) error {
	err := d.UnmarshalOwn(b)
	d.Body = slices.Clone(d.Body)
	return err
}

// UnmarshalOwn is UnmarshalBinary of bytes that nobody else uses: the body remains a part
// of them.
func (d *Delivery) UnmarshalOwn(b []byte) error {
	r := reader{b: b}
	if r.take(1)[0] != codecVersion {
		return errCodec
	}
	*d = Delivery{Key: Key(r.take(len(Key{})))}
	for _, s := range d.texts() {
		*s = string(r.bytes())
	}
	d.Received, d.Timestamp = r.time(), r.time()
	flags := r.take(1)[0]
	d.Site = Site(flags >> 1)
	if flags&hasTLS != 0 {
		d.TLS = &TLS{
			Version:     binary.BigEndian.Uint16(r.take(2)),
			CipherSuite: binary.BigEndian.Uint16(r.take(2)),
			ServerName:  string(r.bytes()),
			Protocol:    string(r.bytes()),
		}
		for range r.count() {
			d.TLS.Peers = append(d.TLS.Peers, slices.Clone(r.bytes()))
		}
	}
	d.Header = make(map[string][]string)
	for range r.count() {
		name, lines := string(r.bytes()), []string(nil)
		for range r.count() {
			lines = append(lines, string(r.bytes()))
		}
		d.Header[name] = lines
	}
	d.Body = slices.Clip(r.bytes())
	if len(r.b) > 0 { // older records end here
		d.Place = string(r.bytes())
	}
	if r.failed {
		*d = Delivery{}
		return errCodec
	}
	return nil
}

// hasTLS is the first bit of flags. The others are the site.
const hasTLS = 1

func (d *Delivery) flags() byte {
	f := byte(d.Site) << 1
	if d.TLS != nil {
		f |= hasTLS
	}
	return f
}

// texts returns the string fields, in the order of the form.
func (d *Delivery) texts() []*string {
	return []*string{
		&d.Handler, &d.Tenant, &d.Label, &d.ID, &d.Event,
		&d.Method, &d.Target, &d.Host, &d.Proto, &d.Remote, &d.Local,
		&d.Seen.Method, &d.Seen.Target, &d.Provider,
	}
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendStrings[T ~string | ~[]byte](b []byte, list []T) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// appendTime appends nanoseconds since 1970, 0 for the zero time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// A reader returns zeros after reading past the end, and remembers it.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.failed, r.b = true, nil
		return make([]byte, min(n, len(Key{}))) // a length beyond the end is damage: avoid a large allocation
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

// count reads a number of items; each has at least one byte.
func (r *reader) count() int {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return int(n)
}

func (r *reader) bytes() []byte { return r.take(r.count()) }

func (r *reader) time() time.Time {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return time.Time{}
	}
	r.b = r.b[size:]
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
