package verifier

import (
	"fmt"

	"github.com/dunglas/httpsfv"
)

// signHTTP writes Content-Digest, Signature-Input and Signature over the components
// that the scheme requires. The caller sets all other signed headers.
func (c *Check) signHTTP(k *compiledKey, id string, body []byte) error {
	h := c.v.http
	if h.covers(contentDigestField) {
		digest := contentDigests[h.Digests[0]]()
		digest.Write(body)
		if err := c.setHeader(headerDigest, h.Digests[0], httpsfv.NewItem(digest.Sum(nil))); err != nil {
			return err
		}
	}
	list := httpsfv.InnerList{Items: h.items, Params: httpsfv.NewParams()}
	if err := c.signHTTPParams(k, id, list.Params); err != nil {
		return err
	}
	c.http = new(httpCheck)
	base, _, rej := c.httpBase(list)
	if rej != nil {
		return rej
	}
	sum, err := k.sum(base)
	if err != nil {
		return err
	}
	label := orDefault(h.Label, "sig1")
	if err := c.setHeader(headerInput, label, list); err != nil {
		return err
	}
	return c.setHeader(headerSignature, label, httpsfv.NewItem(sum))
}

// signHTTPParams writes created, alg and the other required or known parameters.
func (c *Check) signHTTPParams(k *compiledKey, id string, params *httpsfv.Params) error {
	h := c.v.http
	params.Add("created", c.now.Unix())
	params.Add("alg", httpAlgorithms[k.algorithm])
	if k.id != "" {
		params.Add("keyid", k.id)
	}
	if h.Tag != "" {
		params.Add("tag", h.Tag)
	}
	for _, name := range h.Params {
		if _, ok := params.Get(name); ok {
			continue
		}
		switch {
		case name == "keyid":
			params.Add(name, k.label)
		case name == "expires":
			params.Add(name, c.now.Add(c.v.tolerance).Unix())
		case name == "nonce" && id != "":
			params.Add(name, id)
		default:
			return fmt.Errorf("the scheme requires the parameter %s, which nothing here has a value for", name)
		}
	}
	return nil
}

// setHeader sets a header to a dictionary with one member.
func (c *Check) setHeader(name, key string, value httpsfv.Member) error {
	d := httpsfv.NewDictionary()
	d.Add(key, value)
	text, err := httpsfv.Marshal(d)
	if err != nil {
		return fmt.Errorf("header %s: %w", name, err)
	}
	c.req.Header[name] = []string{text}
	return nil
}
