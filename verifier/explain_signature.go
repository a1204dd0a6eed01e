package verifier

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

// Limits of the search in a request: a sender writes a few short headers, an attacker
// may write thousands.
const (
	maxPresented  = 64
	maxHeaderText = 4 << 10
	minCut        = 8 // bytes of a truncated signature that prove the rest: 2^-64
)

// presented is a text of the request that could be a signature.
type presented struct {
	header   string // its place: a header, or
	query    string
	body     string // a place in the body: "form field x"
	lines    int    // of the header
	before   string // text before it in its item: "sha256=", "Bearer "
	around   string // its context: "quotes", "a list"
	copies   int    // how many times its line repeats one value; 0 if it does not
	encoding string // hex, base64, base64url, utf8, or two of them
	bytes    []byte
	likely   bool // judging by the header's name
}

// found is another text of a request and its place.
type found struct{ text, header, key string }

// collect looks for signatures, timestamps and ids in the scheme's headers first,
// then in those with similar names, then in all others.
func (s *search) collect() {
	names := slices.Sorted(maps.Keys(s.c.Request.Header))
	own := func(name string) bool { return slices.Contains(s.v.signature.Header, name) }
	slices.SortStableFunc(names, func(a, b string) int { return rank(own, a) - rank(own, b) })
	for _, name := range names {
		if !httptoken.Valid(name) {
			continue
		}
		lines := s.c.Request.Header[name]
		for _, line := range lines[:min(len(lines), 4)] {
			if len(line) > maxHeaderText {
				continue
			}
			s.collectLine(presented{header: name, lines: len(lines), likely: rank(own, name) < 2}, line)
		}
	}
	s.collectBody()
	_, query, _ := strings.Cut(s.c.Request.Target, "?")
	fields, err := formdata.Parse([]byte(query))
	if err != nil || len(query) > maxHeaderText {
		return
	}
	for _, f := range fields {
		s.collectLine(presented{query: f.Name, lines: 1, likely: f.Name == s.v.signature.Query || soundsSigned(f.Name)}, f.Value)
	}
}

func rank(own func(string) bool, name string) int {
	switch {
	case own(name):
		return 0
	case soundsSigned(name):
		return 1
	}
	return 2
}

func soundsSigned(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"sign", "hmac", "sig", "digest", "hash", "sha", "auth", "token", "secret"},
		func(word string) bool { return strings.Contains(name, word) })
}

// collectLine splits one value at everything that may separate signatures from other
// text.
func (s *search) collectLine(p presented, line string) {
	if slices.Contains(s.v.algorithms, Token) {
		s.collectTokens(p, line)
		return
	}
	s.collectSources(p.header, line)
	p.copies = copies(line)
	if text, ok := strings.CutPrefix(line, s.v.prefix); ok && s.v.prefix != "" {
		p.before = s.v.prefix
		s.present(p, text)
	}
	items := strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",;&|", r) })
	// A list's version before a comma: "v1,K5oZ…".
	if version, text, ok := strings.Cut(strings.TrimSpace(line), ","); ok && len(version) < 8 && len(items) == 2 && s.quotable(version) {
		p.before, p.around = version+",", ""
		s.present(p, text)
	}
	for _, item := range items[:min(len(items), maxCandidates)] {
		p.around = ""
		if len(items) > 1 {
			p.around = "a list"
		}
		text := strings.Trim(item, `"'`)
		if text != item && s.v.signature.Syntax != "kv" { // whose values may be in quotes
			p.around = "quotes"
		}
		p.before = ""
		s.present(p, text)
		for i := 0; i < len(text) && i < 24; i++ { // one label, or two: "v1:sha256="
			if strings.IndexByte("=:.", text[i]) < 0 || i+1 == len(text) {
				continue
			}
			if p.before = text[:i+1]; p.before != s.v.prefix && !s.quotable(p.before) {
				continue
			}
			rest := strings.Trim(text[i+1:], `"'`)
			s.present(p, rest)
			if key := strings.TrimRight(p.before, "=:."); timely(rest) && p.header != "" {
				s.times = append(s.times, found{rest, p.header, key})
			}
		}
	}
}

// collectSources collects texts that could be a timestamp or an id.
func (s *search) collectSources(header, line string) {
	name := strings.ToLower(header)
	if timely(line) || strings.Contains(name, "timestamp") && len(line) < 40 {
		s.times = append(s.times, found{text: line, header: header})
	}
	if len(line) < 128 && (strings.HasSuffix(name, "id") || strings.Contains(name, "delivery") || strings.Contains(name, "nonce")) {
		s.ids = append(s.ids, found{text: line, header: header})
	}
}

// timely reports whether text looks like a unix time.
func timely(text string) bool {
	return (len(text) == 10 || len(text) == 13) && strings.Trim(text, "0123456789") == ""
}

