package keys

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

var (
	errPublished = errors.New("this secret is published in documentation, so anyone can sign with it: use a random one, at the sender too (openssl rand -hex 32)")
	errWeak      = errors.New("this secret can be guessed (a sequence, a repetition or common words): use a random one, at the sender too (openssl rand -hex 32); put one that you cannot change yet into a file")
)

// checkSecret returns an error for the secret of a sender or an app that strangers
// know or guess. Commands accept such secrets: they open nothing.
func checkSecret(text string) error {
	if isPublished(text) {
		return errPublished
	}
	for _, part := range spellings(text) {
		if spokenName.MatchString(part) { // causes a warning
			return nil
		}
		if isWeak(part) {
			return errWeak
		}
	}
	return nil
}

func isPublished(text string) bool {
	bare := bareSecret(text)
	return publishedSecrets()[bare] || isExample(bare)
}

// bareSecret trims a secret and removes its usual prefix, which a scheme may make optional.
func bareSecret(text string) string {
	text = trimmed(text)
	if bare := trimmed(secretPrefix.ReplaceAllString(text, "")); bare != "" {
		return bare
	}
	return text
}

// publishedSecrets holds the secrets of providers.PublishedSecrets, except those so
// short that they cause a warning anyway, and defaultSecrets.
var publishedSecrets = sync.OnceValue(func() map[string]bool {
	texts := make(map[string]bool)
	secrets, err := providers.PublishedSecrets()
	if err != nil {
		panic(err) // the embedded files are damaged
	}
	for _, secret := range append(secrets, defaultSecrets...) {
		if bare := bareSecret(secret); len(bare) >= 4 {
			texts[bare] = true
		}
	}
	return texts
})

// defaultSecrets are what jwt.io signs with, before and after its redesign.
var defaultSecrets = []string{
	"your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret",
	"a-string-secret-at-least-256-bits-long", "a-valid-string-secret-that-is-at-least-384-bits-long", "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
}

// isWeak reports whether a text, or what it encodes, is a sequence, a repetition, a hash
// of nothing as programs print it, made of common words, or left by a failed program.
func isWeak(text string) bool {
	if repeats(text) || isSpelled(text) || slices.ContainsFunc(strings.Fields(text), isHashOfNothing) {
		return true
	}
	for _, decode := range decoders {
		b, err := decode(text)
		if err != nil || len(b) < 4 {
			continue
		}
		if hashesOfNothing[string(b)] || len(b) >= 8 && (repeats(string(b)) || isSequence(b)) {
			return true
		}
		if text := strings.TrimSpace(string(b)); len(text) >= 4 && (isSpelled(text) || utf8.ValidString(text) && !hasToken(text) && (checkLeft(text) != nil || isComplaint(text))) {
			return true
		}
	}
	return false
}

var decoders = []func(string) ([]byte, error){
	hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
}

// hasToken reports whether a text is JSON with a value that may be random: some tokens are
// base64 of such.
func hasToken(text string) bool { return isJSON(text) && token.MatchString(text) }

var token = regexp.MustCompile(`"[\w+/=.-]{16,}"`)

// isHashOfNothing reports whether a word is one in hex, between what sha256sum and openssl
// dgst print around it.
func isHashOfNothing(word string) bool {
	b, err := hex.DecodeString(word)
	return err == nil && hashesOfNothing[string(b)]
}

// hashesOfNothing are what printf %s "$UNSET" | sha256sum makes, and echo in its place.
var hashesOfNothing = func() map[string]bool {
	hashes := make(map[string]bool)
	for _, text := range []string{"", "\n", "\r\n"} {
		for _, hash := range []hash.Hash{md5.New(), sha1.New(), sha256.New224(), sha256.New(), sha512.New384(), sha512.New()} {
			hash.Write([]byte(text))
			hashes[string(hash.Sum(nil))] = true
		}
	}
	return hashes
}()

// isSequence reports whether the difference between neighbouring bytes is constant.
func isSequence(b []byte) bool {
	for i := range b {
		if i > 0 && b[i]-b[i-1] != b[1]-b[0] {
			return false
		}
	}
	return true
}

// repeats reports whether a text repeats a unit of fewer than eight bytes: three times,
// or twice if it is long enough to be no coincidence.
func repeats(text string) bool {
	for unit := 1; unit < 8; unit++ {
		long := len(text) >= 3*unit && len(text) >= 6 || len(text) >= 2*unit && len(text) >= 12
		if long && text[unit:] == text[:len(text)-unit] {
			return true
		}
	}
	return false
}

