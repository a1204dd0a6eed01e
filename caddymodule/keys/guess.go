package keys

import (
	"encoding/base64"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkLiteral refuses a secret, literal or in a variable, that is only the name of
// one or of its file, or otherwise guessable: anyone could sign with it.
func checkLiteral(text string) error {
	if err := checkName(text); err != nil || !strings.ContainsAny(text, `/\.`) {
		return err
	}
	if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
		return errors.New("this is the path of a file, not its content: write {file./path}")
	}
	return nil
}

// checkName is checkLiteral without a look at files, for a text that others choose.
func checkName(text string) error {
	switch text {
	case "":
		return errNoPassword
	case "as", "from":
		return errReserved
	}
	rest := secretPrefix.ReplaceAllString(trimmed(text), "")
	if !strings.ContainsFunc(rest, isSeen) && (rest != "" || trimmed(text) != text) { // one that reads as a prefix may be a secret: woxZFUy_
		return errors.New("nothing but a prefix, quotes or invisible characters; docker --env-file and kubectl --from-env-file keep quotes: give the variable a value, or write {file./path}")
	}
	for _, part := range spellings(text) {
		if isUnreplaced(part) || variableName.MatchString(part) || secretName.MatchString(part) || sigil.MatchString(part) || isReference(part) ||
			isLeft(part) {
			return ErrUnreplaced
		}
		if isError(part) {
			return errAnswer
		}
		if isMasked(part) || len(part) > 2 && strings.Trim(part, part[:1]) == "" {
			return errMasked
		}
		if err := checkLeft(part); err != nil {
			return err
		}
	}
	return nil
}

// CheckKey returns an error for the bytes of a key that anyone could guess: few
// different ones, a sequence, a repetition, or text that is no secret. Of 10^36 random keys of 32
// bytes it refuses about one.
func CheckKey(key []byte) error {
	different := make(map[byte]bool)
	for _, b := range key {
		different[b] = true
	}
	text := string(key)
	if isSequence(key) || len(different) < 8 || repeats(text) || utf8.Valid(key) && (isSpelled(text) || checkLiteral(text) != nil) {
		return errGuessable
	}
	return nil
}

var errGuessable = errors.New("this key can be guessed: make a random one with openssl rand -base64 32")

// isSeen reports whether a character is neither a quote nor invisible.
func isSeen(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !strings.ContainsRune("\"'`“”‘’„‚«»", r)
}

// trimmed returns a text without what programs and pages leave around it: quotes, blanks,
// line breaks, colours and invisible characters. Backticks stay: they mark a command.
func trimmed(text string) string {
	if strings.ContainsAny(text, "\x1b\\") {
		text = decoration.ReplaceAllString(text, "")
	}
	return strings.TrimFunc(text, func(r rune) bool { return r != '`' && !isSeen(r) })
}

