package verifier

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// openssl ecparam -name secp384r1 (secp521r1) -genkey; openssl pkey -pubout;
// openssl genpkey -algorithm ed25519; openssl req -x509 (req -new) -key KEY
const (
	pemP384 = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE6HBa7+udqeKLvdkHdrX8XMWLvtqbfgtM
OLjrXVEPGA+JhjboRRSObfG2gRr40K+VSVfzlvdOXucfgfCqmQalE/p91vmeKVaL
Me9WFO5boARpwnqGKAd8FmyUElU466KX
-----END PUBLIC KEY-----
`
	pemP521 = `-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBQTtFon6L6IoMeob4WRmJ4Lk/+qfV
j5v/rxMONcNb5O6bq8t9k8+YgCq7Zr6g6MIWkFCp6IS1J2hr1xgJg4q+2SEAwBpA
fPERCdDRKpzXR6HJ9G4kz1+pBppId0UbtL92rtgHaQQw++yn3be7IDlECa5U3xPU
kCV0g+GXUmi1xzyTZOo=
-----END PUBLIC KEY-----
`
	pemCertificateP384 = `-----BEGIN CERTIFICATE-----
MIIBxjCCAUygAwIBAgIUFn1IFHpTrn6smrMpEo88X7tsRigwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOc2VuZGVyLmV4YW1wbGUwIBcNMjYxMTI4MjI1NzA3WhgPMjEy
NjExMDQyMjU3MDdaMBkxFzAVBgNVBAMMDnNlbmRlci5leGFtcGxlMHYwEAYHKoZI
zj0CAQYFK4EEACIDYgAE6HBa7+udqeKLvdkHdrX8XMWLvtqbfgtMOLjrXVEPGA+J
hjboRRSObfG2gRr40K+VSVfzlvdOXucfgfCqmQalE/p91vmeKVaLMe9WFO5boARp
wnqGKAd8FmyUElU466KXo1MwUTAdBgNVHQ4EFgQUZdQzmkPfpiEjiVqueRoPfIbs
3EswHwYDVR0jBBgwFoAUZdQzmkPfpiEjiVqueRoPfIbs3EswDwYDVR0TAQH/BAUw
AwEB/zAKBggqhkjOPQQDAgNoADBlAjBNypMUQ9kiJX1wNV7T9KkDaRTWPdgTmGSM
qEySt3nDQwS9JyNPXH5IrBvHoM8Fh/MCMQDJgchXMaKtmW97TJAnz3byI2fFiEt+
s2NUVhoBm2OhuGmEc5v18oGSNqbJaSK4Juk=
-----END CERTIFICATE-----
`
	pemEd25519 = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA/Nx75PSNmt5uFrfDR5dINKv/M9fVQur/LdPbm90agYw=
-----END PUBLIC KEY-----
`
	pemCertificateEd25519 = `-----BEGIN CERTIFICATE-----
MIIBSDCB+6ADAgECAhQyo+9Q9SAPNKClGb2gZS4EYGSF5TAFBgMrZXAwGTEXMBUG
A1UEAwwOc2VuZGVyLmV4YW1wbGUwIBcNMjYxMTI4MjI1ODE4WhgPMjEyNjExMDQy
MjU4MThaMBkxFzAVBgNVBAMMDnNlbmRlci5leGFtcGxlMCowBQYDK2VwAyEA/Nx7
5PSNmt5uFrfDR5dINKv/M9fVQur/LdPbm90agYyjUzBRMB0GA1UdDgQWBBSKengt
PuR74kbVNuPBkEdDuY/YgzAfBgNVHSMEGDAWgBSKengtPuR74kbVNuPBkEdDuY/Y
gzAPBgNVHRMBAf8EBTADAQH/MAUGAytlcANBADipe9XmugvO/Qx2cxKQ4GLx/1Om
kyohGBQUygGKF4Mg2OaRRiY3C8ci4CgovPP+Xx0oL3V3n3q0A/4pXC76vgQ=
-----END CERTIFICATE-----
`
	pemPrivateP384 = `-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDDjqnijdPXTfcTFY01X
pPjKXzr+F3c/AVG2/IovAhYFrgGVi12DDiMjCPSw8AGIL5ihZANiAATocFrv652p
4ou92Qd2tfxcxYu+2pt+C0w4uOtdUQ8YD4mGNuhFFI5t8baBGvjQr5VJV/OW905e
5x+B8KqZBqUT+n3W+Z4pVosx71YU7lugBGnCeoYoB3wWbJQSVTjropc=
-----END PRIVATE KEY-----
`
	pemEncryptedP384 = `-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,508BA81A962B95E3F791C3D8F2D83511

F0wG/S6ffFiO4kAl7EsnRAqdCJYAtydvJtuRPNXQy8yPKsXn8bcga96OiQJML5UT
kTD7A17fYyNpUnS0fBD1yZPQvDEoYyK+9NoQsklbNFNFpqYvF0o/ZGBfiBOU5zwQ
lOhr/+eRrBQSiaCD9ysqcddcJoMHdZzn1Xif5xlvxA3QKMD9j98rdeYQMxME2QI1
S0zV+7InIvEujd8oZXfiuMVWlc0vQSsfrqh9Ilm8+es=
-----END EC PRIVATE KEY-----
`
	pemRequestP384 = `-----BEGIN CERTIFICATE REQUEST-----
MIIBEDCBmAIBADAZMRcwFQYDVQQDDA5zZW5kZXIuZXhhbXBsZTB2MBAGByqGSM49
AgEGBSuBBAAiA2IABOhwWu/rnanii73ZB3a1/FzFi77am34LTDi4611RDxgPiYY2
6EUUjm3xtoEa+NCvlUlX85b3Tl7nH4HwqpkGpRP6fdb5nilWizHvVhTuW6AEacJ6
higHfBZslBJVOOuil6AAMAoGCCqGSM49BAMCA2cAMGQCMG3apaskfgKGzhXlmXKI
h/9iyO5sorfCJ+qqvr7Ekfkyd31BdhpNGrwT95vhNJH0WgIwTIA/Ke+Rxf4O2B/q
va5t4wyanK5FtG9sMUR2/3+34MvbiUVRrztKPDAojWVvu2FR
-----END CERTIFICATE REQUEST-----
`
	sshEd25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7XauTr2+Re+zriU8+lhmRgcNQShf/4pn+kcXGytkXl x" // ssh-keygen -t ed25519
)

