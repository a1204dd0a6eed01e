package providers

import "slices"

// A Proof says who, other than this project, made or accepted the signature of a
// vector.
type Proof string

// The kinds of proof, the strongest first.
const (
	VendorDoc    Proof = "vendor-doc"   // printed in the vendor's documentation
	VendorSDK    Proof = "vendor-sdk"   // made or accepted by the vendor's own code
	Library      Proof = "library"      // by another project's implementation of the scheme
	OpenSSL      Proof = "openssl"      // by openssl over the documented message
	Construction Proof = "construction" // by other code, from our reading of the documents
)

// Proofs lists the kinds, the strongest first.
var Proofs = []Proof{VendorDoc, VendorSDK, Library, OpenSSL, Construction}

// String describes the proof in words.
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
	for _, proof := range Proofs {
		if slices.ContainsFunc(p.Vectors, func(vec Vector) bool { return vec.Expect == Genuine && vec.Proof == proof }) {
			return proof
		}
	}
	return ""
}
