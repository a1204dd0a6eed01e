package keys

import (
	"errors"
	"regexp"
	"strings"
)

// unrenderedText matches what is left of a template, a reference, an encrypted or a
// masked value where the program that should have replaced it did not run or failed.
// No generator of secrets makes such text: of those with every sign of a keyboard it
// matches fewer than one in a million.
var unrenderedText = regexp.MustCompile(`(?s)^[\w.:/ -]*((\$\{|\{\$)[\w.:?| -]*\}[\w.:/ -]*)+$` +
	`|^[\w.:/ -]*\{\{.*\}\}[\w.:/ -]*$|\{(env|file)\.[^{}]*\}` +
	`|^(ENC\[[A-Z0-9_]+[,\]]|\$ANSIBLE_VAULT;|-----BEGIN (PGP MESSAGE|AGE ENCRYPTED))|<no value>` +
	`|^(op|vault|secretsmanager|bws?|doppler|infisical|ref\+[a-z0-9]+)://` +
	`|^[\w-]*[•●*]{4,}[\w-]{0,8}$`)

// isUnrendered is at once false for a text without what each alternative needs.
func isUnrendered(text string) bool {
	return (strings.ContainsAny(text, "{[$<:•●*") || strings.Contains(text, "-----BEGIN ")) && unrenderedText.MatchString(strings.TrimSpace(unquoted(strings.TrimSpace(text))))
}

// CheckRendered returns an error for the text of a key file that a program should have
// replaced, such as {{ .Values.secret }}: anyone who knows the template could sign with
// it. It accepts all else, guessable or not.
func CheckRendered(text string) error {
	if isUnrendered(text) {
		return errUnrendered
	}
	return nil
}

// errUnrendered holds for a file too, unlike ErrUnreplaced.
var errUnrendered = errors.New("this is a template, a reference, an encrypted or a masked value that no program has replaced: write the value itself")