// TestPastedKeys: copying may change a key's text, but not the key, for each
// algorithm. TestPastedPublicKeys of package check tests each preset.
func TestPastedKeys(t *testing.T) {
	for _, tc := range []struct {
		algorithms []Algorithm
		key        string   // PEM
		same       []string // other PEMs with this key
	}{
		{[]Algorithm{Ed25519}, pemEd25519, []string{pemCertificateEd25519}},
		{[]Algorithm{ECDSAP256SHA256, ECDSAP256SHA256Raw}, pemP256, nil},
		{[]Algorithm{ECDSAP384SHA384, ECDSAP384SHA384Raw}, pemP384, []string{pemCertificateP384}},
		{[]Algorithm{ECDSAP521SHA512Raw}, pemP521, nil},
		{[]Algorithm{RSAPKCS1v15SHA256, RSAPKCS1v15SHA512, RSAPSSSHA256, RSAPSSSHA512, RSAPKCS1v15SHA1}, pemRSA, nil},
	} {
		block, _ := pem.Decode([]byte(tc.key))
		want, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range tc.algorithms {
			for _, text := range append([]string{tc.key, base64.StdEncoding.EncodeToString(block.Bytes)}, tc.same...) {
				for what, text := range pastedForms(t, text) {
					scheme := Scheme{Algorithm: a, AllowWeak: facts[a].weak, Signature: &Signature{Header: StringList{"X"}}}
					v, err := New(scheme, []Key{{Text: text, Kind: PublicKey}})
					if err != nil {
						t.Errorf("%s, %s: %v", a, what, err)
						continue
					}
					if got, ok := v.keys[0].public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !got.Equal(want) {
						t.Errorf("%s, %s: another key", a, what)
					}
				}
			}
		}
	}
}

