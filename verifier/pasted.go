package verifier

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// pastedKey is a public or private key's text without what copying did to it:
// quotes round it, line breaks written as \n or lost, base64 around the whole.
// A key has one meaning whatever its line breaks, so nothing is guessed.
type pastedKey struct {
	text   string   // JSON, or the scheme's encoding without white space; "" where der is set
	der    []byte   // of a PEM
	label  string   // what the PEM says it is
	seen   []string // what was undone, for an error
	broken string   // why it can be no key; "" if it can
}

// pemBlock matches a PEM whose line breaks may be lost or doubled.
var pemBlock = regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END ([A-Z0-9 ]+)-----`)

// escapes are line breaks and quotes as JSON, env files and dashboards write
// them. No form of a key holds a backslash of its own.
var escapes = strings.NewReplacer(`\\r`, "\r", `\\n`, "\n", `\r`, "\r", `\n`, "\n", `\t`, "\t", `\"`, `"`, `\/`, `/`)

func unpaste(text string) pastedKey {
	var p pastedKey
	p.read(text, 2) // a base64 of a PEM may be in quotes, on either side
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

// isPEM reports whether the text is a PEM, however it was pasted.
func (p *pastedKey) isPEM() bool { return strings.Contains(strings.Join(p.seen, ","), "PEM") }

// isPrivate reports whether a PEM says that it holds a private key.
func (p *pastedKey) isPrivate() bool { return strings.HasSuffix(p.label, "PRIVATE KEY") }

// bytes returns the PEM's content, or what the text stands for in an encoding.
func (p *pastedKey) bytes(prefix, encoding string) ([]byte, error) {
	if p.der != nil {
		return p.der, nil
	}
	return decodeString(strings.TrimPrefix(p.text, prefix), encoding)
}

// says ends an error with what was seen, never with the text itself.
func (p *pastedKey) says() string {
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