// looseTimestamp reads the timestamp beside the signature even if the header has
// another name or does not follow the scheme's syntax.
func (s *search) looseTimestamp() string {
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(s.c.Request.Header)), func(name string) bool { return !soundsSigned(name) })
	for _, name := range slices.Concat(s.v.signature.Header, others[:min(len(others), 8)]) {
		for _, line := range s.c.Request.Header[name] {
			for item := range strings.FieldsFuncSeq(line, func(r rune) bool { return !unicode.IsDigit(r) && !unicode.IsLetter(r) && r != '=' }) {
				if text, ok := strings.CutPrefix(item, s.v.timestampAt.key()+"="); ok && timely(text) {
					return text
				}
			}
		}
	}
	return ""
}

// present records what text decodes to. Hex digits are always hex: base64 of that
// length would contain other letters.
func (s *search) present(p presented, text string) {
	if len(text) < 2*minCut && len(text) != 0 && !p.likely || len(s.presented) >= maxPresented {
		return
	}
	if strings.Contains(text, "%") {
		if plain, err := url.PathUnescape(text); err == nil {
			text, p.around = plain, "URL encoding"
		}
	}
	raw, encoding := guessDecode(text)
	if bare := strings.TrimRight(text, "="); raw == nil && hasSpareBits(text) {
		raw, _ = base64.RawStdEncoding.DecodeString(bare)
		encoding, p.around = encBase64, spareBits
	}
	if len(raw) < minCut {
		return
	}
	if inner, again := guessDecode(string(raw)); len(inner) >= 16 {
		raw, encoding = inner, encoding+" of "+again
	}
	p.encoding, p.bytes = encoding, raw
	s.presented = append(s.presented, p)
}

// spareBits is the context of base64 whose last character holds bits that belong to no
// byte.
const spareBits = "spare bits"

func guessDecode(text string) ([]byte, string) {
	if raw, err := hex.DecodeString(text); err == nil {
		return raw, encHex
	}
	encoding := encBase64
	if strings.ContainsAny(text, "-_") {
		encoding = encBase64URL
	}
	if raw, err := decodeString(text, encoding); err == nil {
		return raw, encoding
	}
	return nil, ""
}

// readingClause says how a valid signature is written differently from the scheme; ""
// if it is not.
func (s *search) readingClause(r reading) string {
	var clauses []string
	p := r.presented
	if p != nil {
		clauses = s.placeClauses(p, r.cut)
	}
	if own := r.key.algorithm; r.algorithm != own && !facts[r.algorithm].plain { // another clause says so
		where := "write: algorithm " + string(r.algorithm)
		if facts[r.algorithm].weak || len(s.v.signature.Accept) > 0 {
			where = "write a provider file that says so"
		}
		clauses = append(clauses, fmt.Sprintf("the sender signs with %s, but the scheme says %s: %s", r.algorithm, own, where))
	}
	return strings.Join(clauses, ", and ")
}

func (s *search) placeClauses(p *presented, cut bool) (clauses []string) {
	sig := &s.v.signature
	add := func(format string, args ...any) { clauses = append(clauses, fmt.Sprintf(format, args...)) }
	switch {
	case p.body != "":
		return []string{fmt.Sprintf("the right signature is in %s, but the scheme reads %s: name that place in the signature of the provider file", p.body, s.v.signatureAt[0])}
	case p.query != "" && p.query != sig.Query:
		return []string{fmt.Sprintf("the right %s is in the query parameter %s, but the scheme reads %s: write a provider file with signature query", s.noun(), p.query, s.v.signatureAt[0])}
	case p.query != "":
	case !slices.Contains(sig.Header, p.header):
		own := s.v.signatureAt[0]
		const rename = "send it under that name"
		line, whole := s.signatureLine(p)
		switch alike := len(sig.Header) > 0 && sameName(p.header, sig.Header[0]); {
		case alike && line != "":
			add("the right %s arrives as header %s, but the scheme reads %s: %s, or write: %s", s.noun(), p.header, own, rename, line)
		case alike:
			add("the right %s arrives as header %s, but the scheme reads %s: %s", s.noun(), p.header, own, rename)
		case line != "":
			add("the right %s is in header %s, but the scheme reads %s: write: %s", s.noun(), p.header, own, line)
		default:
			add("the right %s is in header %s, but the scheme reads %s: %s", s.noun(), p.header, own, rename)
		}
		if whole && !cut && s.pastedClause(p) == "" {
			return clauses
		}
	case p.lines > 1:
		add("header %s appears on %d lines, of which one holds the right %s: make the sender or the proxy in front send it only once", p.header, p.lines, s.noun())
		return clauses
	case sig.Match == "first_present" && p.header != sig.Header[0] && len(s.c.Request.Header[sig.Header[0]]) > 0:
		add("header %s holds the right signature, but %s comes first and decides: drop that header or name the other one first", p.header, sig.Header[0])
		return clauses
	}
	where := "header " + p.header
	if p.query != "" {
		where = "query parameter " + p.query
	}
	if cut {
		add("the signature in %s is cut off after %d bytes, but the rest matches: look for what shortens it (a database column, a proxy's limit, a copy by hand)", where, len(p.bytes))
		return clauses
	}
	if clause := s.pastedClause(p); clause != "" {
		return append(clauses, clause)
	}
	if p.around == spareBits {
		add("the %s in %s is right but for its last character of base64, which holds bits that no encoder writes: something altered it after it was made", s.noun(), where)
		return clauses
	}
	switch own := sig.Encoding; {
	case strings.Contains(p.encoding, " "):
		add("the %s in %s is written in %s: the sender must encode it once, as %s", s.noun(), where, p.encoding, own)
	case p.encoding != own && (own != encBase64 || p.encoding != encBase64URL):
		add("the %s in %s is written in %s, but the scheme reads %s: write %s after the header's name", s.noun(), where, p.encoding, own, p.encoding)
	}
	return append(clauses, s.syntaxClauses(p, where)...)
}

