package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

func startCaddy(e *environment, s *server) (err error) {
	if s.admin, err = freeAddress(); err != nil {
		return err
	}
	if s.apart, err = freeAddress(); err != nil {
		return err
	}
	global := "admin " + s.admin + "\nauto_https disable_redirects\nskip_install_trust\npersist_config off\n"
	if s.global != "" {
		global += "verify_webhook {\n" + s.global + "\n}\n"
	}
	text := "{\n" + global + "}\n"
	if s.tls {
		text += siteAt("https://"+host, s.address, "tls internal\n"+s.site)
	} else {
		text += siteAt("http://", s.address, s.site)
	}
	if s.fill > 0 {
		text += siteAt("http://", s.apart, ours(standard, "", "respond "+answered))
	}
	file := filepath.Join(s.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(e.replace(s, text)), 0o600); err != nil {
		return err
	}
	program := s.program
	if program == "" {
		program = e.caddy
	}
	env := append([]string{"HOME=" + s.dir, "XDG_DATA_HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "GODEBUG=gctrace=1"}, s.env...)
	s.process, err = launch(s.candidate.name, s.dir, env, program, "run", "--adapter", "caddyfile", "--config", file)
	return err
}

func siteAt(scheme, address, site string) string {
	_, port, _ := net.SplitHostPort(address)
	return scheme + ":" + port + " {\nbind 127.0.0.1\n" + site + "\n}\n"
}

// withRedis starts a server without persistence.
func withRedis(_ *environment, s *server) (err error) {
	program := ""
	for _, name := range []string{"redis-server", "valkey-server"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		return fmt.Errorf("redis-server is %w", errMissing)
	}
	if s.besideAt, err = freeAddress(); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "redis")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(s.besideAt)
	if s.beside, err = launch("redis", dir, nil, program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"); err != nil {
		return err
	}
	return s.beside.listening(s.besideAt)
}

// withTenants writes the key files, all with the sender's key. They are old, as most key
// files are: one that has just been written is read more than once.
func withTenants(_ *environment, s *server) error {
	dir := filepath.Join(s.dir, "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	old := time.Now().Add(-time.Hour)
	for i := range s.tenants {
		file := filepath.Join(dir, tenantName(i))
		if err := cmp.Or(os.WriteFile(file, []byte(s.key), 0o600), os.Chtimes(file, old, old)); err != nil {
			return err
		}
	}
	return nil
}

// secretText is the secret of a sender, as its dashboard would show it.
func (e *environment) secretText(provider string) string { return e.otherSecret(provider, 0) }

// otherSecret is the secret with a number.
func (e *environment) otherSecret(provider string, n int) string {
	sum := sha256.Sum256([]byte(e.seed + strconv.Itoa(n)))
	if provider == "" || provider == "standard_webhooks" {
		return "whsec_" + base64.StdEncoding.EncodeToString(sum[:])
	}
	return hex.EncodeToString(sum[:])
}

// keyPair makes the sender's private key, and a file with the public one.
func (e *environment) keyPair(s *server) (err error) {
	var secret, public any
	switch s.algorithm {
	case verifier.Ed25519:
		public, secret, err = ed25519.GenerateKey(rand.Reader)
	case verifier.ECDSAP256SHA256:
		key, failed := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		secret, public, err = key, key.Public(), failed
	default:
		key, failed := rsa.GenerateKey(rand.Reader, 2048)
		secret, public, err = key, key.Public(), failed
	}
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return err
	}
	s.key, s.kind = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), verifier.PrivateKey
	if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
}
