package verifier

import (
	"crypto/subtle"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// httpCheck is the state of a Check for RFC 9421 signatures.
type httpCheck struct {
	candidates []httpCandidate
	digests    []contentDigest     // of Content-Digest, if a signature covers it
	noDigest   *Rejection          // why digests is empty
	query      map[string][]string // set if a signature covers a parameter
	// Headers of which a signature covers a member; nil for one that is no dictionary.
	fields map[string]*httpsfv.Dictionary
}

// httpCandidate is one acceptable signature.
type httpCandidate struct {
	base      []byte
	digest    bool // the signature covers Content-Digest
	signature []byte
	keyID     string
	alg       string    // "": that of the key
	time      time.Time // created; zero without it
}

// openHTTP reads the acceptable signatures (RFC 9421 §3.2, steps 1 to 4 and 7). A
// dictionary may be split over lines, but is refused here: the app or a proxy might
// read only one of them.
func (c *Check) openHTTP() *Rejection {
	if len(c.req.Target)+len(c.req.Host) > maxStructured {
		return reject(MalformedSignature, "the request's URL has more than %d bytes", maxStructured)
	}
	signatures, rej := c.structured(headerSignature)
	if rej != nil {
		return rej
	}
	inputs, rej := c.structured(headerInput)
	if rej != nil {
		return rej
	}
	labels := inputs.Names()
	if n := max(len(labels), len(signatures.Names())); n > maxPublic {
		return reject(MalformedSignature, "more than %d signatures", maxPublic)
	}
	if c.v.http.Label == "" && !slices.Equal(slices.Sorted(slices.Values(labels)), slices.Sorted(slices.Values(signatures.Names()))) {
		return reject(MalformedSignature, "headers %s and %s do not have the same labels", headerSignature, headerInput)
	}
	c.http = new(httpCheck)
	size := 0
	for _, label := range labels {
		if want := c.v.http.Label; want != "" && label != want {
			continue
		}
		input, _ := inputs.Get(label)
		signature, ok := signatures.Get(label)
		if !ok {
			return reject(MalformedSignature, "header %s has no label %s", headerSignature, label)
		}
		candidate, rej := c.openHTTPSignature(input, signature)
		if rej != nil {
			c.malformed = rej
			continue
		}
		if size += len(candidate.base); size > maxBase {
			return reject(MalformedSignature, "the signatures cover more than %d bytes", maxBase)
		}
		c.http.candidates = append(c.http.candidates, candidate)
	}
	c.count = len(c.http.candidates)
	switch {
	case c.count == 0 && c.malformed != nil:
		return c.malformed
	case c.count == 0:
		return reject(MalformedSignature, "no signature has the label %s", c.v.http.Label)
	}
	return nil
}

// structured parses a header that is a dictionary.
func (c *Check) structured(name string) (*httpsfv.Dictionary, *Rejection) {
	value, rej := c.require(source{kind: inHeader, name: name}, nil, MissingSignature, MalformedSignature, "")
	if rej != nil {
		return nil, rej
	}
	if name == headerSignature {
		value = c.standardBytes(value)
	}
	d, err := dictionary(value)
	if err != nil {
		return nil, reject(MalformedSignature, "header %s: %v", name, err)
	}
	return d, nil
}

// openHTTPSignature reads the signature with one label. The delivery is refused for
// an unacceptable one only if no other is acceptable.
func (c *Check) openHTTPSignature(input, signature httpsfv.Member) (cand httpCandidate, rej *Rejection) {
	list, ok := input.(httpsfv.InnerList)
	if !ok {
		return cand, reject(MalformedSignature, "header %s: a label has no list of components", headerInput)
	}
	item, _ := signature.(httpsfv.Item)
	cand.signature, _ = item.Value.([]byte)
	n := len(cand.signature)
	if n == 0 || n > maxLong || !slices.ContainsFunc(c.v.sizes, func(size int) bool { return size == 0 || n == size }) {
		return cand, reject(MalformedSignature, "header %s: %d bytes are not a signature of %s", headerSignature, n, join(c.v.algorithms))
	}
	if rej = c.openHTTPParams(list.Params, &cand); rej != nil {
		return cand, rej
	}
	var covered []string
	if cand.base, covered, rej = c.httpBase(list); rej != nil {
		return cand, rej
	}
	for i, id := range c.v.http.components {
		if !slices.Contains(covered, id) {
			return cand, reject(MalformedSignature, "the signature does not cover %s, which the scheme requires", c.v.http.Components[i])
		}
	}
	cand.digest = slices.Contains(covered, contentDigestID)
	return cand, nil
}

// openHTTPParams compares a signature's parameters with what the scheme requires.
func (c *Check) openHTTPParams(params *httpsfv.Params, cand *httpCandidate) *Rejection {
	h := c.v.http
	for _, name := range h.Params {
		if _, ok := params.Get(name); !ok {
			return reject(MalformedSignature, "the signature has no parameter %s, which the scheme requires", name)
		}
	}
	texts := make(map[string]string)
	for _, name := range []string{"nonce", "alg", "keyid", "tag"} {
		if value, ok := params.Get(name); ok {
			if texts[name], ok = value.(string); !ok {
				return reject(MalformedSignature, "the signature's %s is not a string", name)
			}
		}
	}
	// The key determines the algorithm; the request's must agree and selects nothing
	// (§3.2, step 6).
	if alg, ok := texts["alg"]; ok && !slices.Contains(h.algs, alg) {
		return reject(MalformedSignature, "the signature's alg is not %s, the scheme's", strings.Join(h.algs, " or "))
	}
	if h.Tag != "" && texts["tag"] != h.Tag {
		return reject(MalformedSignature, "the signature's tag is not the scheme's")
	}
	cand.keyID, cand.alg = texts["keyid"], texts["alg"]
	return c.openHTTPTimes(params, cand)
}

// openHTTPTimes compares created and expires with now. There is no tolerance for
// expires, after which the sender no longer vouches for the delivery.
func (c *Check) openHTTPTimes(params *httpsfv.Params, cand *httpCandidate) *Rejection {
	c.timestamp = ""
	if value, ok := params.Get("created"); ok {
		created, ok := value.(int64)
		if !ok {
			return reject(MalformedTimestamp, "the signature's created is not an integer")
		}
		c.timestamp = strconv.FormatInt(created, 10)
	}
	c.time = time.Time{}
	if rej := c.readTimestamp(); rej != nil {
		return rej
	}
	cand.time = c.time
	value, ok := params.Get("expires")
	if !ok {
		return nil
	}
	expires, ok := value.(int64)
	if !ok {
		return reject(MalformedTimestamp, "the signature's expires is not an integer")
	}
	if late := c.now.Sub(time.Unix(expires, 0)); late > 0 {
		return &Rejection{Reason: StaleTimestamp, Detail: "the signature expired " + late.Round(time.Second).String() + " ago", Skew: late}
	}
	return nil
}

// matchHTTP tries each candidate with each key that may have made it.
func (c *Check) matchHTTP(body []byte) (string, *Rejection) {
	tried := false
	fits := allMatch(c.http.digests, body)
	for i := range c.http.candidates {
		cand := &c.http.candidates[i]
		if cand.digest && !fits {
			continue
		}
		tried = true
		c.keyID = cand.keyID
		for j := range c.v.keys {
			if k := &c.v.keys[j]; c.names(k) && k.suits(cand) && (k.macs != nil || c.affords(k.public)) && k.made(cand) {
				c.key, c.time = k, cand.time
				return k.label, nil
			}
		}
	}
	if !tried {
		return "", reject(SignatureMismatch, "header %s is not the body's", headerDigest)
	}
	// The first with an unknown key: intermediaries append theirs.
	if i := slices.IndexFunc(c.http.candidates, func(cand httpCandidate) bool { return !c.knowsKey(cand.keyID) }); i >= 0 {
		c.keyID = c.http.candidates[i].keyID
	}
	return "", c.mismatch()
}

// suits reports whether a signature may be of the key's algorithm.
func (k *compiledKey) suits(cand *httpCandidate) bool {
	size := facts[k.algorithm].size
	return (size == 0 || size == len(cand.signature)) && (cand.alg == "" || cand.alg == httpAlgorithms[k.algorithm])
}

func (k *compiledKey) made(cand *httpCandidate) bool {
	if k.macs == nil {
		return facts[k.algorithm].public.verify(k.public, cand.base, cand.signature)
	}
	sum, err := k.sum(cand.base)
	return err == nil && subtle.ConstantTimeCompare(sum, cand.signature) == 1
}
