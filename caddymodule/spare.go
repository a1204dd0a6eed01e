package caddymodule

import (
	"io"
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

// A largeBody hands out a body, and knows whether it has handed out all of it. Whoever
// reads it may go on after the handler has returned: a transport does if the app answers
// before it has the whole request, error routes if it is refused.
type largeBody struct {
	mu   sync.Mutex
	rest []byte
}

func (b *largeBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (*largeBody) Close() error { return nil }

func (b *largeBody) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rest) == 0
}

// reuse leaves the body's buffer to later ones if nobody can read this body any more. An
// inbox may keep it.
func (d *delivery) reuse() {
	if d.buffer == nil || d.box != nil || d.handed != nil && !d.handed.ended() {
		return
	}
	d.buffer.size.Put(d.buffer)
	d.buffer, d.body = nil, nil
}
