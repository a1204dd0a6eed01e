package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// LabelPinned is the label of every root that the scheme itself pins: see X5C.
const LabelPinned = "pinned"

// Limits of a chain, all of which is read before anything is verified. Real chains
// have three certificates, and their keys at most 4096 bits.
const (
	maxChain    = 4
	maxChainRSA = 4096 // bits
)

// chainRules are a compiled X5C.
type chainRules struct {
	pins               [][sha256.Size]byte
	leaf, intermediate *x509.OID // nil: no extension is required
}

// A root is a certificate in which chains may end: one that the receiver holds, or one
// that the chain itself must hold, known by its fingerprint.
type root struct {
	certificate *x509.Certificate
	fingerprint [sha256.Size]byte // if certificate is nil
}

// Why a chain is not trusted. The texts hold nothing from its certificates, which
// anyone can make.
var (
	errOtherRoot  = errors.New("its certificates do not lead to a root that is configured")
	errExpired    = errors.New("one of its certificates was not valid at that time")
	errPath       = errors.New("its certificates are not a valid path (RFC 5280)")
	errOtherUse   = errors.New("its certificates were issued for another purpose")
	errChainOrder = errors.New("x5c must hold each certificate once, each followed by that of its issuer")
)

func (v *Rules) compileX5C() error {
	x := v.scheme.X5C
	if x == nil {
		return nil
	}
	switch {
	case !v.signature.isJWS():
		return wrong("x5c", "only a JWS carries certificates, not a signature of syntax %s", v.signature.Syntax)
	case !v.algorithms[0].asymmetric():
		return wrong("x5c", "%s uses a shared secret, which no certificate holds", v.algorithms[0])
	case v.scheme.KeySource != nil || v.scheme.KeyID != nil:
		return wrong("x5c", "deliveries carry the certificate of their key: drop key_source, key_id and an https:// public_key")
	}
	rules := new(chainRules)
	for _, text := range x.Roots {
		pin, err := hex.DecodeString(text)
		if err != nil || len(pin) != sha256.Size {
			return wrong("x5c", "roots: write the SHA-256 fingerprint of a root certificate, 64 hex digits without colons")
		}
		rules.pins = append(rules.pins, [sha256.Size]byte(pin))
	}
	for _, oid := range []struct {
		name, text string
		to         **x509.OID
	}{{"leaf", x.Leaf, &rules.leaf}, {"intermediate", x.Intermediate, &rules.intermediate}} {
		if oid.text == "" {
			continue
		}
		parsed, err := x509.ParseOID(oid.text)
		if err != nil {
			return wrong("x5c", "%s: write the OID of an extension in digits and dots: 1.2.840.113635.100.6.11.1", oid.name)
		}
		*oid.to = &parsed
	}
	v.x5c = rules
	return nil
}

// SelfKeyed reports whether the scheme itself says where its keys are, so that the
// receiver may configure none.
func (s Scheme) SelfKeyed() bool {
	return s.KeySource != nil || s.X5C != nil && len(s.X5C.Roots) > 0
}

// pinnedKeys makes keys of the roots that the scheme pins.
func (v *Rules) pinnedKeys() (keys []compiledKey) {
	if v.x5c == nil {
		return nil
	}
	for _, pin := range v.x5c.pins {
		keys = append(keys, v.scheme.rootKeys(LabelPinned, &root{fingerprint: pin})...)
	}
	return keys
}

// rootKeys makes a key of a root for each of the scheme's algorithms.
func (s *Scheme) rootKeys(label string, r *root) (keys []compiledKey) {
	for i, a := range s.algorithms() {
		keys = append(keys, compiledKey{label: label, algorithm: a, index: uint8(i), root: r})
	}
	return keys
}

// compileRoot makes keys of the certificate of a root.
func (s *Scheme) compileRoot(k Key, p *pastedKey) ([]compiledKey, error) {
	if k.Kind == PrivateKey {
		return nil, errors.New("deliveries carry the certificates of their key, which cannot be issued here: nothing can sign as this sender does")
	}
	if k.Kind == PublicKey && p.broken == "" {
		if raw, err := p.bytes(s.PublicKeyPrefix, orDefault(s.PublicKeyEncoding, encBase64)); err == nil {
			if certificate, err := x509.ParseCertificate(raw); err == nil {
				return s.rootKeys(k.Label, &root{certificate: certificate}), nil
			}
		}
	}
	return nil, errors.New("not the certificate of a root: deliveries carry the other certificates themselves: give the root's as public_key, PEM or base64")
}