func pastedForms(t *testing.T, text string) map[string]string {
	t.Helper()
	asJSON, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rest := base64.StdEncoding.EncodeToString([]byte(text)); rest != ""; rest = rest[min(76, len(rest)):] {
		lines = append(lines, rest[:min(76, len(rest))])
	}
	forms := map[string]string{
		"as it is": text, "blanks": " \n" + text + "\t\n", "CRLF": strings.ReplaceAll(text, "\n", "\r\n"), "byte order mark": "\ufeff" + text,
		"quoted": `"` + text + `"`, "a JSON string": string(asJSON), "literal \\n": strings.ReplaceAll(text, "\n", `\n`),
		"literal \\r\\n": strings.ReplaceAll(text, "\n", `\r\n`), "one line": strings.ReplaceAll(text, "\n", ""), "blanks for breaks": strings.ReplaceAll(text, "\n", " "),
		"indented": "    " + strings.ReplaceAll(text, "\n", "\n    "), "cut at 60": cutAt(text, 60),
		"base64": strings.Join(lines, ""), "base64 in lines": strings.Join(lines, "\r\n"), "base64 quoted": `"` + strings.Join(lines, "") + `"`,
	}
	if !strings.HasPrefix(text, "-----") { // a double base64 is not supported
		delete(forms, "base64")
		delete(forms, "base64 in lines")
		delete(forms, "base64 quoted")
	}
	return forms
}

// cutAt breaks a text without line breaks.
func cutAt(text string, n int) string {
	if strings.Contains(text, "\n") || len(text) <= n {
		return text
	}
	return text[:n] + "\n" + cutAt(text[n:], n)
}

// TestPastedKeyErrors: an error says what was recognised, and nothing of the key.
func TestPastedKeyErrors(t *testing.T) {
	inBase64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	der := func(s string) string {
		block, _ := pem.Decode([]byte(s))
		return base64.StdEncoding.EncodeToString(block.Bytes)
	}
	for what, tc := range map[string]struct {
		key  Key
		want string
	}{
		"a private key":                        {Key{Text: pemPrivateP384, Kind: PublicKey}, "but a private one"},
		"with literal \\n":                     {Key{Text: strings.ReplaceAll(pemPrivateP384, "\n", `\n`), Kind: PublicKey}, "but a private one"},
		"in base64":                            {Key{Text: inBase64(pemPrivateP384), Kind: PublicKey}, "but a private one"},
		"without its lines":                    {Key{Text: der(pemPrivateP384), Kind: PublicKey}, "but a private one"},
		"a private JSON Web Key":               {Key{Text: `{"kty":"EC","crv":"P-384","x":"AA","y":"AA","d":"AA"}`, Kind: PublicKey}, "but a private one"},
		"cut off":                              {Key{Text: pemP384[:100], Kind: PublicKey}, "an incomplete PEM"},
		"two lines of different kinds":         {Key{Text: strings.Replace(pemP384, "END PUBLIC", "END RSA PUBLIC", 1), Kind: PublicKey}, "an incomplete PEM"},
		"encrypted":                            {Key{Text: pemEncryptedP384, Kind: PublicKey}, "an incomplete PEM"},
		"damaged":                              {Key{Text: strings.Replace(pemP384, "A", "!", 1), Kind: PublicKey}, "a PEM whose content is not base64"},
		"two":                                  {Key{Text: pemP384 + pemP384, Kind: PublicKey}, "2 PEM blocks"},
		"text behind":                          {Key{Text: pemP384 + "x", Kind: PublicKey}, "a PEM with text after it"},
		"a certificate request":                {Key{Text: pemRequestP384, Kind: PublicKey}, "a certificate request"},
		"of OpenSSH":                           {Key{Text: sshEd25519, Kind: PublicKey}, "ssh-keygen -e -m PKCS8"},
		"quoted garbage":                       {Key{Text: `"S3cr3t S3cr3t"`, Kind: PublicKey}, "(seen: quotes)"},
		"escaped garbage":                      {Key{Text: `S3cr3t\nS3cr3t`, Kind: PublicKey}, `(seen: a literal \n)`},
		"empty PEM":                            {Key{Text: "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", Kind: PublicKey}, "a PEM whose content"},
		"to sign with: a certificate":          {Key{Text: pemCertificateP384, Kind: PrivateKey}, "but a public one"},
		"to sign with: a public key in base64": {Key{Text: inBase64(pemP384), Kind: PrivateKey}, "but a public one"},
	} {
		_, err := New(Scheme{Algorithm: ECDSAP384SHA384, Signature: &Signature{Header: StringList{"X"}}}, []Key{tc.key})
		if _, ok := errors.AsType[*KeyError](err); !ok || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want a *KeyError with %q", what, err, tc.want)
			continue
		}
		for _, shown := range []string{"S3cr3t", "6HBa7", "MHYw", "LS0t", "AAAAC3"} {
			if strings.Contains(err.Error(), shown) {
				t.Errorf("%s: %q shows the key", what, err)
			}
		}
	}
}

