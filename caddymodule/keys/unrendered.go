package keys

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
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

// leftText matches more of it, which only the text of a file cannot be: the delimiters of
// other templates, references, the mark of a masker, and how languages print what is no
// text.
var leftText = regexp.MustCompile(`(?s)^[\w.:/ -]*([$#@]\{\{.*\}\}|<%.*%>|\{%.*%\}|\{#.*#\}|\[\[ ?[.$\w].*\]\]|<<.*>>|\(\(.*\)\))[\w.:/ -]*$` +
	`|^([a-z]{2,8}_)*([#%@]\{[\w.:?| -]*\}#?|\$\([\w.:/ -]+\))$` +
	`|^(\$[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|%[A-Z][A-Z0-9_]*%|@[A-Z][A-Z0-9_]*@|__[A-Z][A-Z0-9_]*__|<[A-Za-z]+([ _-][A-Za-z]+)*>|<path:.*>|!(Ref|Sub|GetAtt|vault|env|secret)\b.*|@Microsoft\.KeyVault\(.*\))$` +
	`|^((aws|gcp)-?(sm|ssm|secretsmanager)|s?sm|ssm|gsm|gcp-?kms|akv|az(ure)?-?(kv|keyvault)|keyvault|sops|berglas|conjur|akeyless|chamber|1password|bitwarden|keychain|arn:aws):/` +
	`|^arn:aws[a-z-]*:(secretsmanager|ssm|kms):|^projects/[\w-]+/secrets/[\w-]+(/|$)` +
	`|(?i:^(\*+|[(<\[{]+) ?(redacted|masked|hidden|filtered|sensitive|secure|secret|protected|removed|concealed|known after apply)( values?| by [a-z ]+)? ?(\*+|[)>\]}]+)$)|^\*{3}$` +
	`|^%![A-Za-z]\(.*\)$|^\[object [A-Za-z]+\]$|^map\[.*\]$|^<[\w. ]+ (object )?at 0x[0-9a-fA-F]+>$|^System\.[A-Za-z.]+(\[\])?$`)

// leftWord matches what languages and maskers print for a value.
var leftWord = regexp.MustCompile(`(?i)^[(<\[]?(undefined|null|nil|none|nan|unset|not[ _-]set)[)>\]]?$|^redacted$`)

// Matching takes microseconds, so it is only done for texts with what an alternative needs.
var (
	leftBegins = "$%@_<!*([{"
	leftParts  = []string{"{{", "<%", "{%", "{#", "[[", "<<", "((", "#{", "%{", "@{", "$(", ":/", "arn:aws", "projects/", "map[", "System."}

	unrenderedParts = []string{"${", "{$", "{{", "{env.", "{file.", "ENC[", "$ANSIBLE_VAULT;", "-----BEGIN ", "<no value>", "://", "****", "•", "●"}
)

func hasPart(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

func isLeft(text string) bool {
	marked := text != "" && strings.IndexByte(leftBegins, text[0]) >= 0 || hasPart(text, leftParts)
	return marked && leftText.MatchString(text) || len(text) <= len("[undefined]") && leftWord.MatchString(text)
}

func isUnrendered(text string) bool {
	return hasPart(text, unrenderedParts) && unrenderedText.MatchString(trimmed(text))
}

// CheckRendered returns an error for the text of a key file, or an answer in its place,
// that no generator of secrets makes, but a program that was to write it: a template or
// reference that it has not replaced, such as {{ .Values.secret }}, its error, an answer
// around the secret, or what a power loss leaves. Anyone who knows that text could sign
// with it. It accepts all else, guessable or not.
func CheckRendered(text string) error {
	if strings.Contains(text, "-----BEGIN ") { // certificates are printed with anything before them
		if isUnrendered(text) {
			return errUnrendered
		}
		return nil
	}
	bare := trimmed(text)
	if err := checkLeft(bare); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(text, "\ufeff"):
		return errors.New("it begins with a byte order mark (U+FEFF): save it as UTF-8 without one")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, isBinary):
		return errors.New("it is binary or damaged, and no text: write the key as text, binary keys in hex or base64 with secret_encoding")
	case isComment(bare) && len(linesOf(bare)) == 1:
		return errors.New("this is a comment, and no key: write the key alone")
	case isComplaint(bare):
		return errors.New("this is an error message, and no key: see what the program answered that was to write it")
	}
	return nil
}

