package verifier

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// extension refuses genuine content that continues other content. A plain hash that ends
// in what the sender signed is the hash's state there, so anyone with one delivery can
// sign it with the hash's padding and more text behind it (length extension). Genuine
// content never holds its own padding: that would need a length in bits that is right.
func (c *Check) extension(body []byte) *Rejection {
	if c.key == nil || !facts[c.key.algorithm].plain || !facts[c.key.algorithm].weak {
		return nil
	}
	var content bytes.Buffer
	if _, rej := c.write(&content, nil, c.v.messages[c.message], c.key.secret, body); rej != nil {
		return rej
	}
	if holdsPadding(content.Bytes()) {
		return reject(SignatureMismatch, "the signed content continues that of another delivery (length extension of a plain hash): a forgery")
	}
	return nil
}

// holdsPadding reports whether a part of content is the padding of all before it, in SHA-1
// and SHA-256 alike (FIPS 180-4 §5.1.1): a bit, zeros, and the length in bits, to the end
// of a block.
func holdsPadding(content []byte) bool {
	const block, length = 64, 8
	for i, b := range content {
		if b != 0x80 {
			continue
		}
		end := (i + 1 + length + block - 1) / block * block
		if end > len(content) {
			return false
		}
		if zeros := content[i+1 : end-length]; strings.Trim(string(zeros), "\x00") == "" &&
			binary.BigEndian.Uint64(content[end-length:end]) == uint64(i)*8 {
			return true
		}
	}
	return false
}
