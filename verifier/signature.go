package verifier

import (
	"slices"
	"strings"
)

// A syntax is one way to write signatures.
type syntax struct {
	name    string
	fields  []string // the fields of a Signature that this syntax has and some others do not
	needs   []string // those that must be set
	item    string   // default of item_separator
	version string   // default of version_separator
}

// syntaxes are described in Signature.Syntax. addAll reads them, writeSignature
// writes them.
var syntaxes = []syntax{
	{name: "raw", fields: []string{"prefix"}},
	{name: "kv", fields: []string{"key", "group_separator"}, needs: []string{"key"}},
	{name: "list", fields: []string{"accept"}, needs: []string{"accept"}, item: " ", version: ","},
	{name: "positional", fields: []string{"key", "names"}, needs: []string{"key", "names"}},
	{name: "keyed_list", fields: []string{"key"}, item: "&", version: "|"},
	{name: "algorithm_prefix", fields: []string{"accept"}, needs: []string{"accept"}, version: "="},
	{name: syntaxJWT, fields: []string{"prefix", "accept", "jws_header"}},
	{name: syntaxDetached, fields: []string{"prefix", "accept", "jws_header", "unencoded"}},
	{name: syntaxHTTPSignature, fields: []string{"accept"}},
}

// fieldMeanings explain the fields that syntaxes need.
var fieldMeanings = map[string]string{
	"key": "which keys carry signatures", "accept": "which versions count, each with its algorithm", "names": "what each position means",
}

// syntax returns the row of the signature's syntax, which compiling guarantees.
func (s *Signature) syntax() syntax {
	i := slices.IndexFunc(syntaxes, func(row syntax) bool { return row.name == orDefault(s.Syntax, "raw") })
	if i < 0 {
		return syntax{}
	}
	return syntaxes[i]
}

// WithDefaults returns s with the defaults of match, syntax, encoding and the
// separators filled in. Tokens and JWS have other encodings.
func (s Signature) WithDefaults() Signature {
	row := s.syntax()
	s.Match = orDefault(s.Match, "any")
	s.Syntax = orDefault(s.Syntax, "raw")
	s.Encoding = orDefault(s.Encoding, encHex)
	s.PairSeparator = orDefault(s.PairSeparator, ",")
	s.ItemSeparator = orDefault(s.ItemSeparator, row.item)
	s.VersionSeparator = orDefault(s.VersionSeparator, row.version)
	return s
}

func (v *Rules) compileSignature() (err error) {
	if v.scheme.Signature == nil || len(v.scheme.Signature.sources()) == 0 {
		return wrong("signature", "missing: say which header carries the signature (signature header X-Signature)")
	}
	sig := *v.scheme.Signature
	sig.Syntax = orDefault(sig.Syntax, "raw")
	all := sig.sources()
	if len(all) > maxCandidates {
		return wrong("signature", "%d headers or paths: at most %d are read", len(all), maxCandidates)
	}
	if v.signatureAt, err = v.compileSources("signature", all, "header, query, form, json or body"+orEither); err != nil {
		return err
	}
	sig.Header = v.signatureAt.headers()
	token := slices.Contains(v.algorithms, Token)
	switch {
	case sig.syntax().name == "":
		var names []string
		for _, row := range syntaxes {
			names = append(names, row.name)
		}
		return unknown("signature", "syntax", sig.Syntax, names)
	case sig.Syntax == syntaxHTTPSignature:
		err = v.compileHTTPSignature(&sig)
	case token && sig.Syntax != "raw":
		return wrong("signature", "a token has the syntax raw, not %s", sig.Syntax)
	case token:
		sig.Encoding = orDefault(sig.Encoding, encUTF8)
	case sig.isJWS():
		err = v.compileJWS(&sig)
	}
	if err != nil {
		return err
	}
	if v.scheme.HTTPSignature != nil && v.http == nil {
		return wrong("http_signature", "goes with the syntax http_signature, not with %s", sig.Syntax)
	}
	sig = sig.WithDefaults()
	if err := known("signature", "match", sig.Match, "first_present", "any", "all"); err != nil {
		return err
	}
	if err := known("signature", "encoding", sig.Encoding, encHex, encBase64, encBase64URL, encBase64Hex); err != nil && !(token && sig.Encoding == encUTF8) {
		return err
	}
	if err := v.checkSyntax(&sig); err != nil {
		return err
	}
	v.signature = sig
	return v.compilePrefix()
}

