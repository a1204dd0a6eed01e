package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Value is a secret or key as a configuration writes it: {env.NAME}, {file./path} (a
// file, or a directory with one key per file), or the text itself. It is resolved when
// the handler is provisioned, never from a request.
type Value struct {
	// Value is the text or one placeholder. A placeholder inside a longer text is an
	// error.
	Value string `json:"value"`
	// Label names the key in logs, metrics and placeholders. Default: its position.
	Label string `json:"label,omitempty"`
}

// UnmarshalJSON reads a string or {"value": …, "label": …}.
func (v *Value) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &v.Value); err == nil {
		return nil
	}
	type plain Value
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()         // as Caddy does elsewhere
	if d.Decode((*plain)(v)) != nil { // its error quotes a member's name, which may be the secret
		return errors.New("secret or public_key: write a string or {\"value\": …, \"label\": …}")
	}
	return nil
}

// placeholder matches a whole value that Caddy's replacer would expand: one that we do
// not expand is an error, not a guessable literal.
var placeholder = regexp.MustCompile(`^\{(env|file|http|system|time|vars|tls|caddy|args)\.[^{}]*\}$`)

// misplaced matches the beginning of such a placeholder in other text: inside a longer
// one, around another placeholder, or without its closing brace. In a Caddyfile {host}
// and other shorthands reach us as {http.…}.
var misplaced = regexp.MustCompile(`\{(env|file|http)\.([A-Za-z0-9_./-]*\})?`)

// unreplaced matches placeholders of shells, templates, snippets and other programs:
// {vault.x}, {tenant}, {$X}, {{ .Values.x }}, $X, ${X}, $(x), %X%, <secret>, env.X,
// file:/x. Anyone who knows the tool can guess such a secret. A name in braces has two
// letters or more, unless $, # or @ marks it as one: {$X}, #{X}.
var unreplaced = regexp.MustCompile(`(?s)[$#@]\{\s*[A-Za-z_][A-Za-z0-9_]*\s*\}|\{\s*\$[A-Za-z_][A-Za-z0-9_]*\s*[:}]|\{\s*[$.]?[A-Za-z_][A-Za-z0-9_-]+\s*([].:|[}]|$)` +
	`|^\$(env:)?[A-Za-z_][A-Za-z0-9_]*$|^\$\{.*\}$|^\$\(.*\)$` +
	`|^%[A-Za-z_][A-Za-z0-9_]*%$|^<[A-Za-z][A-Za-z0-9 _-]*>$|^[${]*(env|file|vault)[.:]|^\{\{.*\}\}$`)

// ErrUnreplaced reports a value that a shell, a template or another program should
// have replaced.
var ErrUnreplaced = errors.New("this is a name or placeholder that nothing replaces: write {env.NAME} or {file./path}; put a real value that looks like one into a file")

