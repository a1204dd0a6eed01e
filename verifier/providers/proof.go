package providers

import (
	"regexp"
	"slices"
	"strings"
)

// A Proof says what stands behind a known answer: who, other than this project,
// made or accepted the signature.
type Proof string

// The kinds of proof, the strongest first.
const (
	VendorDoc    Proof = "vendor-doc"   // printed in the vendor's documentation
	VendorSDK    Proof = "vendor-sdk"   // made or accepted by the vendor's own code
	Library      Proof = "library"      // by another project's implementation of the scheme
	OpenSSL      Proof = "openssl"      // by openssl over the documented message
	Construction Proof = "construction" // by something else over our reading of the documents
)

// Proofs lists the kinds, the strongest first.
var Proofs = []Proof{VendorDoc, VendorSDK, Library, OpenSSL, Construction}

// String says the kind in words.
func (k Proof) String() string {
	switch k {
	case VendorDoc:
		return "vendor documentation"
	case VendorSDK:
		return "vendor SDK"
	case Library:
		return "other implementation"
	case OpenSSL:
		return "openssl"
	case Construction:
		return "construction"
	}
	return "none"
}

// Proof returns the strongest proof among the genuine vectors, "" without any.
func (p *Provider) Proof() Proof {
	best := len(Proofs)
	for i := range p.Vectors {
		if p.Vectors[i].Expect != genuine {
			continue
		}
		if at := slices.Index(Proofs, p.Vectors[i].Kind(p)); at >= 0 && at < best {
			best = at
		}
	}
	if best == len(Proofs) {
		return ""
	}
	return Proofs[best]
}

var (
	sourceParts   = regexp.MustCompile(`;\s+`)
	documentation = regexp.MustCompile(`(?i)\b(documentation|docs?|adoc)\b`)
	// Something with a version, or a file in somebody's repository.
	implementation = regexp.MustCompile(`(?i)\b\d+\.\d+|/|\b(npm|pypi|sdk|library|package)\b`)
	keyAlone       = regexp.MustCompile(`^(v1a?: )?(the )?key (and|pair) `) // who signed stands behind it
	word           = regexp.MustCompile(`[a-z0-9]+`)
)

// acknowledged begins the parts of a source that name who else agrees.
var acknowledged = []string{"accepted by ", "the same from ", "verified by ", "made from: "}

// tooCommon are words of names and ids that packages of anybody have.
var tooCommon = []string{"api", "app", "advanced", "body", "cloud", "com", "data", "generic", "inc", "http", "key", "labs", "legacy", "npm", "payments",
	"service", "services", "signature", "simple", "test", "tests", "the", "token", "webhook", "webhooks"}

// Kind returns what proves the vector: its own word, or what its source says. In
// the source's words "…; accepted by PACKAGE VERSION" and what stands first
// count: documentation; a package or repository whose name begins with the
// provider's is the vendor's; any other is another implementation; openssl.
func (vec *Vector) Kind(p *Provider) Proof {
	if vec.Proof != "" {
		return vec.Proof
	}
	if vec.Source == "" {
		return ""
	}
	names := p.nameWords()
	best := Construction
	for i, part := range sourceParts.Split(vec.Source, -1) {
		part = strings.ToLower(part)
		agreed := false
		for _, phrase := range acknowledged {
			if rest, ok := strings.CutPrefix(part, phrase); ok {
				part, agreed = rest, true
			}
		}
		if keyAlone.MatchString(part) || i > 0 && !agreed && !strings.HasPrefix(part, "openssl ") {
			continue // a remark
		}
		if kind := kindOf(part, names); slices.Index(Proofs, kind) < slices.Index(Proofs, best) {
			best = kind
		}
	}
	return best
}

func kindOf(part string, names []string) Proof {
	switch {
	case strings.HasPrefix(part, "openssl "):
		return OpenSSL
	case documentation.MatchString(part):
		return VendorDoc
	case !implementation.MatchString(part):
		return Construction
	}
	for _, w := range word.FindAllString(part, -1) {
		for _, name := range names {
			if strings.HasPrefix(w, name) {
				return VendorSDK
			}
		}
	}
	return Library
}

// nameWords lists the words by which a package is known as the vendor's.
func (p *Provider) nameWords() []string {
	all := word.FindAllString(strings.ToLower(strings.Join(append([]string{p.ID, p.Name}, p.Aliases...), " ")), -1)
	for _, id := range append([]string{p.ID, p.Name}, p.Aliases...) {
		all = append(all, strings.Join(word.FindAllString(strings.ToLower(id), -1), "")) // workos, standardwebhooks
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(w string) bool {
		return len(w) < 3 || slices.Contains(tooCommon, w)
	})
}
