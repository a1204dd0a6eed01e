package configfile

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
)

// Authorities returns the certificates in the PEM file at path, as authorities to trust,
// and a digest of the file: it changes with its content. It is an error if there is none.
func Authorities(path string) (*x509.CertPool, [sha256.Size]byte, error) {
	data, err := Read(path)
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, [sha256.Size]byte{}, fmt.Errorf("%s: no PEM certificate found", path)
	}
	return pool, sha256.Sum256(data), nil
}