// checkLeft returns an error for a trimmed text that a failed program leaves, in a file or
// anywhere else.
func checkLeft(text string) error {
	switch {
	case isUnrendered(text), isLeft(text):
		return errUnrendered
	case strings.HasPrefix(text, "<") && markup.MatchString(text):
		return errors.New("this is a page of HTML or XML, and no key: perhaps an error of the program that was to write it")
	case isJSON(text):
		return errors.New("this is JSON, and no key: write the value itself")
	}
	return nil
}

// errUnrendered holds for a file too, unlike ErrUnreplaced.
var errUnrendered = errors.New("this is a template, a reference, an encrypted or a masked value that no program has replaced: write the value itself")

// isBinary reports whether a character is none of a text.
func isBinary(c rune) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f }

var markup = regexp.MustCompile(`(?is)^<(!doctype|html|head|body|\?xml|error)[\s/>]|^<[a-z][\w:.-]*(\s[^<>]*)?>.*</[a-z][\w:.-]*>$`)

// jsonMember matches the beginning of an object that is cut off.
var jsonMember = regexp.MustCompile(`^[\[ ]*\{ *"[^"\n]*" *:`)

// isJSON reports whether a text is a JSON object or list that is no JSON Web Key and
// no set of them.
func isJSON(text string) bool {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return false
	}
	if !json.Valid([]byte(text)) {
		if lines := linesOf(text); len(lines) > 1 && json.Valid([]byte(lines[0])) { // a JSON Web Key a line
			return slices.ContainsFunc(lines, isJSON)
		}
		return jsonMember.MatchString(text)
	}
	type key struct{ Kty string }
	var k struct {
		key
		Keys []key
	}
	return json.Unmarshal([]byte(text), &k) != nil || k.Kty == "" && !slices.ContainsFunc(k.Keys, func(k key) bool { return k.Kty != "" })
}

// complaint matches a usual word of errors.
var complaint = regexp.MustCompile(`(?i)\b(errors?|exception|fatal|panic|denied|forbidden|unauthori[sz]ed|not found|no such|unable to|could ?not|couldn't|cannot|can't|failed|failure|unavailable|timed out|timeout|refused|invalid|usage:|traceback|exceeded|expired|is sealed|(log|sign) ?in\b|no (healthy|value)|reset by|core dumped|does(n't| not) exist)`)

// brief matches short errors, alone or before an explanation: Access denied. Your token …, not
// a sentence (Access denied, said the dragon).
var brief = regexp.MustCompile(`(?i)^((error|the|your) )?(` + subject + ` )+((is|are|was|has) )?(denied|refused|reset( by peer)?|closed|error|fail(ed|ure)|required|expired|invalid|missing|revoked|not found|time(out|d out)|exceeded|unavailable|forbidden|sealed|(does not|doesn't) exist)( (while [a-z]+ing|after [0-9]+)\b.*| ?[:(].*|[.!,;]+( ((a|the|this|your|please|invalid|missing|no) )*(` + subject + `|check|retry|try)s?\b.*)?)?$` +
	`|^((invalid|unknown|missing|no (such|healthy|available))( ` + subject + `)+( or directory)?|no( ` + subject + `)+ (found|provided)|broken pipe|default backend - [0-9]+|error code:? ?[0-9]+|unexpected eof)[.!]?$`)

// subject is what the errors of brief are about.
const subject = `(access|api|authentication|authorization|backend|bucket|certificate|client|command|connect(ion)?|context|credentials?|deadline|decryption|dns|endpoint|fetch|file|gateway|host(name)?|i/o|input|internal|key|lease|limit|login|network|object|operation|page|parameter|parse|path|permission|quota|rate|read|remote|request|resource|response|route|secrets?|server|service|session|stream|tls|token|upstream|user|value|variable|vault|verification|version|write)`

// opening matches what only errors begin with. Passphrases do not: Can't stop the feeling,
// Cannot get the user out of bed.
var opening = regexp.MustCompile(`(?i)^(an error occurred|error (occurred |response from |(from|in|[a-z]+ing) ` + what + `)|exception in |traceback \(most|segmentation fault|upstream connect error|no value found at` +
	`|the requested url returned error|(unable to|failed to|could ?n[o']t|can(not|'t)) (access|authenticate|connect|decrypt|execute|fetch|find|get|load|locate|open|parse|read|resolve|retrieve) ` + what +
	`(\W*$|[.:;!(]| .*([‘“"/:=]|\B'|\brequired\b|\bfrom ` + what + `))` +
	`|you (are not|must be)( currently)? (signed|logged) in|the connection to the server |(dial|read|write|lookup) (tcp|udp|unix) |(get|post|put|head) "?https?://)`)

