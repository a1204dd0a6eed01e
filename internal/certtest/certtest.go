// Package certtest makes certificates for tests of TLS.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// New makes an authority of its own and a certificate of a server on 127.0.0.1, signed
// by it. It returns the paths of PEM files: the authority's certificate, the server's
// certificate and the server's key. They are valid for an hour.
func New(tb testing.TB) (authority, cert, key string) {
	tb.Helper()
	dir := tb.TempDir()
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	ca := template("authority of a test")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	caKey := newKey(tb)
	authority = write(tb, dir, "ca.pem", "CERTIFICATE", sign(tb, ca, ca, caKey, caKey))

	server := template("server of a test")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	serverKey := newKey(tb)
	cert = write(tb, dir, "cert.pem", "CERTIFICATE", sign(tb, server, ca, serverKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		tb.Fatal(err)
	}
	return authority, cert, write(tb, dir, "key.pem", "PRIVATE KEY", der)
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, of, by *x509.Certificate, key, with *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, of, by, &key.PublicKey, with)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func write(tb testing.TB, dir, name, kind string, der []byte) (path string) {
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
