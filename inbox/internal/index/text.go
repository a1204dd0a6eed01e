package index

import (
	"encoding/binary"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// AppendGroup appends handler, tenant and label, each after its length: the end of the
// records of all engines.
func AppendGroup(b []byte, q inbox.Queue, label string) []byte {
	for _, text := range []string{q.Handler, q.Tenant, label} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}

// ReadGroup is the inverse of AppendGroup. It ignores what follows.
func ReadGroup(b []byte) (q inbox.Queue, label string, ok bool) {
	for _, text := range []*string{&q.Handler, &q.Tenant, &label} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return inbox.Queue{}, "", false
		}
		*text, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	return q, label, true
}