// what is a subject behind the verb of an error.
const what = `((a|any|data|docker|from|issuer|local|the|to) )*(` + subject + `|binary|config(uration)?|daemon)s?\b`

// titled matches what programs put before an error: their name, or what failed.
var titled = regexp.MustCompile(`^[^\s:]+: `)

// lead matches what Ansible and curl put directly before it.
var lead = regexp.MustCompile(`^((?i:error!)|\([0-9]+\)) `)

// errorName matches the name of an error: of AWS, Azure, Java or .NET, and gRPC.
var errorName = regexp.MustCompile(`^([\w.#]*[.#])?(([A-Z]+[a-z]+)+(Exception|Error|Fault|Failure|NotFound|Denied|Forbidden|Unauthorized|Expired)|NoSuch([A-Z][a-z]+)+|AADSTS[0-9]+` +
	`|PERMISSION_DENIED|NOT_FOUND|UNAUTHENTICATED|UNAVAILABLE|DEADLINE_EXCEEDED|INVALID_ARGUMENT|RESOURCE_EXHAUSTED|FAILED_PRECONDITION)([:(\s].*)?$` +
	`|(?i)^[[(]?(error|fatal|panic|exception)s?(\s*[:(=\])].*)?$|^missing ([a-z]+ )*(token|key|secret|value|parameter|argument|credentials?)$`)

// failures are the words of which each text that brief or errorName matches has one.
var failures = []string{
	"denied", "refused", "reset", "closed", "error", "fail", "required", "broken pipe", "expired", "invalid", "missing", "revoked", "timeout",
	"exceeded", "sealed", "exist", "timed out", "healthy", "unknown", "no such", "available", "found", "provided", "default backend", "unexpected", "exception", "fault", "notfound", "not_found", "forbidden", "unauth", "nosuch", "aadsts", "exhausted", "fatal", "panic",
}

// statusLine matches what some answers have before the text of their status.
var statusLine = regexp.MustCompile(`^((HTTP/[0-9.]+|[Ee]rror) +)?([45][0-9][0-9])( |: )+`)

// statusTexts are those of errors, in lower case, without blanks: some programs name them
// ServiceUnavailable or service_unavailable.
var statusTexts = func() map[string]bool {
	texts := make(map[string]bool)
	for status := 400; status < 600; status++ {
		if text := http.StatusText(status); text != "" {
			texts[squeezed.Replace(strings.ToLower(text))] = true
		}
	}
	return texts
}()

var squeezed = strings.NewReplacer(" ", "", "_", "", "-", "")

// isComplaint reports whether a text is an error, as isError does, or a line of three words
// or more about a failure, as which the text of a file or an answer is judged.
func isComplaint(text string) bool {
	return isError(text) || complains(text) || denied.MatchString(text)
}

var denied = regexp.MustCompile(`(?i) denied[.!]?$`)

// isError reports whether a text is, or begins as, an error of a usual program or server,
// also behind the name of the program: the text of an HTTP status of 400 or more, the name of
// an error, a brief one, or a longer one that a passphrase would not begin as.
func isError(text string) bool {
	rest, more := text, titled.MatchString(text)
	for !begins(rest) {
		if !more {
			return false
		}
		_, rest, more = strings.Cut(rest, ": ")
	}
	return true
}

// begins is isError of a text without a title.
func begins(text string) bool {
	text = statusLine.ReplaceAllString(lead.ReplaceAllString(text, ""), "")
	if statusTexts[squeezed.Replace(strings.ToLower(strings.TrimRight(text, ".!")))] {
		return true
	}
	spaced := text
	if !strings.ContainsAny(text, " 0123456789") { // secret-not-found, with nothing behind it
		spaced = hyphens.Replace(text)
	}
	return hasPart(strings.ToLower(spaced), failures) && (errorName.MatchString(text) || brief.MatchString(spaced)) || opening.MatchString(text)
}

var hyphens = strings.NewReplacer("_", " ", "-", " ")

// complains reports whether a text has three words or more, and a usual one of errors.
func complains(text string) bool {
	words := 0
	for word := range strings.FieldsSeq(text) {
		if strings.ContainsFunc(word, unicode.IsLetter) {
			words++
		}
	}
	return words >= 3 && complaint.MatchString(text)
}