// readChain reads the certificates in a JWS's header: that of the key, then that of
// each issuer (RFC 7515 §4.1.6).
func (j *jws) readChain() error {
	if _, err := jsonpath.Top("x5c").Lookup(j.header); err == jsonpath.ErrDuplicate || err == jsonpath.ErrNotJSON {
		return err
	}
	var texts []string
	switch err := json.Unmarshal(j.members["x5c"], &texts); {
	case err != nil || len(texts) == 0:
		return errors.New("it carries no certificates (x5c)")
	case len(texts) > maxChain:
		return errors.New("it carries more certificates than any sender needs")
	}
	for i, text := range texts {
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return errors.New("x5c is not base64 of certificates")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil || !usableInChain(c.PublicKey) {
			return errors.New("x5c holds something that is not a certificate of a usable key")
		}
		// One name per certificate, in order, leaves one path to try.
		if i > 0 && !bytes.Equal(j.chain[i-1].RawIssuer, c.RawSubject) ||
			slices.ContainsFunc(j.chain, func(o *x509.Certificate) bool { return bytes.Equal(o.RawSubject, c.RawSubject) }) {
			return errChainOrder
		}
		j.chain = append(j.chain, c)
	}
	return nil
}

// usableInChain bounds the work of verifying with a key that anyone can make.
func usableInChain(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return k.N.BitLen() <= maxChainRSA
	}
	return false
}

// certifies reports whether a JWS's chain leads to a root. The chain must be valid at
// the time that the JWS states, as that is signed and its age is checked: a sender may
// deliver again what it signed before its certificate expired. Without such a time it
// must be valid now.
func (c *Check) certifies(r *root) bool {
	at := c.now
	if ts := &c.v.timestamp; c.v.timestampAt.are(inClaim) && !ts.Off && c.bodyTimestamp(nil) == nil {
		if stated, err := parseTimestamp(c.timestamp, ts.Unit); err == nil {
			at = stated
		}
	}
	if slices.ContainsFunc(c.jws.chain[1:], func(issuer *x509.Certificate) bool { return !c.affords(issuer.PublicKey) }) {
		return false
	}
	err := r.trusts(c.jws.chain, at, c.v.x5c)
	if err != nil && (c.jws.distrust == nil || err != errOtherRoot) { // of several roots, that of the chain says more
		c.jws.distrust = err
	}
	return err == nil
}

// ends reports whether the root may be at the end of a chain, by its name or fingerprint.
func (r *root) ends(chain []*x509.Certificate) bool {
	if r.certificate == nil {
		return sha256.Sum256(chain[len(chain)-1].Raw) == r.fingerprint
	}
	return slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, r.certificate.RawSubject) })
}

// mayEnd reports whether a JWS's chain may lead to the root, before any check with a key.
func (c *Check) mayEnd(r *root) bool {
	ends := r.ends(c.jws.chain)
	if !ends && c.jws.distrust == nil {
		c.jws.distrust = errOtherRoot
	}
	return ends
}

// trusts reports why a chain does not lead to the root.
func (r *root) trusts(chain []*x509.Certificate, at time.Time, rules *chainRules) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	rest, last := chain[1:], chain[len(chain)-1]
	if r.certificate != nil {
		roots.AddCert(r.certificate)
	} else if !r.ends(chain) {
		return errOtherRoot
	} else {
		roots.AddCert(last)
		rest = rest[:max(0, len(rest)-1)]
	}
	for _, c := range rest {
		between.AddCert(c)
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return errExpired
	case unknown:
		return errOtherRoot
	case err != nil:
		return errPath
	}
	for _, path := range paths {
		if rules.fits(path) {
			return nil
		}
	}
	return errOtherUse
}

// fits reports whether the certificates of a path, from the leaf to the root, are
// marked for this purpose.
func (r *chainRules) fits(path []*x509.Certificate) bool {
	leaf, between := path[0], path[1:max(1, len(path)-1)]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 || !marked(leaf, r.leaf) {
		return false
	}
	if r.intermediate != nil && len(between) == 0 {
		return false
	}
	return !slices.ContainsFunc(between, func(c *x509.Certificate) bool { return !marked(c, r.intermediate) })
}

// marked reports whether a certificate has an extension.
func marked(c *x509.Certificate, oid *x509.OID) bool {
	return oid == nil || slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return oid.EqualASN1OID(e.Id) })
}