// isSpelled reports whether a text is made of common words and runs of keys or
// letters alone, with up to four digits and any signs at its end: password12345678,
// s3cr3t-2024, Password1!.
// Of a million random secrets of 12 hexadecimal digits it matches about one.
func isSpelled(text string) bool {
	text = articles.Replace(lower(text))
	ends := make([]bool, len(text)+1) // where a sequence of words and runs may end
	ends[0] = true
	for i := range text {
		if !ends[i] {
			continue
		}
		if digits := strings.TrimRight(text[i:], signs); i > 0 && len(digits) <= 4 && strings.Trim(digits, "0123456789") == "" {
			return true
		}
		if strings.IndexByte(signs, text[i]) >= 0 {
			ends[i+1] = true
		}
		for n := runLength(text[i:]); n >= 3; n-- {
			ends[i+n] = true
		}
		for _, first := range []byte{text[i], lookalikes[text[i]]} {
			for _, word := range wordsOf[first] {
				if beginsWith(text[i:], word) {
					ends[i+len(word)] = true
				}
			}
		}
	}
	return ends[len(text)]
}

// articles removes those between words. In a random text an a is anywhere.
var articles = strings.NewReplacer(" a ", " ", "-a-", "-", "_a_", "_")

// lower is strings.ToLower for ASCII alone: text may be bytes.
func lower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// signs are what people put between and behind words.
const signs = " -_.,:;/+=&'!?#@$%*"

// keyRows are what fingers type: rows of a keyboard, and zigzags over two and three.
var keyRows = []string{"qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "1qaz2wsx3edc4rfv5tgb6yhn", "qazwsxedcrfvtgbyhnujm"}

// runLength returns how long the text begins with one repeated character, with
// consecutive ones in either direction (9 is followed by 0 or a, f by 0), or with a
// part of a row.
func runLength(text string) int {
	longest := 0
	for _, follows := range []func(a, b byte) bool{
		func(a, b byte) bool { return a == b },
		func(a, b byte) bool {
			return b == a+1 || a == '9' && (b == '0' || b == 'a') || (a == 'f' || a == 'z') && (b == '0' || b == 'a')
		},
		func(a, b byte) bool { return b+1 == a || a == '0' && (b == '9' || b == 'f') || a == 'a' && b == '9' },
	} {
		n := 1
		for n < len(text) && follows(text[n-1], text[n]) {
			n++
		}
		longest = max(longest, n)
	}
	for _, row := range keyRows {
		n := 0
		for n < len(text) && strings.Contains(row, text[:n+1]) {
			n++
		}
		longest = max(longest, n)
	}
	return longest
}

// beginsWith reports whether a text begins with a word, which may be written with
// digits and signs in place of letters: s3cr3t, p@ssw0rd.
func beginsWith(text, word string) bool {
	if len(text) < len(word) {
		return false
	}
	for i := range len(word) {
		if text[i] != word[i] && lookalikes[text[i]] != word[i] {
			return false
		}
	}
	return true
}

var lookalikes = [256]byte{'0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '@': 'a', '$': 's', '!': 'i'}

// wordsOf are the commonWords by their first letter.
var wordsOf = func() (words [256][]string) {
	for _, word := range commonWords {
		words[word[0]] = append(words[word[0]], word)
	}
	return words
}()

// commonWords are words that placeholders and passwords are made of, and the names of
// well-known senders.
var commonWords = strings.Fields(`
	secret secrets super top very shared signing signature sign password passwd passphrase pass word
	token tokens bearer key keys api auth access private public client webhook webhooks hook hooks callback
	test tests testing tester example sample demo dummy fake temp tmp dev develop development local localhost
	prod production stage staging sandbox live app server gateway caddy company acme
	change changeme replace insert enter your mine this that the is are it its an my me here please not for
	only use never value string some something any random default placeholder none null undefined todo
	in to be or of and with new old current previous first second one two three four
	hello world foo bar baz qux lorem ipsum admin administrator root user username guest hunter letmein welcome
	iloveyou monkey dragon master abc dead beef cafe babe correct horse battery staple
	github gitlab gitea bitbucket jira stripe shopify slack paypal twilio sendgrid mailgun postmark zoom meta
	facebook whatsapp telegram discord google microsoft amazon adyen square paddle hubspot intercom zendesk
	linear notion svix vercel netlify docusign typeform calendly`)
