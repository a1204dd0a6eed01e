package providers

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// Obviously fake keys. The texts are also 24 bytes in base64.
const (
	exampleText = "ExampleSecretNotForProductionUse"
	exampleHex  = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

// Public keys whose private keys were discarded.
const (
	exampleEd25519 = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAyOVmjMpCEHJN+ErbnfmNIxG6ikFz9sEc/QNUgWkuVjs=
-----END PUBLIC KEY-----`
	exampleP256 = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQVzFm0bjNlG6txajM6Qe90unTK9f
a44Q3/OzBsoaKYjN5a8INwpI4ffrCC7bFT3UEqAwi6JLzPfG6VGkqrat4A==
-----END PUBLIC KEY-----`
	exampleP384 = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEzr6hBQzY9S2H6lecNjffjzxw4nyCdGo4
nUVbmp5OSSzA7Y4VDLTqyWwK9abNUxlFAzRBBFJfdgMI4/0YXGdZXDzWNtJxOX8g
RQDHubolXWVMhyWSVy8ODcyk9PKVPsJV
-----END PUBLIC KEY-----`
	exampleP521 = `-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBpp2YWXrKs9amkChfwwalY2pPhIKT
nXO6T2gkooY62Vzsql+S0cVIWXMEOgyMfVRU2sb7ftDYlsclYZknERAIsMEAg9rH
Y3Y7DRSZB6PE2Q06X8+SSOq7WEzxp2XS1eodAjx0gpwfHKXyuvMn7/izqX8ivT3A
ueY8U+cvyVP4O07ixwQ=
-----END PUBLIC KEY-----`
	exampleRoot = `-----BEGIN CERTIFICATE-----
MIIBhDCCASugAwIBAgIUZuCKkvLWIxtfxluf4XazC674iiMwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMRXhhbXBsZSBSb290MCAXDTI2MTEyOTEzMDUxNloYDzIxMjYx
MTA1MTMwNTE2WjAXMRUwEwYDVQQDDAxFeGFtcGxlIFJvb3QwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAASxxbaoDT2h1u/Sjf/2+dv7xmGPGTy92YnNC/S95uxgDk4F
nKaXkVubpiSZc+c0lDXUEwsXrkOmO3rYT0JTZNKho1MwUTAdBgNVHQ4EFgQUbK22
fQOjnE4ESO381C4abJDSHhYwHwYDVR0jBBgwFoAUbK22fQOjnE4ESO381C4abJDS
HhYwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBe/iJBGhTrQdPc
qMYsgBzDi6jH+l7hWNn3RXadtP1hBgIgLTRHBj5acWsVfJO0xoQF24uues89/XYz
OQ6/9R4OTEU=
-----END CERTIFICATE-----`
	exampleRSA = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAy0tvXahnQIKIUp4Dh6nL
JIvuz4f3wupx7cRco8epgEz1vIt3xTMQ74bFRMQSCYpcz1Skn1eS2wDSUCprLz30
WDKY/3gvngVZ8GapXQMA34gmlhHxqdS79qTLP8nf7uuwUQO0OpUm0VM7WBoAvCZM
12Bq9WmsTHzzPLjUFGTdozeynBKkA8rwgpV6soHfT8MH9RuF/iUP/lplDTT7kXLr
3EQmLCeNzeQSAjyG1KTQSZT6bKdvIqsV9zr3bbhntTxvKQ71477Q9U3QwmJpOLD5
G60yHL3jpl6XklNke1GMyxKLwjxSZyPntYo5fkPL+sWL59X0cRqrG3dy52maAUF0
YQIDAQAB
-----END PUBLIC KEY-----`
)

// ExampleSecret returns a well-formed secret of the scheme, always the same; "" if
// the receiver holds only a public key.
func (p *Provider) ExampleSecret() string {
	s := &p.Scheme
	switch {
	case !p.UsesSecret():
		return ""
	case s.SecretEncoding == "hex":
		return s.SecretPrefix + exampleHex
	case s.UsesBasic():
		return s.SecretPrefix + "example:" + exampleText
	}
	return s.SecretPrefix + exampleText
}

// ExamplePublicKey returns a public key of the scheme as PEM; "" if the scheme uses a
// shared secret.
func (p *Provider) ExamplePublicKey() string {
	for _, pem := range p.ExamplePublicKeys() {
		return pem
	}
	return ""
}

// ExamplePublicKeys returns a PEM public key for each asymmetric algorithm of the
// scheme, or the certificate of a root if deliveries carry certificates.
func (p *Provider) ExamplePublicKeys() (pems []string) {
	if p.Scheme.X5C != nil {
		return []string{exampleRoot}
	}
	for _, a := range p.Algorithms() {
		if pem := examplePublicKey(a); pem != "" {
			pems = append(pems, pem)
		}
	}
	return pems
}

func examplePublicKey(a verifier.Algorithm) string {
	switch name := string(a); {
	case strings.HasPrefix(name, "ed25519"):
		return exampleEd25519
	case strings.HasPrefix(name, "ecdsa-p256"):
		return exampleP256
	case strings.HasPrefix(name, "ecdsa-p384"):
		return exampleP384
	case strings.HasPrefix(name, "ecdsa-p521"):
		return exampleP521
	case strings.HasPrefix(name, "rsa-"):
		return exampleRSA
	}
	return ""
}

func shared(a verifier.Algorithm) bool {
	return a == verifier.Token || strings.HasPrefix(string(a), "hmac-") || a == verifier.SHA1 || a == verifier.SHA256 || a == verifier.Keccak256
}

// UsesSecret reports whether a handler of the provider needs a shared secret rather
// than a public key. If the scheme accepts both, a secret is usual.
func (p *Provider) UsesSecret() bool { return slices.ContainsFunc(p.Algorithms(), shared) }

// Algorithms lists the algorithms of the provider's deliveries.
func (p *Provider) Algorithms() []verifier.Algorithm {
	if sig := p.Scheme.Signature; sig != nil && len(sig.Accept) > 0 {
		return slices.Sorted(maps.Values(sig.Accept))
	}
	if p.Scheme.Algorithm == "" {
		return []verifier.Algorithm{verifier.HMACSHA256}
	}
	return []verifier.Algorithm{p.Scheme.Algorithm}
}

// CoversBody reports whether an altered body is refused.
func (p *Provider) CoversBody() bool {
	return !p.Scheme.BodyUnsigned && !slices.Contains(p.Algorithms(), verifier.Token)
}

// Signable reports whether a shared secret is enough to sign any JSON body as the
// sender does: it signs one with the example secret and verifies it.
func (p *Provider) Signable() bool {
	secret := p.ExampleSecret()
	if secret == "" {
		return false
	}
	rules, err := p.Rules()
	if err != nil {
		return false
	}
	v, err := rules.Verifier([]verifier.Key{{Text: secret}})
	if err != nil {
		return false
	}
	req := &verifier.Request{Method: http.MethodPost, Header: make(map[string][]string), Host: "hooks.example.com", Target: "/hooks/" + p.ID, TLS: true}
	if len(p.Methods) > 0 {
		req.Method = p.Methods[0]
	}
	body := []byte(`{"example":true}`)
	now := time.Unix(1_700_000_000, 0)
	if err := v.Sign(req, "example-delivery", now, body); err != nil {
		return false
	}
	_, err = v.Judge(req, body, now)
	return err == nil
}

// Rules compiles the provider's scheme with all its handshakes and example values for
// its params. The error is a *verifier.SchemeError.
func (p *Provider) Rules() (*verifier.Rules, error) {
	scheme := p.Scheme
	scheme.Params, scheme.Handshakes = p.ExampleParams(), p.Handshake
	return verifier.Compile(scheme)
}

// ExampleParams gives every param a value.
func (p *Provider) ExampleParams() map[string]string {
	params := make(map[string]string)
	for _, param := range p.Params {
		params[param.Name] = "example-" + strings.ReplaceAll(param.Name, "_", "-")
		if len(param.Values) > 0 {
			params[param.Name] = param.Values[0]
		}
	}
	return params
}