// variableName matches the usual name of an environment variable, alone or at the
// beginning of a line of an .env file. It applies to secrets only: the value of a
// header may be ORDER_CREATED.
var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+(=|$)`)

// reference matches common stand-ins for a secret: a reference for another program
// (op://vault/item/field, arn:aws:…, /run/secrets/x), an expression of a language or
// template, the output of a program for a missing value, and placeholders of vendors'
// pages.
var reference = regexp.MustCompile(`(?is)^[a-z][a-z0-9+.-]*://` +
	// Of a secret manager, a build or a playbook.
	`|^((aws|gcp|azure):|secrets?manager:|kubernetes:|k8s:|vault:|doppler:|infisical:|key(ring|chain):|1password:|(go)?pass:|sealed:|env[:/])` +
	`|^(secret(key)?ref|configmapkeyref|valuefrom|null=)$|^(fn::|ref: |(export|env) [a-z_])|^\$ansible_vault;|^-----begin (pgp|age)` +
	`|^!(vault|getatt|base64|join|importvalue|reference)\b|(?-i:^(secrets?|kv|keys|vault)/[a-z][a-z0-9_./#-]*$)` +
	// Paths.
	`|^@(\.{0,2}/|[\w./-]+\.[a-z]+$)|^/(secrets?|keys|opt|home|root|usr|tmp|srv|app|vault)/|^[a-z]:\\|^%\w+%\\|(?-i:^[a-z][a-z0-9_/-]*\.(key|pem|txt|secret|json|env)$)` +
	// Expressions.
	`|^(secrets|vars|config|settings|steps|inputs|outputs|credentials|rails|deno|bun|values)(\.[a-z_]\w*)+(\(|$)|^[a-z_][\w.]*\((["'].*["']|\.{0,2}/.*)\)$` +
	`|^<+[a-z][\w .!?-]*>+$|^[@%#~]{2}[a-z_]\w*[@%#~]{2}$|^~[a-z_]\w*~$|^\{[%#].*[%#]\}$|^\$\[.*\]$|^<\(.*\)$|^:[a-z]+(_[a-z]+)+$` +
	// What is shown for a value that is not known yet, or not to be seen.
	`|^\([a-z][a-z ]*\)$` +
	// The rest.
	`|^(arn:aws|(aws-?|gcp-?)?s[sm]m?:|akv:|keyvault:|secret(key)?ref:|configmapkeyref:|valuefrom:|enc\[|projects/[^/]+/secrets/)` +
	`|^(/run/|/etc/|/var/|/mnt/|~/|\.\.?/|!(ref|sub|secret|env)\b|\$__)` +
	`|^\(\(.*\)\)$|^\[\[.*\]\]$|^<%.*%>$|^@[a-z][a-z0-9_-]*@$|^__[a-z]\w*__$|^%\([a-z_]\w*\)s$|^\$+\{?[a-z_]\w*\}?$` +
	`|^(process\.env|import\.meta\.env|os\.environ|env)[.[(]|^((os|system)\.)?(getenv|lookup)\(` +
	`|^@[a-z.]+\(|^\[[a-z][a-z _-]*\]$|^(var|local|data|module)\.[a-z_]+` +
	"|^`.*`$" + `|^%!\w?\(|(?-i:^(\$\{?[A-Z_][A-Z0-9_]*\}?[ :.-]?){2,}$)` +
	`|^(your|change|replace|insert|enter)[a-z _-]*$` +
	`|^[(<]?(undefined|null|none|nil|nan|unset|empty|todo|tbd|fixme|placeholder|redacted|hidden|masked)[>)]?$`)

// secretPrefix matches the prefix of a sender's secrets, before any of the above:
// whsec_$NAME, sk_live_xxxx, Bearer ${TOKEN}.
var secretPrefix = regexp.MustCompile(`(?i)^([a-z]{2,8}(_(live|test|prod))?_|key-|(bearer|basic|token) +)`)

// masked matches secrets as dashboards mask or shorten them: whsec_••••••••, ********,
// sk_live_…, xxxx-xxxx, 1a2b...9f3c.
var masked = regexp.MustCompile(`[•●]|\*{4}|(\.\.\.|…)$|\w(\.\.\.|…)|(?i:x{6}|^x{2,}([-_ ]x{2,})+$)`)

var errMasked = errors.New("this looks like a masked or shortened secret: copy all of it; put a real one that looks like this into a file")

// valueKind is the source of a value's text.
type valueKind uint8

const (
	literalValue valueKind = iota
	envValue
	fileValue
)

// parseValue returns the kind of a value and the name of its variable or file. Errors
// name the variable or the path, never a literal.
func parseValue(text string) (kind valueKind, name string, err error) {
	if text == "" {
		return 0, "", errors.New("empty: an unset {$VARIABLE} vanishes before this is read; write {env.VARIABLE} to get an error instead")
	}
	if m := placeholder.FindStringSubmatch(text); m != nil {
		return parsePlaceholder(m[1], strings.TrimSuffix(strings.TrimPrefix(text, "{"+m[1]+"."), "}"))
	}
	if m := misplaced.FindStringSubmatch(text); m != nil {
		shown := m[0]
		if m[2] == "" { // the rest may be anything
			shown = "{" + m[1] + ".…}"
		}
		return 0, "", fmt.Errorf("%s must be the whole value: write {env.NAME} or {file./path} alone, and put the rest into the variable or file", shown)
	}
	if unreplaced.MatchString(text) {
		return 0, "", ErrUnreplaced
	}
	return literalValue, "", nil
}

