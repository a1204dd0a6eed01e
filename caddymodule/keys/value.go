package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Value is a secret or key as a configuration writes it: {env.NAME}, {file./path} (a
// file, or a directory of them), or the text itself. Each line is a key, except in a
// PEM, a JSON Web Key and base64 with a short rest in its last line. It is resolved when
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
// letters or more, unless $, # or @ marks it as one: {$X}, #{X}. One behind $ that is
// as long as a secret is made of words.
var unreplaced = regexp.MustCompile(`(?s)[$#@]\{\s*[A-Za-z_][A-Za-z0-9_]*\s*\}|\{\s*\$[A-Za-z_][A-Za-z0-9_]*\s*[:}]|\{\s*[$.]?[A-Za-z_][A-Za-z0-9_-]+\s*([].:|[}]|$)` +
	`|^\$(env:)?([A-Za-z_][A-Za-z0-9_]{0,13}|` + identifier + `)$|^\$\{.*\}$|^\$\(.*\)$` +
	`|^%[A-Za-z_][A-Za-z0-9_]*%$|^<[A-Za-z][A-Za-z0-9 _-]*>$|^[${]*(env|file|vault)[.:]|^\{\{.*\}\}$`)

// isUnreplaced is unreplaced.MatchString, at once false for a text without what each of
// its alternatives needs.
func isUnreplaced(text string) bool {
	return strings.ContainsAny(text, "{$%<.:") && unreplaced.MatchString(text)
}

// ErrUnreplaced reports a value that a shell, a template or another program should
// have replaced.
var ErrUnreplaced = errors.New("this is a name or placeholder that nothing replaces: write {env.NAME} or {file./path}; put a real value that looks like one into a file")

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
	if isUnreplaced(text) {
		return 0, "", ErrUnreplaced
	}
	if isUnrendered(text) {
		return 0, "", errUnrendered
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

// FilePath returns the path of a value {file./path}, of a file or a folder.
func FilePath(value string) (path string, ok bool) {
	kind, name, err := parseValue(value)
	return name, err == nil && kind == fileValue
}

// Resolve returns the secret for a value: for guest modules (stores) and commands,
// whose passwords and keys use the notation of a configuration. Errors name the
// variable or the path, never a literal.
func Resolve(value string) (string, error) {
	text, err := readValue(value, true)
	if err == nil {
		resolved.Add(text, struct{}{})
	}
	return text, err
}

// resolved are the latest results of Resolve.
var resolved = func() *lru.Cache[string, struct{}] {
	c, err := lru.New[string, struct{}](64)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return c
}()

// Resolved returns the latest secrets of Resolve, of former configurations too: nothing
// that is shown may hold them.
func Resolved() []string { return resolved.Keys() }
