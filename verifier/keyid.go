package verifier

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

// compileKeySource checks where keys are named and published.
func (v *Rules) compileKeySource() (err error) {
	if id := v.scheme.KeyID; id != nil {
		if v.keyIDAt, err = v.compileSources("key_id", id.sources(), "header or json"); err != nil {
			return err
		}
	}
	if set := v.scheme.KeySet; set != nil && (!httptoken.Valid(set.Header) || set.Member == "") {
		return wrong("key_set", "needs the name of a header and the member of its dictionary that holds the address")
	}
	source := v.scheme.KeySource
	if source == nil {
		return nil
	}
	for _, a := range v.algorithms {
		if !a.asymmetric() {
			return wrong("key_source", "%s uses a shared secret, which is never published", a)
		}
	}
	if kinds := []bool{source.JWKS != "", len(source.Sets) > 0, len(source.CertificateHosts) > 0}; len(slices.DeleteFunc(kinds, func(set bool) bool { return !set })) != 1 {
		return wrong("key_source", "needs exactly one of jwks, sets and certificate_hosts")
	}
	if len(source.Sets) > 0 && v.scheme.KeySet == nil {
		return wrong("key_source", "sets needs key_set: where the delivery names its own")
	}
	if len(source.Sets) > maxSets {
		return wrong("key_source", "%d sets: at most %d are kept", len(source.Sets), maxSets)
	}
	if slices.ContainsFunc(source.Sets, func(address string) bool { return !fetchable(address) }) {
		return wrong("key_source", "sets: write https addresses: https://example.com/.well-known/ucp")
	}
	if source.JWKS != "" && !fetchable(source.JWKS) {
		return wrong("key_source", "jwks: write an https address: https://example.com/.well-known/jwks.json")
	}
	if len(source.CertificateHosts) > 0 && v.scheme.KeyID == nil {
		return wrong("key_source", "certificate_hosts needs key_id: where the delivery names its certificate")
	}
	if problem := checkHosts(source.CertificateHosts); problem != "" {
		return wrong("key_source", "certificate_hosts: %s", problem)
	}
	if source.Paths && (len(source.CertificateHosts) != 1 || strings.Contains(source.CertificateHosts[0], "*") || source.CertificatePath == "") {
		return wrong("key_source", "paths needs one host in certificate_hosts, without *, and certificate_path: which files on it are keys")
	}
	if source.CertificatePath != "" && len(source.CertificateHosts) == 0 {
		return wrong("key_source", "certificate_path needs certificate_hosts")
	}
	if source.CertificatePath != "" {
		if v.certificatePath, err = regexp.Compile("^(?:" + source.CertificatePath + ")$"); err != nil {
			return wrong("key_source", "certificate_path: write a regular expression of the whole path: /certs/[0-9a-f]{32}\\.pem")
		}
	}
	return nil
}

// checkHosts describes the first problem with a provider file's host names, or
// returns "".
func checkHosts(hosts []string) string {
	for _, host := range hosts {
		labels := strings.Split(host, ".")
		for i, label := range labels {
			if len(labels) < 3 || label == "" || label == "*" && (i == 0 || i > len(labels)-3) ||
				label != "*" && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				return strconv.Quote(host) + ": write whole host names of three labels or more in lower case; * matches a cloud's region, and must not be the first label or in the sender's domain"
			}
		}
	}
	return ""
}

// fetchable reports whether keys may be fetched from an address: https, without
// anything that makes one host look like another.
func fetchable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.Host == u.Hostname() && u.User == nil &&
		u.Fragment == "" && u.Opaque == "" && !strings.ContainsAny(address, "\\ \t\r\n#")
}

// maxSets limits the key sets of a scheme, which are fetched again and again.
const maxSets = 64

// readKeySet reads which of the known key sets the delivery names.
func (c *Check) readKeySet() *Rejection {
	if source := c.v.scheme.KeySource; source == nil || len(source.Sets) == 0 {
		return nil
	}
	at := c.v.scheme.KeySet
	text, rej := c.require(source{kind: inHeader, name: canonicalHeader(at.Header)}, nil, MissingHeader, MalformedSignature, ", which names the sender's keys")
	if rej != nil {
		return rej
	}
	d, err := dictionary(text)
	if err != nil {
		return reject(MalformedSignature, "header %s: %v", at.Header, err)
	}
	member, _ := d.Get(at.Member)
	item, _ := member.(httpsfv.Item)
	address, _ := item.Value.(string)
	if !slices.Contains(c.v.scheme.KeySource.Sets, address) {
		return reject(MalformedSignature, "header %s does not name a key set that is trusted here: if the sender is, add its address with public_key", at.Header)
	}
	if !namesOnly(text, at.Member, address) {
		return reject(MalformedSignature, "header %s names the sender's keys and has more than an app may tell from them: it is to hold %s and its address once, without parameters, and no other address", at.Header, at.Member)
	}
	c.keySet = address
	return nil
}