// checkSyntax refuses fields that the syntax does not have and requires those that it
// needs.
func (v *Rules) checkSyntax(sig *Signature) error {
	row := sig.syntax()
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"key", len(sig.Key) > 0}, {"names", len(sig.Names) > 0}, {"accept", len(sig.Accept) > 0}, {"prefix", sig.Prefix != "" || sig.PrefixOptional},
		{"jws_header", len(sig.JWSHeader) > 0}, {"unencoded", sig.Unencoded}, {"group_separator", sig.GroupSeparator != ""},
	} {
		if f.set && !slices.Contains(row.fields, f.name) {
			return wrong("signature", "%s goes with %s, not with %s", f.name, syntaxesWith(f.name), sig.Syntax)
		}
		if !f.set && slices.Contains(row.needs, f.name) {
			return wrong("signature", "%s needs %s: %s", sig.Syntax, f.name, fieldMeanings[f.name])
		}
	}
	switch {
	case len(sig.JSON) > 1 && sig.Match != "any":
		return wrong("signature", "match applies to headers: with several paths each may match")
	case sig.Body && sig.Syntax != syntaxJWT:
		return wrong("signature", "body: only a jwt carries its own signature as the body, not %s", sig.Syntax)
	case sig.Encoding == encBase64Hex && slices.ContainsFunc(v.sizes, func(n int) bool { return n == 0 || n > maxSignature }):
		return wrong("signature", "encoding base64-hex goes with signatures of at most %d bytes, such as those of HMAC", maxSignature)
	case sig.Lines != "" && (sig.Lines != "any" || len(sig.Header) == 0):
		return wrong("signature", "lines: only \"any\": the header may appear on several lines, and each may match")
	}
	for _, key := range sig.Key {
		if sig.Syntax == "positional" && !slices.Contains(sig.Names, key) {
			return wrong("signature", "key %q is not one of the names %s", key, join(sig.Names))
		}
	}
	for version, a := range sig.Accept {
		if !a.known() {
			return wrong("signature", "accept %s: unknown algorithm %q: known are %s", version, a, join(Algorithms))
		}
	}
	return nil
}

// syntaxesWith lists the syntaxes that have a field.
func syntaxesWith(field string) string {
	var names []string
	for _, row := range syntaxes {
		if slices.Contains(row.fields, field) {
			names = append(names, row.name)
		}
	}
	return join(names)
}

func (v *Rules) compilePrefix() error {
	prefix, err := v.scheme.parse(v.signature.Prefix)
	if err != nil {
		return wrong("signature", "prefix: %v", err)
	}
	var ok bool
	if v.prefix, ok = prefix.Text(); !ok {
		return wrong("signature", "prefix: a prefix may hold only text and {param:…}")
	}
	return nil
}

// writeSignature writes the signature in the scheme's syntax.
func (v *Verifier) writeSignature(k *compiledKey, timestamp, text string) string {
	s, key := &v.signature, v.timestampAt.key()
	switch s.Syntax {
	case "kv":
		if key == "" {
			return s.Key[0] + "=" + text
		}
		return key + "=" + timestamp + s.PairSeparator + s.Key[0] + "=" + text
	case "positional":
		parts := make([]string, len(s.Names))
		for i, name := range s.Names {
			switch name {
			case s.Key[0]:
				parts[i] = text
			case key:
				parts[i] = timestamp
			}
		}
		for len(parts) > 0 && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1] // drop positions of signatures by other keys
		}
		return strings.Join(parts, s.PairSeparator)
	case "list", "algorithm_prefix":
		return v.versionOf(k.algorithm) + s.VersionSeparator + text
	case "keyed_list":
		id := k.label
		if len(s.Key) > 0 {
			id = s.Key[0]
		}
		return id + s.VersionSeparator + text
	}
	return v.prefix + text
}

// versionOf returns the first accepted version, in order, for the algorithm.
func (v *Verifier) versionOf(a Algorithm) string {
	found := ""
	for version, accepted := range v.signature.Accept {
		if accepted == a && (found == "" || version < found) {
			found = version
		}
	}
	return found
}
