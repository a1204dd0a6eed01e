package verifier

import (
	"encoding"
	"hash"
	"io"
	"sync"
)

// mac is a reusable hash with scratch space for the content around the body.
type mac struct {
	hash    hash.Hash
	w       io.Writer                  // the hash again, to avoid an interface conversion per request
	saved   encoding.BinaryUnmarshaler // the same
	scratch []byte
	sum     [maxSignature]byte // zero beyond the algorithm's size
}

// macPools are for all keys: with a MAC of its own for each of thousands, the garbage
// collector would have so many more objects to visit.
var macPools = func() map[Algorithm]*sync.Pool {
	pools := make(map[Algorithm]*sync.Pool)
	for a, f := range facts {
		if f.hash != nil {
			pools[a] = newMACPool(f.hash)
		}
	}
	return pools
}()

func newMACPool(newHash func() hash.Hash) *sync.Pool {
	return &sync.Pool{New: func() any {
		h := newHash()
		saved, _ := h.(encoding.BinaryUnmarshaler) // every hash of an HMAC is one
		return &mac{hash: h, w: h, saved: saved, scratch: make([]byte, 0, 256)}
	}}
}

// compileMAC prepares the key for begin and end.
func (k *compiledKey) compileMAC() (err error) {
	f := facts[k.algorithm]
	k.macs = macPools[k.algorithm]
	if f.plain {
		return nil
	}
	h := f.hash()
	block := make([]byte, h.BlockSize())
	if len(k.secret) > len(block) {
		h.Write(k.secret)
		h.Sum(block[:0])
	} else {
		copy(block, k.secret)
	}
	inner, err := stateAfter(h, block, 0x36)
	if err != nil {
		return err
	}
	outer, err := stateAfter(h, block, 0x5c)
	k.states = append(inner, outer...)
	return err
}

// stateAfter returns the state of a hash after a key's block with a pad of RFC 2104.
func stateAfter(h hash.Hash, block []byte, pad byte) ([]byte, error) {
	padded := make([]byte, len(block))
	for i, b := range block {
		padded[i] = b ^ pad
	}
	h.Reset()
	h.Write(padded)
	return h.(encoding.BinaryMarshaler).MarshalBinary()
}

// begin returns a MAC to write the content to. The caller puts it back into k.macs.
func (k *compiledKey) begin() *mac {
	m := k.macs.Get().(*mac)
	m.reset(k.states[:len(k.states)/2])
	return m
}

// end returns the MAC of what was written since begin, in m.sum.
func (k *compiledKey) end(m *mac) []byte {
	sum := m.hash.Sum(m.sum[:0])
	if k.states != nil {
		m.reset(k.states[len(k.states)/2:])
		m.hash.Write(sum)
		sum = m.hash.Sum(sum[:0])
	}
	return sum
}

// reset returns the hash to a state, or to its first.
func (m *mac) reset(state []byte) {
	if len(state) == 0 {
		m.hash.Reset()
	} else if err := m.saved.UnmarshalBinary(state); err != nil {
		panic(err) // never: the state is of the same algorithm
	}
}
