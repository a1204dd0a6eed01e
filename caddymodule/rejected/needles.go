package rejected

import (
	"slices"
	"strings"
)

// needles finds any of a set of texts in a value. Strangers choose the values and a
// gateway may have thousands of keys, so the time hardly depends on their number.
type needles struct {
	sorted   []string // of at least shortestKey bytes; none begins with another
	starts   [1 << 10]uint64
	longest  int
	searched int // bytes so far, for tests
}

func newNeedles(texts []string) *needles {
	n := new(needles)
	for _, text := range slices.Sorted(slices.Values(texts)) {
		if last := len(n.sorted) - 1; len(text) < shortestKey || last >= 0 && strings.HasPrefix(text, n.sorted[last]) {
			continue
		}
		n.sorted, n.longest = append(n.sorted, text), max(n.longest, len(text))
		h := hashOf(text)
		n.starts[h>>6] |= 1 << (h & 63)
	}
	return n
}

// in reports whether the value contains one of the texts.
func (n *needles) in(value string) bool {
	n.searched += len(value)
	for i := 0; i+shortestKey <= len(value); i++ {
		h := hashOf(value[i:])
		if n.starts[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		// Of all texts that sort up to value[i:], only the last can be its beginning.
		at, found := slices.BinarySearch(n.sorted, value[i:])
		if found || at > 0 && strings.HasPrefix(value[i:], n.sorted[at-1]) {
			return true
		}
	}
	return false
}

// hashOf hashes the first shortestKey bytes of a text to 16 bits.
func hashOf(text string) uint32 {
	return (uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24) * 2654435761 >> 16
}
