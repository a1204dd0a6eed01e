package verifier

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Sign makes req a genuine delivery of body: it sets the headers that a sender of
// this scheme would set, signed with the first key that can sign (a secret or a
// private key). It also sets timestamp and id, unless they are in the body, which the
// caller provides. Pairs beside the signature that are signed (env=main) are taken from
// the signature header that the caller has set: "sign=, env=main, t=" also tells their
// order.
func (v *Verifier) Sign(req *Request, id string, now time.Time, body []byte) error {
	if len(v.signature.Header) == 0 {
		return errors.New("this scheme carries its signature in the URL or in the body: such deliveries cannot be signed here")
	}
	k := v.signingKey()
	if k == nil {
		return errors.New("none of the keys can sign: give a secret, or a private key")
	}
	c := Check{v: v, req: req, now: now}
	if req.Header == nil {
		req.Header = make(map[string][]string)
	}
	for _, h := range v.scheme.RequireHeader {
		if name := canonicalHeader(h.Name); len(req.Header[name]) == 0 && h.Values[0] != "*" {
			req.Header[name] = []string{h.Values[0]}
		}
	}
	if v.scheme.Timestamp != nil && !v.timestampAt.inside() {
		c.timestamp = formatTimestamp(now, v.timestamp.Unit)
		if v.timestampAt.are(inHeader) {
			req.Header[v.timestampAt[0].name] = []string{c.timestamp}
		}
	}
	if v.idAt.are(inHeader) && id != "" {
		c.id = id
		req.Header[v.idAt[0].name] = []string{id}
	}
	if v.http != nil {
		return c.signHTTP(k, id, body)
	}
	if v.signature.isJWS() {
		value, err := c.signJWS(k, id, body)
		if err == nil {
			req.Header[v.signature.Header[0]] = []string{v.prefix + value}
		}
		return err
	}
	stamped := c.timestamp
	if key := v.listKey(); key != "" {
		c.list = strings.ToLower(strings.Join(v.idAt.headers(), " "))
		stamped += v.signature.PairSeparator + key + "=" + c.list
	}
	sum, err := c.sign(k, body)
	if err != nil {
		return err
	}
	value := v.writeSignature(k, stamped, encode(sum, v.signature.Encoding))
	for i, name := range v.signature.Header {
		if i == 0 || v.signature.Match == "all" {
			req.Header[name] = []string{v.besides(req.Header[name], value)}
		}
	}
	return nil
}

// besides returns the value of a signature header with the pairs of given that are
// signed and that Sign cannot know, in the order in which the caller has put them.
func (v *Verifier) besides(given []string, value string) string {
	s := &v.signature
	signed := v.slotArgs(template.KV)
	if len(signed) == 0 || s.Syntax != "kv" || len(given) != 1 {
		return value
	}
	name := func(pair string) string {
		key, _, _ := strings.Cut(pair, "=")
		return strings.TrimSpace(key)
	}
	fresh := strings.Split(value, s.PairSeparator)
	var pairs []string
	for pair := range strings.SplitSeq(given[0], s.PairSeparator) {
		space := pair[:len(pair)-len(strings.TrimLeft(pair, " "))]
		at := slices.IndexFunc(fresh, func(p string) bool { return name(p) == name(pair) })
		switch {
		case at >= 0:
			pairs = append(pairs, space+fresh[at])
			fresh = slices.Delete(fresh, at, at+1)
		case slices.Contains(signed, name(pair)):
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(append(pairs, fresh...), s.PairSeparator)
}

// slotArgs returns the names in the slots of a kind in the message that Sign writes.
func (v *Verifier) slotArgs(slot template.Slot) (args []string) {
	if len(v.messages) == 0 {
		return nil
	}
	for _, p := range v.messages[0] {
		if p.Slot == slot {
			args = append(args, p.Arg)
		}
	}
	return args
}

// listKey returns the key beside the signature that lists the signed headers, "" if none
// does.
func (v *Verifier) listKey() string {
	if keys := v.slotArgs(template.KVHeaders); len(keys) > 0 {
		return keys[0]
	}
	return ""
}

func (v *Verifier) signingKey() *compiledKey {
	for i := range v.keys {
		if k := &v.keys[i]; k.secret != nil || k.private != nil {
			return k
		}
	}
	return nil
}

func (c *Check) sign(k *compiledKey, body []byte) ([]byte, error) {
	if k.algorithm == Token {
		return k.secret, nil
	}
	var content bytes.Buffer
	if _, rej := c.write(&content, nil, c.v.messages[0], k.secret, body); rej != nil {
		return nil, rej
	}
	if rej := c.boundary(body); rej != nil { // Verify would refuse it
		return nil, rej
	}
	return k.sum(c.v.digested(content.Bytes()))
}

func (k *compiledKey) sum(content []byte) ([]byte, error) {
	if k.private != nil {
		return facts[k.algorithm].public.sign(k.private, content)
	}
	m := k.begin()
	defer k.macs.Put(m)
	m.hash.Write(content)
	return bytes.Clone(k.end(m)), nil
}

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
