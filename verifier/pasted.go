package verifier

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// pastedKey is the text of a public or private key, with the effects of copying
// undone: quotes around it, line breaks written as \n or lost, base64 around it. Line
// breaks do not change a key's meaning, so nothing is guessed.
type pastedKey struct {
	text   string   // JSON, or the scheme's encoding without white space; "" if der is set
	der    []byte   // from a PEM
	label  string   // the PEM's label
	seen   []string // what was undone, for errors
	broken string   // why it is not a key; "" if it may be
}

// pemBlock matches a PEM, even with lost or doubled line breaks.
var pemBlock = regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END ([A-Z0-9 ]+)-----`)

// openSSH matches a public key in OpenSSH's form: its type, and base64 that begins with
// the length of that.
var openSSH = regexp.MustCompile(`^[a-z0-9@.-]+ AAAA`)

// escapes undoes line breaks and quotes as JSON, env files and dashboards escape
// them. No key contains a backslash itself.
var escapes = strings.NewReplacer(`\\r`, "\r", `\\n`, "\n", `\r`, "\r", `\n`, "\n", `\t`, "\t", `\"`, `"`, `\/`, `/`)

func unpaste(text string) pastedKey {
	var p pastedKey
	p.read(text, 2) // a PEM in base64 may have quotes inside and outside
	return p
}

func (p *pastedKey) read(text string, layers int) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
	if n := len(text); n > 1 && strings.Contains("\"'`", text[:1]) && text[0] == text[n-1] {
		p.seen = append(p.seen, "quotes")
		text = strings.TrimSpace(text[1 : n-1])
	}
	if strings.Contains(text, `\`) && !json.Valid([]byte(text)) {
		p.seen = append(p.seen, `a literal \n`)
		text = strings.TrimSpace(escapes.Replace(text))
	}
	if strings.Contains(text, "-----BEGIN ") {
		p.readPEM(text)
		return
	}
	if isJWK(text) {
		p.text = text
		return
	}
	if strings.HasPrefix(text, "ssh-") || strings.HasPrefix(text, "ecdsa-sha2-") {
		p.text = text
		p.broken = "a key in OpenSSH's form: convert it with ssh-keygen -e -m PKCS8 -f FILE"
		return
	}
	p.text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	inner, err := decodeString(p.text, encBase64)
	if err != nil || layers == 0 {
		return
	}
	switch bare := strings.Trim(string(inner), " \t\r\n\"'`"); {
	case strings.Contains(bare, "-----BEGIN "):
		p.seen = append(p.seen, "base64 of a PEM")
		p.read(bare, layers-1)
	case isJWK(bare) && json.Valid([]byte(bare)):
		p.seen = append(p.seen, "base64 of a JSON Web Key")
		p.read(bare, layers-1)
	}
}

func (p *pastedKey) readPEM(text string) {
	p.seen = append(p.seen, "PEM")
	blocks := strings.Count(text, "-----BEGIN ")
	m := pemBlock.FindStringSubmatchIndex(text)
	switch {
	case blocks > 1:
		p.broken = fmt.Sprintf("%d PEM blocks: give only the sender's own key or certificate", blocks)
		return
	case m == nil || text[m[2]:m[3]] != text[m[6]:m[7]]:
		p.broken = "an incomplete PEM: copy it from -----BEGIN to -----END"
		return
	case strings.TrimSpace(text[m[1]:]) != "":
		p.broken = "a PEM with text after it: give only the key"
		return
	}
	p.label = text[m[2]:m[3]]
	var err error
	if p.der, err = decodeString(strings.Join(strings.Fields(text[m[4]:m[5]]), ""), encBase64); err != nil || len(p.der) == 0 {
		p.der, p.broken = nil, "a PEM whose content is not base64 (or is encrypted)"
	}
}

// isPEM reports whether the text is a PEM, in any pasted form.
func (p *pastedKey) isPEM() bool { return strings.Contains(strings.Join(p.seen, ","), "PEM") }

// isPublic reports whether the text is a public key or a certificate without a PEM's
// lines: a structure in base64 or hex, a JSON Web Key or a set of them, or OpenSSH's form.
func (p *pastedKey) isPublic(prefix string) bool {
	switch {
	case p.isPEM():
		return false
	case p.broken != "":
		return openSSH.MatchString(p.text)
	case isJWK(p.text):
		var key struct {
			Kty  json.RawMessage   `json:"kty"`
			Keys []json.RawMessage `json:"keys"`
		}
		return json.Unmarshal([]byte(p.text), &key) == nil && (key.Kty != nil || key.Keys != nil)
	}
	for _, encoding := range []string{encBase64, encHex} {
		const sequence = 0x30 // in which each of the structures begins
		der, err := decodeString(strings.TrimPrefix(p.text, prefix), encoding)
		if err == nil && len(der) > 32 && der[0] == sequence && parsePublic(der) != nil {
			return true
		}
	}
	return false
}

// isPrivate reports whether a PEM is labelled as a private key.
func (p *pastedKey) isPrivate() bool { return strings.HasSuffix(p.label, "PRIVATE KEY") }

// bytes returns the PEM's content, or the decoded text.
func (p *pastedKey) bytes(prefix, encoding string) ([]byte, error) {
	if p.der != nil {
		return p.der, nil
	}
	return decodeString(strings.TrimPrefix(p.text, prefix), encoding)
}

// seenText describes what was recognised for the end of an error, without the text
// itself.
func (p *pastedKey) seenText() string {
	switch {
	case p.broken != "":
		return " (seen: " + p.broken + ")"
	case p.label == "CERTIFICATE REQUEST" || p.label == "NEW CERTIFICATE REQUEST":
		return " (seen: a certificate request)"
	case len(p.seen) > 0:
		return " (seen: " + strings.Join(p.seen, ", ") + ")"
	}
	return ""
}