// signatureLine returns the option by which a scheme reads its signature as it was
// presented, in another header; "" if no option can say it. It is whole if nothing
// else about the signature has to change.
func (s *search) signatureLine(p *presented) (line string, whole bool) {
	sig := &s.v.signature
	line = "signature header " + p.header
	label, prefix, encoding := strings.TrimRight(p.before, "=:.,|"), sig.Prefix, p.encoding
	if encoding == encBase64+" of "+encHex && sig.Encoding == encBase64Hex {
		encoding = encBase64Hex
	}
	switch {
	case strings.Contains(encoding, " "), p.around != "" && p.around != "a list": // other clauses say the rest
		return line, false
	case sig.Syntax == "raw" && sig.ItemSeparator == "":
		if prefix = p.before; p.around != "" {
			return line, false
		}
	case sig.Syntax == "kv" && sig.PairSeparator == "," && sig.GroupSeparator == "" && slices.Contains(sig.Key, label),
		sig.Syntax == "list" && sig.ItemSeparator == " " && sig.VersionSeparator == "," && sig.Accept[label] != "":
		line += " " + sig.Syntax + " " + label
	default:
		return "", false
	}
	if encoding != encHex && encoding != encUTF8 {
		line += " " + encoding
	}
	if prefix != "" {
		line += fmt.Sprintf(" prefix %q", prefix)
	}
	return line, true
}

// syntaxClauses describes unexpected or missing text around a signature.
func (s *search) syntaxClauses(p *presented, where string) (clauses []string) {
	sig := &s.v.signature
	add := func(format string, args ...any) { clauses = append(clauses, fmt.Sprintf(format, args...)) }
	label := strings.TrimRight(p.before, "=:.,|")
	if p.around == "a list" && sig.Syntax == "raw" && p.copies > 1 {
		add("%s holds the %s %d times, joined into one line: make the sender or the proxy in front send it only once", where, s.noun(), p.copies)
		return clauses
	}
	switch sig.Syntax {
	case "raw":
		switch {
		case p.before == s.v.prefix || strings.HasSuffix(s.v.prefix, p.before) && p.before != "":
		case p.before == "":
			if !sig.PrefixOptional {
				add("the %s in %s lacks the prefix %q that the scheme expects: remove prefix from the signature line, unless something on the way cut it off", s.noun(), where, sig.Prefix)
			}
		case p.around == "a list" && strings.HasSuffix(p.before, "=") && p.header != "":
			add("header %s is a list of keys, the signature is that of %s: write: signature header %s kv %s", p.header, label, p.header, label)
		case s.v.prefix == "":
			add("the %s in %s follows %q: write: prefix %q", s.noun(), where, p.before, p.before)
		default:
			add("the %s in %s follows %q, but the scheme expects the prefix %q: change the prefix", s.noun(), where, p.before, sig.Prefix)
		}
	case "kv":
		if !slices.Contains(sig.Key, label) {
			add("the right signature in %s is not under key %s but %s: change the key", where, sig.Key[0], after(p.before))
		}
	case "list", "algorithm_prefix":
		if _, ok := sig.Accept[label]; !ok {
			add("the right signature in %s is %s, but the scheme accepts only %s: accept that one too, or correct the sender", where, after(p.before), join(slices.Sorted(maps.Keys(sig.Accept))))
		}
	}
	if len(clauses) == 0 && p.around != "" && p.around != "a list" {
		add("the %s in %s is in %s: the sender must leave them out", s.noun(), where, p.around)
	}
	if len(clauses) == 0 && p.around == "a list" && sig.Syntax == "raw" {
		add("%s holds more than the %s: something joined several values or lines into one; it must hold only the %s", where, s.noun(), s.noun())
	}
	return clauses
}

func (s *search) noun() string {
	if slices.Contains(s.v.algorithms, Token) {
		return "token"
	}
	return "signature"
}

func after(label string) string {
	if label == "" {
		return "alone"
	}
	return fmt.Sprintf("after %q", label)
}

// sameName reports whether two header names differ only in case, separators and the
// prefix X-.
func sameName(a, b string) bool {
	plain := func(name string) string {
		name = strings.Map(func(r rune) rune {
			if strings.ContainsRune("-_.", r) {
				return -1
			}
			return unicode.ToLower(r)
		}, name)
		for _, prefix := range []string{"http", "x"} { // CGI writes HTTP_X_SIGNATURE
			name = strings.TrimPrefix(name, prefix)
		}
		return name
	}
	return a != b && plain(a) == plain(b)
}