// namesOnly reports whether a dictionary that has a member with the address names no
// other to readers that search it for the member's name or for an address: the header
// reaches the app, and need not be signed.
func namesOnly(text, member, address string) bool {
	before, after, found := strings.Cut(text, member+`="`+address+`"`)
	after = strings.TrimLeft(after, " \t")
	if !found || after != "" && after[0] != ',' {
		return false
	}
	rest := strings.ToLower(before + after)
	return !slices.ContainsFunc([]string{strings.ToLower(member), "http:", "https:", "//"}, func(text string) bool { return strings.Contains(rest, text) })
}

// KeySet returns the address of the key set that the delivery names (Scheme.KeySet),
// which tells the senders of one scheme apart; "" if the scheme has no such sets. Call it
// after Verify has accepted the delivery.
func (c *Check) KeySet() string { return c.keySet }

// maxAddress is the longest accepted certificate address in bytes.
const maxAddress = 512

// notPlain reports characters that other URL parsers may read differently: escapes,
// other alphabets, punctuation that no certificate's address has.
func notPlain(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~/:", r))
}

// Publishes reports whether the scheme's source allows a certificate address: a file
// on its hosts with an expected path, without a query, which could make a host return
// what an attacker chooses.
func (v *Rules) Publishes(address string) bool {
	s := v.scheme.KeySource
	if s == nil || len(s.CertificateHosts) == 0 || len(address) > maxAddress {
		return false
	}
	u, err := url.Parse(address)
	if err != nil || !fetchable(address) || u.RawQuery != "" || u.ForceQuery || u.Path == "/" || path.Clean(u.Path) != u.Path || strings.ContainsFunc(address, notPlain) {
		return false
	}
	return onHosts(s.CertificateHosts, u.Host) && (v.certificatePath == nil || v.certificatePath.MatchString(u.Path))
}

func onHosts(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matchesHost(pattern, host) })
}

// region matches the name of a cloud region. Any label would be unsafe: a bucket
// called sns has the address sns.s3.amazonaws.com, and its owner controls the
// content.
var region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

func matchesHost(pattern, host string) bool {
	want, got := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] == "*" && !region.MatchString(got[i]) || want[i] != "*" && want[i] != got[i] {
			return false
		}
	}
	return true
}

// readKeyID reads the key id if its source is of this kind.
func (c *Check) readKeyID(kind place, body []byte) *Rejection {
	if !c.v.keyIDAt.are(kind) {
		return nil
	}
	at := &c.v.keyIDAt[0]
	id, err := c.read(at, body)
	if err != nil && err != errAbsent { // without the header, every key is tried
		return at.refused(err, MalformedSignature, MalformedSignature, ", which names the key")
	}
	if source := c.v.scheme.KeySource; source != nil && len(source.CertificateHosts) > 0 {
		if source.Paths && strings.HasPrefix(id, "/") {
			id = "https://" + source.CertificateHosts[0] + id
		} else if source.Paths {
			id = "" // an address, of which only the path would be checked
		}
		if !c.v.Publishes(id) {
			return reject(MalformedSignature, "%s does not name a key on %s", at, strings.Join(source.CertificateHosts, " or "))
		}
	}
	c.keyID = id
	return nil
}

// names reports whether the key may have signed the delivery, by the key id that the
// delivery states.
func (c *Check) names(k *compiledKey) bool {
	return k.of(c.keySet) && (k.id == "" || c.keyID == "" || k.id == c.keyID)
}

// of reports whether the key may be used for a delivery that names a key set, or none.
func (k *compiledKey) of(set string) bool { return k.set == "" || k.set == set }

// mismatch returns the rejection if no key matches.
func (c *Check) mismatch() *Rejection {
	rej := reject(SignatureMismatch, "no key matches the signature")
	if c.count > 1 {
		rej.Detail = fmt.Sprintf("no key matches any of the %d signatures", c.count)
	}
	if c.jws != nil && c.jws.distrust != nil {
		rej.Detail = "the JWS is not trusted: " + c.jws.distrust.Error()
	}
	if c.gaveUp {
		rej.Detail = fmt.Sprintf("not every key was tried: comparing %d signatures with %d keys costs more than one delivery may; remove keys that the sender no longer uses", c.count, len(c.v.keys))
	}
	if c.v.scheme.KeySource == nil {
		return rej
	}
	unknown := !c.knowsKey(c.keyID)
	rej.UnknownKey, rej.KeyID = unknown || len(c.v.scheme.KeySource.CertificateHosts) == 0, c.keyID // a set may have another key under the same id
	if c.keySet != "" {
		rej.KeyID = c.keySet
	}
	if unknown && !c.gaveUp {
		rej.Detail = "no known key has the key id of the delivery or matches its signature"
	}
	return rej
}

// knowsKey reports whether a key has the id.
func (c *Check) knowsKey(id string) bool {
	return id != "" && slices.ContainsFunc(c.v.keys, func(k compiledKey) bool { return k.id == id && k.of(c.keySet) })
}
