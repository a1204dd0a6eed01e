package keys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2"
)

// Text resolves the text of an option that is no secret, in place: a path, an address, a
// name. {env.NAME} and {file./path} are replaced, anywhere in it, when the module is
// provisioned, never from a request. Other text that looks like a placeholder, a
// variable or a reference is an error, because nothing replaces it. Errors begin with
// the option and name the variable or the path, never the text. An empty text stays
// empty.
func Text(option string, text *string) error { return resolveText(option, text, suspicious) }

// DataFile is Text for the path of a file that the gateway writes: afterwards the path
// is absolute and without links, so that one file has one path, however it is written. By
// default it is name in the module's folder of Caddy's data directory.
func DataFile(option string, path *string, name string) error {
	if err := Text(option, path); err != nil {
		return err
	}
	if *path == "" {
		*path = filepath.Join(caddy.AppDataDir(), "verify_webhook", name)
	}
	absolute, err := filepath.Abs(*path)
	if err != nil {
		return fmt.Errorf("%s %s: %w", option, *path, err)
	}
	*path = withoutLinks(absolute)
	return nil
}

// maxLinks limits links that lead to links, as Linux does.
const maxLinks = 40

// withoutLinks follows the links in an absolute path, whose end may not exist yet.
func withoutLinks(path string) string {
	links := maxLinks
	var follow func(string) string
	follow = func(path string) string {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		parent := filepath.Dir(path)
		if parent == path {
			return path
		}
		real := filepath.Join(follow(parent), filepath.Base(path))
		target, err := os.Readlink(real) // one to a file that does not exist yet
		if err != nil || links == 0 {
			return real
		}
		links--
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(real), target)
		}
		return follow(target)
	}
	return follow(path)
}

// URL is Text for a URL, such as nats://host:4222. A value in it that has special
// characters must be percent-encoded.
func URL(option string, text *string) error { return resolveText(option, text, suspiciousURL) }

// CheckURL returns an error for an invalid notation of a URL. It reads no variable and no
// file.
func CheckURL(text string) error {
	_, err := replaceEmbedded(text, suspiciousURL, func(string) (string, error) { return "", nil })
	return err
}

// Literal returns an error for text that looks like a placeholder, a variable or a
// reference, for options in which nothing is replaced. template allows braces that may
// be slots or JSON.
func Literal(text string, template bool) error {
	scheme, _, isURL := strings.Cut(text, "://")
	marks := func(text string) bool {
		return suspiciousURL(text) || batchVariable.MatchString(text) || isUnrendered(text)
	}
	if template {
		marks = func(text string) bool { return inTemplate.MatchString(text) || batchVariable.MatchString(text) }
	}
	if marks(text) || isURL && schemeName.MatchString(scheme) && scheme != "https" && scheme != "http" {
		return errors.New("it looks like a placeholder, a variable or a reference, and nothing is replaced here: write the text itself, or in a Caddyfile {$NAME}")
	}
	return nil
}

var errLeft = errors.New("it holds a placeholder, a variable or a reference that nothing replaces: write {env.NAME}, {file./path} or the text itself")

// embedded matches the placeholders that Text replaces.
var embedded = regexp.MustCompile(`\{(?:env|file)\.[^{}]*\}`)

func resolveText(option string, text *string, suspicious func(string) bool) error {
	if *text == "" {
		return nil
	}
	resolved, err := replaceEmbedded(*text, suspicious, func(placeholder string) (string, error) { return readValue(placeholder, false) })
	if err == nil && strings.ContainsFunc(resolved, unicode.IsControl) {
		err = errors.New("several lines, or a control character: write one line")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	*text = resolved
	return nil
}

// replaceEmbedded replaces the placeholders in text, if nothing else in it is suspicious.
func replaceEmbedded(text string, suspicious func(string) bool, read func(placeholder string) (string, error)) (string, error) {
	// A letter in place of each: in ${env.X} and {{env.X}} they belong to something else.
	if suspicious(embedded.ReplaceAllString(text, "x")) {
		return "", errLeft
	}
	var failed error
	resolved := embedded.ReplaceAllStringFunc(text, func(placeholder string) string {
		if err := CheckValue(placeholder); err != nil {
			failed = err
			return ""
		}
		value, err := read(placeholder)
		if err != nil {
			failed = err
		}
		return value
	})
	return resolved, failed
}

// suspicious reports whether a path, an address or a name looks like one that a program
// should have replaced: {x}, $X, ${X}, $(x), %X%, <x>, op://x, ~/x, env:X.
func suspicious(text string) bool {
	return strings.ContainsAny(text, "{}") || strings.Contains(text, "://") || marked.MatchString(text) || batchVariable.MatchString(text)
}

// suspiciousURL is suspicious for a URL, which may have %41%42 in it. The scheme is its
// owner's to check.
func suspiciousURL(text string) bool {
	return strings.ContainsAny(text, "{}") || marked.MatchString(text)
}

var (
	// marked matches variables of shells, a home directory, and names with the mark of
	// what should have resolved them. A digit behind the colon is a port.
	marked        = regexp.MustCompile(`\$[A-Za-z_{(]|^~[A-Za-z0-9_-]*[/\\]|^<.*>$|<no value>|^(env|file|vault):[^0-9]`)
	batchVariable = regexp.MustCompile(`%[A-Za-z_][A-Za-z0-9_]*%`)
	// inTemplate matches placeholders of Caddy, which have a dot, of shells and of
	// other templates.
	inTemplate = regexp.MustCompile(`\{(env|file|http)\.|\{[A-Za-z_]+\.[^{}\s":]*\}|\$\{|\{\$[A-Za-z_]|\{\{(\s|\.|\$)|^\$[A-Za-z_]\w*$|<no value>|^(ENC\[|\$ANSIBLE_VAULT;)`)
	schemeName = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
)