// decoration matches a terminal's colours, and a line break that is written out.
var decoration = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]|(\\[nrt])+["']?$`)

// spellings returns the texts as which a secret is judged: itself, trimmed, without the
// prefix of a sender's secrets too, and unescaped. None is empty.
func spellings(text string) []string {
	all := []string{text, trimmed(text), bareSecret(text)}
	if plain := unescaped(text); plain != text {
		all = append(all, trimmed(plain), bareSecret(plain))
	}
	return slices.DeleteFunc(slices.Compact(all), func(text string) bool { return text == "" })
}

// secretParts returns what must be secret: all of the text, and with Basic authentication,
// which the scheme uses or the text names, the password. Everyone may know the user.
func secretParts(text string, basic bool) []string {
	rest := trimmed(text)
	if credentials := basicWord.ReplaceAllString(rest, ""); credentials != rest {
		rest, basic = credentials, true
	}
	if !basic {
		return []string{text}
	}
	if b, err := base64.StdEncoding.DecodeString(rest); err == nil && utf8.Valid(b) {
		rest = string(b)
	}
	if _, password, ok := strings.Cut(rest, ":"); ok {
		return []string{text, password}
	}
	return []string{text}
}

var basicWord = regexp.MustCompile(`(?i)^basic +`)

// variableName matches the usual name of an environment variable, alone or at the
// beginning of a line of an .env file. Digits end a word: in a random text they are
// anywhere.
var variableName = regexp.MustCompile(`^(?:[A-Z]+[0-9]{0,4}(_([A-Z]+[0-9]{0,4}|[0-9]{1,4}))+$|[A-Z]{2,}[0-9]{0,4}(_([A-Z]{2,}[0-9]{0,4}|[0-9]{1,4}))+=)`)

// secretName matches what people call a secret: TOKEN, Bearer, stripe_secret,
// webhookSecret. Words with hyphens or spaces are a spokenName.
var secretName = regexp.MustCompile(`^(` + roles + `|[a-z]+[0-9]{0,2}(_[a-z]+[0-9]{0,2})*_` + roles + `|[A-Z]+([_-][A-Z]+)*-` + roles + `|[A-Za-z][a-z]+([A-Z][a-z]+)*` + capitalRoles + `)$`)

// spokenName matches a few words that name a secret and may be somebody's passphrase:
// stripe-webhook-secret, My signing key.
var spokenName = regexp.MustCompile(`^[A-Za-z]+([ -][A-Za-z]+){0,3}[ -]` + roles + `$`)

const (
	roles        = `(?i:secrets?|tokens?|(pass)?keys?|password|passwd|passphrase|bearer|basic|authorization|credentials?|signature|hmac)`
	capitalRoles = `(Secrets?|Tokens?|Keys?|Password|Passphrase)`
)

// sigil matches the name of a variable behind or between the marks of a shell, a
// template or a framework, half-written ones too: \$X, %X, $X$, {$X, $(X, %env(X)%.
var sigil = regexp.MustCompile(`^\\*(\{\s*)?[$%]+[{(\[]*\s*(` + identifier + `\s*[$%})\]]*|(?i:env|getenv|secret|file)\(.*)$`)

// identifier is a variable's name that has no entropy: words, with digits at their
// ends alone.
const identifier = `([A-Z]+[0-9]{0,2}(_[A-Z]+[0-9]{0,2})*|[a-z]+(_[a-z]+)*|[a-z]+([A-Z][a-z]+)+)`

// reference matches common stand-ins for a secret: a reference for another program
// (op://vault/item/field, arn:aws:…, /run/secrets/x), an expression of a language or
// template, the output of a program for a missing value, and placeholders of vendors'
// pages. The one anchor for all of them makes it cheap: each is tried only at the
// beginning.
var reference = regexp.MustCompile(`(?is)^(?:[a-z][a-z0-9+.-]*://` +
	// Of a secret manager, a build or a playbook.
	`|((aws|gcp|azure|secrets?manager|gcsm|kubernetes|k8s|sealed|(hc)?vault|doppler|infisical|akeyless|conjur|berglas|chamber|credstash|sops|key(ring|chain)|1password|op|bw|bitwarden|lpass|lastpass|keepass(xc)?|dashlane|(go)?pass|cmd|exec|shell):|env[:/=])` +
	`|(secret(key)?ref|configmapkeyref|valuefrom|null=)$|(fn::|ref: |(export|env) [a-z_])|\$ansible_vault;|-----begin (pgp|age)` +
	`|!(vault|getatt|base64|join|importvalue|reference)\b|(?-i:(secrets?|kv|keys|vault)/[a-z][a-z0-9_./#-]*$|secrets?[:=] ?[a-z][a-z_./-]*$)` +
	// Paths.
	`|@(\.{0,2}/|[\w./-]+\.[a-z]+$)|/(secrets?|keys|opt|home|root|usr|tmp|srv|app|vault)/|[a-z]:\\|%\w+%\\|(?-i:(/[a-z][a-z0-9_.-]*){2,}$)|\\\\[a-z]|(?-i:[a-z.][a-z0-9_./-]*\.(key|pem|crt|txt|secrets?|json|ya?ml|toml|ini|conf|properties|env|enc|gpg)$|\.env$)` +
	// Expressions.
	`|(secrets|vars|config|settings|steps|inputs|outputs|credentials|rails|deno|bun|values)(\.[a-z_]\w*)+(\(|$)|[a-z_][\w.]*\((["'].*["']|\.{0,2}/.*)\)$` +
	`|[a-z_$]+(` + member + `[a-z_]+)*(` + member + `|/)([a-z_]+_)?` + roles + `$|(?-i:[A-Za-z_$]+(` + member + `[A-Za-z_]+)*` + member + `[A-Za-z]+` + capitalRoles + `$)` +
	`|[a-z_][\w.]*\[["'].*["']\]$|\([a-z_]+(\.[a-z_]+)*\)$|(\|{1,2}|//)[a-z]+(_[a-z]+)+(\|{1,2}|//)$|(?-i:[a-z]+(/[a-z][a-z_-]*){2,}$)` +
	`|(?-i:-[a-z]$|--[a-z]+(-[a-z]+)*$)` +
	`|<+[a-z][\w .!?-]*>+[a-z _-]*$|[@%#~]{2}[a-z_]\w*[@%#~]{2}$|~[a-z_]\w*~$|\{[%#].*[%#]\}$|\$\[.*\]$|<\(.*\)$|:[a-z]+(_[a-z]+)+$` +
	// What is shown for a value that is not known yet, or not to be seen.
	`|\([a-z][a-z ]*\)$|\{\s*\}$|\[\s*\]$|\(\s*\)$` +
	// The rest.
	`|(arn:aws|(aws-?|gcp-?)?s[sm]m?:|akv:|keyvault:|secret(key)?ref:|configmapkeyref:|valuefrom:|enc[\[(]|projects/[^/]+/secrets/)` +
	`|(/run/|/etc/|/var/|/mnt/|~/|\.\.?/|!(ref|sub|secret|env)\b|\$__)` +
	`|\(\(.*\)\)$|\[\[.*\]\]$|<%.*%>$|@[a-z][a-z0-9_-]*@$|__[a-z]\w*__$|%\([a-z_]\w*\)s$|\$+\{?[a-z_]\w{0,13}\}?$` +
	`|(process\.env|import\.meta\.env|os\.environ|env)[.[(]|((os|system)\.)?(getenv|lookup)\(` +
	`|@[a-z.]+\(|\[[a-z][a-z _-]*\]$|(var|local|data|module)\.[a-z_]+` +
	"|`.*`$" + `|%!\w?\(|(?-i:(\$\{?[A-Z_][A-Z0-9_]*\}?[ :.-]?){2,}$)` +
	`|(your|change|replace|insert|enter)[a-z _-]*$` +
	`|[(<]?(undefined|null|none|nil|nan|(un|not[ _-]?)set|n/?a|true|false|yes|no|on|off|default|missing|unknown|empty|todo|tbd|fixme|placeholder|redacted|hidden|masked)[>)]?[,;]?$)`)

// member matches the operators between an object and its member, in several languages.
const member = `(\??\.#?|::?|->)`

// hostName matches the name of a host or an address, with a port or a path: the line
// above or below the secret.
var hostName = regexp.MustCompile(`^(?:([\w.+-]+@)?(([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+(com|net|org|io|dev|app|cloud|info|local|lan|internal|localhost|test|example|invalid|[a-z]{2})|localhost)(:[0-9]{1,5})?(/[\w./-]*)?` +
	`|([0-9]{1,3}\.){3}[0-9]{1,3}(:[0-9]{1,5})?)$`)

// commandLine matches a command that was to print the secret.
var commandLine = regexp.MustCompile(`^(sudo +)?((cat|head|tail|less|type|source|echo|printf|base64|cut|sed|awk|jq|tr|read|get-content|gc) +(.* )?[^ ]*[-~$./\\|<'"]` +
	`|openssl (rand|dgst|enc)\b|(op|bw|doppler|vault|aws|az|gcloud|kubectl|docker|podman|helm|sops|age|gpg2?|pass|gopass|security|chamber|consul|etcdctl|systemd-creds|terraform|heroku|fly|flyctl|railway|vercel) +(.* )?(-[a-z]|-?-?(read|get|show|inspect|decrypt|secrets?|output|config)\b)` +
	`|(pwgen|makepasswd|apg|uuidgen)( |$)|(sh|bash|zsh|pwsh|cmd|python3?|node|ruby|perl|php) +[-/]+[a-z])`)

// isReference reports whether a text is a reference, a host, a command, or inPlace.
func isReference(text string) bool {
	return !isCode(text) && (reference.MatchString(text) || hostName.MatchString(text) || commandLine.MatchString(text) || inPlace.MatchString(text))
}

// isCode reports whether a text is written like a random secret, in hex or base64: none
// of those has a digit and no other signs than these, nor a slash behind a first word
// that is as long as localhost.
func isCode(text string) bool {
	text = strings.TrimRight(text, "=")
	if slash := strings.IndexByte(text, '/'); slash >= 0 && slash <= len("localhost") || strings.HasPrefix(text, "__") {
		return false
	}
	digit := false
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			digit = true
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '+', c == '/', c == '-', c == '_':
		default:
			return false
		}
	}
	return digit
}

