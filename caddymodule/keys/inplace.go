package keys

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// inPlace matches what a program prints or passes on in place of a value, and no generator
// makes: the name of an object's type, a reference of Terraform, the code of an error. A
// passphrase of words with dots between them is none of it.
var inPlace = regexp.MustCompile(`^(?:` +
	// Types of .NET and Java, whose last part is of several words; a generic one; an object of Java or Ruby.
	`(` + typePart + `\.){2,}(` + hump + `){2,}|([A-Z]\w*[.+])*[A-Z]\w*` + "`" + `[0-9]+\[[A-Z].*\]` +
	`|(\[+[BCDFIJSZ]|\[*L?([a-z]+[0-9]?\.)+[A-Z][a-z]+[\w$/]*;?)@[0-9a-f]{5,8}|#<[A-Z]\w*(::[A-Z]\w*)*:0x[0-9a-f]+.*>|Optional\.empty` +
	// aws_secretsmanager_secret_version.github.secret_string, of the providers that have secrets.
	`|(random_(bytes|id|password|pet|string|uuid)|(aws|azuread|azurerm|bitwarden|doppler|github|gitlab|google|infisical|kubernetes|onepassword|sops|terraform|tls|vault)_[a-z]{2,})` + attribute +
	// A function of a variable, and the variable between marks.
	`|[A-Za-z_][\w.]*\([A-Z]+(_[A-Z]+)+\)|\^` + identifier + `\^` +
	// Codes of AWS and Azure, and of RFC 6749 and 6750.
	`|Invalid([A-Z][a-z]+)+(Id|Token|Value|Credentials|Signature)|([A-Z][a-z]+)+(DoesNotMatch|NotConfigured|LimitExceeded|TooSkewed)` +
	`|IncompleteSignature|UnauthorizedOperation|(Secret|Key)Disabled|SlowDown|Throttling` +
	`|invalid_(request|client|grant|scope|token)|unauthorized_client|(access|permission)_denied|server_error|temporarily_unavailable|insufficient_scope` +
	`)$`)

// attributeName matches what may be a reference of Terraform to any other provider, or a
// passphrase: blue_horse.green_tree.red_fox.
var attributeName = regexp.MustCompile(`^[a-z]{3,}_[a-z]{2,}` + attribute + `$`)

// readsAsName reports whether a text may be a name or a placeholder in place of a secret, or a
// passphrase.
func readsAsName(text string) bool {
	return spokenName.MatchString(text) || isNumberedName(text) || attributeName.MatchString(text) || isStandIn(text)
}

// isNumberedName reports whether a text is made of lower-case words and short numbers, of which
// one names a secret: webhook_secret_v2, prod-eu1/stripe/webhook_secret.
func isNumberedName(text string) bool {
	return strings.ContainsAny(text, "0123456789") && numberedWords.MatchString(text) && roleAmong.MatchString(text)
}

var (
	numberedWords = regexp.MustCompile(`^([a-z]{1,13}[0-9]{0,2}|[0-9]{1,4})([-_/]([a-z]{1,13}[0-9]{0,2}|[0-9]{1,4}))+$`)
	roleAmong     = regexp.MustCompile(`(^|[-_/])` + roles + `([-_/]|$)`)
)

// standIn matches, in lower case, what people leave in a template of a secret, and the texts
// of HTTP that are no error.
var standIn = regexp.MustCompile(`((change|replace|fill|edit)[-_ ]?(me|this)|(to[-_ ]be|not[-_ ]yet)[-_ ](replaced|defined|set|filled|changed|generated)|(key|secret|token|password)[-_ ]?(goes[-_ ])?here)([^a-z]|$)` +
	`|replace[-_ ]with|place[-_ ]?holder|not[-_ ]?a[-_ ]?real` +
	`|^(no content|moved permanently|see other|(temporary|permanent) redirect)$`)

// standInParts are texts of which each standIn has one.
var standInParts = []string{"change", "replace", "fill", "edit", "holder", "to-be", "to_be", "to be", "not-yet", "not_yet", "not yet", "real", "here", "content", "moved", "see other", "redirect"}

// isStandIn reports whether a text, or what it encodes, is a standIn.
func isStandIn(text string) bool {
	is := func(text string) bool {
		text = lower(text)
		return hasPart(text, standInParts) && standIn.MatchString(strings.TrimSpace(text))
	}
	for _, text := range slices.Compact([]string{text, bareSecret(text)}) {
		if is(text) || slices.ContainsFunc(decoders, func(decode func(string) ([]byte, error)) bool {
			b, err := decode(text)
			return err == nil && is(string(b))
		}) {
			return true
		}
	}
	return false
}

const (
	// attribute matches the rest of a resource's type, its name and the path of a value in it.
	attribute = `(_([a-z]{2,}|v[0-9]))*\.[a-z]+([_-][a-z]+)*[0-9]{0,2}(\[["\w-]+\])?(\.` + word + `)*\.(` + word + `|b64_(std|url))`

	hump     = `[A-Z][a-z]{2,}`
	word     = `[a-z]{2,}(_[a-z]{2,})*`
	typePart = `([a-z]+|(` + hump + `)+|V[0-9])`
)

// isExample reports whether a text ends like the keys in the documentation of AWS.
func isExample(text string) bool {
	return strings.HasSuffix(text, "EXAMPLE") || strings.HasSuffix(text, "EXAMPLEKEY")
}

// unescaped returns a text between marks as it was before a page or an address was made of
// it: &lt;secret&gt;, %3Csecret%3E.
func unescaped(text string) string {
	if !escaped.MatchString(text) {
		return text
	}
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	return html.UnescapeString(text)
}

var escaped = regexp.MustCompile(`(?i)^(&(lt|quot|apos|#3[49]);|%(3c|22|27|7b|24%7b)).*(&(gt|quot|apos|#3[49]);|%(3e|22|27|7d))$`)
