package caddymodule

import (
	"math/bits"
	"sync"
)

// spares are buffers of earlier large bodies, by size: 16 sizes for each power of two
// above smallBody, so that a buffer is at most a sixteenth larger than asked for. New
// ones for each body would cost more than everything but its signature.
var spares [12 * 16]sync.Pool // up to 64 MiB

// A buffer is the memory of a large body. Behind that body it may still hold an earlier
// one, which nobody gets to see: the slice of a body has no more capacity than length.
type buffer struct {
	memory []byte
	size   *sync.Pool
}

// newBuffer returns memory for n bytes, and its buffer if it can be reused.
func newBuffer(n int64) ([]byte, *buffer) {
	width := bits.Len64(uint64(n - 1))
	step := max(width-5, 0)
	steps := int((n-1)>>step) + 1 // 17 to 32
	i := (width-bits.Len(smallBody))*16 + steps - 17
	if n <= smallBody || i >= len(spares) {
		return make([]byte, 0, n), nil
	}
	b, ok := spares[i].Get().(*buffer)
	if !ok {
		b = &buffer{make([]byte, steps<<step), &spares[i]}
	}
	return b.memory[:0:n], b
}

// reuse leaves the body's buffer to later ones if nobody can read this body any more. An
// inbox may keep it.
func (d *delivery) reuse() {
	if d.buffer == nil || d.box != nil {
		return
	}
	for c := d.copies; c != nil; c = c.earlier {
		if !c.ended() {
			return
		}
	}
	d.buffer.size.Put(d.buffer)
	d.buffer, d.body, d.whole = nil, nil, false
}
