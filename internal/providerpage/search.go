package providerpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

var (
	//go:embed search.html
	searchHTML string
	//go:embed search.css
	searchCSS string
	//go:embed search.js
	searchJS string

	searchPage = template.Must(template.New("search").Parse(searchHTML))
)

// A searchRow is a sender on the search page.
type searchRow struct {
	Sender
	Kind string // of signature, a name of signatureKinds
}

// signatureKinds are the kinds of signature that the search page tells apart, and what
// the names of their algorithms begin with.
var signatureKinds = []struct {
	Name       string
	algorithms []string
}{
	{"HMAC", []string{"hmac-"}},
	{"public key", []string{"rsa-", "ecdsa-", "ed25519"}},
	{"hash with the secret", []string{"sha", "keccak"}},
	{"token, nothing is signed", []string{"token"}},
}

func signatureKind(algorithm string) string {
	for _, kind := range signatureKinds {
		if slices.ContainsFunc(kind.algorithms, func(prefix string) bool { return strings.HasPrefix(algorithm, prefix) }) {
			return kind.Name
		}
	}
	return ""
}

// SearchPage returns docs/providers/index.html: all providers in a table that filters
// itself in the browser. It works from a file, asks no server, and without JavaScript it
// is the whole table.
func SearchPage(all []*providers.Provider) ([]byte, error) {
	rows := make([]searchRow, 0, len(all))
	for _, p := range all {
		s := sender(p)
		rows = append(rows, searchRow{s, signatureKind(s.Scheme.Algorithms[0])})
	}
	slices.SortFunc(rows, func(a, b searchRow) int { return compareFold(a.Name, b.Name) })
	var b bytes.Buffer
	err := searchPage.Execute(&b, map[string]any{
		"Rows": rows, "Categories": providers.Categories, "Kinds": signatureKinds,
		"Style": template.CSS(searchCSS), "StyleHash": contentHash(searchCSS),
		"Script": template.JS(searchJS), "ScriptHash": contentHash(searchJS),
	})
	return b.Bytes(), err
}

// contentHash is the source of an inline style or script in a Content-Security-Policy.
func contentHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