func parsePlaceholder(namespace, name string) (valueKind, string, error) {
	switch {
	case name == "" || namespace != "env" && namespace != "file":
		return 0, "", fmt.Errorf("{%s.…} is not supported here: write {env.NAME}, {file./path} or the text itself", namespace)
	case namespace == "file":
		return fileValue, name, nil
	case strings.ContainsAny(name, notInNames):
		variable := name[:strings.IndexAny(name, notInNames)] // the rest may be a secret
		return 0, "", fmt.Errorf("{env.%s…}: defaults are not supported here: write {env.%s}", variable, variable)
	}
	return envValue, name, nil
}

// notInNames are characters by which other programs divide a variable from its default.
const notInNames = ":=|?,; \t"

// checkLiteral refuses a secret, literal or in a variable, that is only the name of
// one or otherwise guessable: anyone could sign with it.
func checkLiteral(text string) error {
	bare := unquoted(text)
	if bare == "" {
		return errors.New("nothing but quotes, which docker --env-file and kubectl --from-env-file keep: give the variable a value, or write {file./path}")
	}
	bare = secretPrefix.ReplaceAllString(bare, "")
	for _, part := range []string{text, bare} {
		if unreplaced.MatchString(part) || variableName.MatchString(part) || reference.MatchString(part) {
			return ErrUnreplaced
		}
		if masked.MatchString(part) || len(part) > 2 && strings.Trim(part, part[:1]) == "" {
			return errMasked
		}
	}
	if !strings.ContainsAny(text, `/\.`) {
		return nil
	}
	if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
		return errors.New("this is the path of a file, not its content: write {file./path}")
	}
	return nil
}

// unquoted takes a pair of quotes off, as programs leave them in a variable. A quote
// alone is nothing either.
func unquoted(text string) string {
	if text == "" || !strings.ContainsRune(`"'`, rune(text[0])) || text[0] != text[len(text)-1] {
		return text
	}
	return strings.TrimSuffix(text[1:], text[:1])
}

// readEnv returns the value of an environment variable. It refuses a name or
// placeholder that a program should have replaced.
func readEnv(name string, secret bool) (string, error) {
	text := strings.TrimRight(os.Getenv(name), "\r\n")
	if text == "" {
		return "", fmt.Errorf("the environment variable %s is not set or empty: set it before Caddy starts", name)
	}
	kind, _, err := parseValue(text)
	switch {
	case err != nil || kind != literalValue:
		err = ErrUnreplaced
	case secret:
		err = checkLiteral(text)
	}
	if err != nil {
		return "", fmt.Errorf("the environment variable %s: %w", name, err)
	}
	return text, nil
}

// readValue resolves a value to its text. It refuses a guessable secret.
func readValue(value string, secret bool) (string, error) {
	kind, name, err := parseValue(value)
	switch {
	case err != nil:
		return "", err
	case kind == envValue:
		return readEnv(name, secret)
	case kind == fileValue:
		return readKeyFile(name)
	case secret:
		err = checkLiteral(value)
	}
	return value, err
}

// CheckValue returns an error for an invalid notation of a value. It reads no variable
// and no file. Errors name the variable or the path, never a literal.
func CheckValue(value string) error {
	_, _, err := parseValue(value)
	return err
}

// Resolve returns the secret for a value: for guest modules (stores) and commands,
// whose passwords and keys use the notation of a configuration. Errors name the
// variable or the path, never a literal.
func Resolve(value string) (string, error) { return readValue(value, true) }
