package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
)

// maxWork limits the checks with public keys that one delivery may cost, in those of
// Ed25519, over all signatures, keys, messages and forms of the URL: a forgery must not
// be expensive, whatever the keys. It allows one signature for 16 keys of any kind, or
// eight for each of eight.
const maxWork = 64

// workOf returns the work of one check with a key: about that of Ed25519 or P-256 is 1.
func workOf(key crypto.PublicKey) int {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() { // the only curve with assembly
			return 4
		}
	case *rsa.PublicKey:
		work := 1
		switch n := k.N.BitLen(); {
		case n > 4096:
			work = 4
		case n > 2048:
			work = 2
		}
		if k.E > 1<<16+1 { // the exponent of all real keys, or 3
			work *= 4
		}
		return work
	}
	return 1
}

// affords charges one check with a key to the delivery, and reports whether it may cost
// that much. The signatures are the delivery's own, so it can use up nothing but its
// own share.
func (c *Check) affords(key crypto.PublicKey) bool {
	if c.limit == 0 {
		c.limit = c.workLimit()
	}
	work := workOf(key)
	if c.work+work > c.limit {
		c.gaveUp = true
		return false
	}
	c.work += work
	return true
}

// workLimit is maxWork or, with many keys that are cheap to check, enough for two
// signatures each: a sender in a rotation signs with the old key and the new one.
func (c *Check) workLimit() int {
	cheap := 0
	for i := range c.v.keys {
		if k := &c.v.keys[i]; k.algorithm.asymmetric() && k.of(c.keySet) && workOf(k.public) <= 2 {
			cheap++
		}
	}
	return max(maxWork, 2*cheap)
}

// twin returns the first candidate that is equal to a later one, or i itself: a copy
// costs no check of its own.
func (c *Check) twin(i int) int {
	cand := c.candidate(i)
	for j := range i {
		if other := c.candidate(j); other.algorithm == cand.algorithm && bytes.Equal(other.bytes(), cand.bytes()) {
			return j
		}
	}
	return i
}