// TestPEMAsSecret: a public key used as a shared secret would let anyone sign.
func TestPEMAsSecret(t *testing.T) {
	for _, pemText := range []string{pemP384, pemCertificateP384, pemPrivateP384} {
		for what, text := range pastedForms(t, pemText) {
			if _, err := New(bare(nil), []Key{{Text: text}}); err == nil || !strings.Contains(err.Error(), "a PEM key given as a shared secret") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// TestPublicKeyAsSecret: so would one without the lines of a PEM.
func TestPublicKeyAsSecret(t *testing.T) {
	const refused = "a public key given as a shared secret"
	jwk := `{"kty":"RSA","kid":"a","alg":"RS256","use":"sig","n":"qT7rD3dm8jU5HyFJT9fEGg","e":"AQAB"}`
	texts := map[string]string{
		"JWK": jwk, "JWK, spaced": " " + jwk + "\n", "JWK, quoted": "'" + jwk + "'", "JWK in base64": base64.StdEncoding.EncodeToString([]byte(jwk)),
		"set": `{"keys":[` + jwk + `]}`, "symmetric JWK": `{"kty":"oct","k":"GawgguFyGrWKav7AX4VKUg"}`,
		"OpenSSH": sshEd25519,
	}
	for kind, pemText := range map[string]string{"Ed25519": pemEd25519, "P-256": pemP256, "P-521": pemP521, "RSA": pemRSA, "certificate": pemCertificateP384} {
		block, _ := pem.Decode([]byte(pemText))
		texts[kind+" in base64"] = base64.StdEncoding.EncodeToString(block.Bytes)
		texts[kind+" in base64, unpadded"] = base64.RawStdEncoding.EncodeToString(block.Bytes)
		texts[kind+" in base64url"] = base64.RawURLEncoding.EncodeToString(block.Bytes)
		texts[kind+" in base64, wrapped"] = texts[kind+" in base64"][:30] + "\n" + texts[kind+" in base64"][30:]
		texts[kind+" in hex"] = hex.EncodeToString(block.Bytes)
		texts[kind+" with a prefix"] = "whsec_" + texts[kind+" in base64"]
	}
	rsaKey, _ := pem.Decode([]byte(pemRSA))
	key, err := x509.ParsePKIXPublicKey(rsaKey.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	texts["PKCS #1 in base64"] = base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(key.(*rsa.PublicKey)))
	for what, text := range texts {
		for _, encoding := range []string{encUTF8, encBase64} {
			_, err := New(bare(func(s *Scheme) { s.SecretEncoding, s.SecretPrefix = encoding, "whsec_" }), []Key{{Text: text}})
			if err == nil || !strings.Contains(err.Error(), refused) || strings.Contains(err.Error(), text) {
				t.Errorf("%s, %s: %v", what, encoding, err)
			}
		}
	}
	random := sha512.Sum512([]byte(testKey))
	for what, text := range map[string]string{
		"base64": base64.StdEncoding.EncodeToString(random[:]), "hex": hex.EncodeToString(random[:]), "a sequence of DER": base64.StdEncoding.EncodeToString(append([]byte{0x30, 62}, random[:62]...)),
		"braces": "{x}" + testKey, "JSON": `{"a":"` + testKey + `"}`, "like OpenSSH": "ssh-hook AAA9d2f71", "like OpenSSH, one word": "ssh-hook-AAAA9d2f71",
	} {
		if _, err := New(bare(nil), []Key{{Text: text}}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzPastedKey: no text panics, and a text that is a key is the same key in quotes.
func FuzzPastedKey(f *testing.F) {
	for _, text := range []string{pemP384, pemCertificateEd25519, pemRequestP384, sshEd25519, `{"kty":"EC"}`, "", `"`, `\n`, "-----BEGIN A-----", "LS0tLS1CRUdJTiA="} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := unpaste(text)
		if p.der != nil && (p.text != "" || p.broken != "") {
			t.Errorf("%q is two things", text)
		}
		if q := unpaste("'" + text + "'"); p.der != nil && !strings.ContainsAny(text, "\"'`") && !bytes.Equal(p.der, q.der) {
			t.Errorf("%q: another key in quotes", text)
		}
	})
}