// secretPrefix matches the prefix of a sender's secrets, before any of the above:
// whsec_$NAME, sk_live_xxxx, Bearer ${TOKEN}.
var secretPrefix = regexp.MustCompile(`(?i)^([a-z]{2,8}(_(live|test|prod))?_|key-|(bearer|basic|token) +)`)

// masked matches secrets as dashboards mask or shorten them: whsec_••••••••, ********,
// sk_live_…, xxxx-xxxx, 1a2b...9f3c.
var masked = regexp.MustCompile(`[•●]|\*{4}|(\.\.\.|…)$|\w(\.\.\.|…)|(?i:x{6}|^x{2,}([-_ ]x{2,})+$)`)

// isMasked is masked.MatchString, at once false for a text without what each of its
// alternatives needs.
func isMasked(text string) bool {
	return (strings.ContainsAny(text, "•●*.…") || strings.Contains(strings.ToLower(text), "xx")) && masked.MatchString(text)
}

// errReserved reports a word of the Caddyfile's grammar (secret <value> as <label>).
var errReserved = errors.New("as and from are reserved words, not secrets: write a label as {\"value\": …, \"label\": …} in JSON, or as secret <value> as <label>; put such a value into a file")

var errAnswer = errors.New("this is an error message in place of the secret: see what the program answers that was to set it, then write {env.NAME}, {file./path} or the secret itself")

var errNoPassword = errors.New("no password behind the colon of user:password: whoever knows the user could sign; if the user itself is the secret, put it into a file")

var errMasked = errors.New("this looks like a masked or shortened secret: copy all of it; put a real one that looks like this into a file")
