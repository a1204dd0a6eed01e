package verifier

import (
	"slices"
)

func (v *Rules) compileSignature() (err error) {
	if v.scheme.Signature == nil {
		return wrong("signature", "missing: say which header carries the signature (signature header X-Signature)")
	}
	sig := *v.scheme.Signature
	all := sig.sources()
	if len(all) == 0 {
		return wrong("signature", "missing: say which header carries the signature (signature header X-Signature)")
	}
	if len(all) > maxCandidates {
		return wrong("signature", "%d headers or paths: at most %d are read", len(all), maxCandidates)
	}
	if v.signatureAt, err = v.compileSources("signature", all, "header, query, form, json or body"+orEither); err != nil {
		return err
	}
	sig.Header = v.signatureAt.headers()
	sig.Match = orDefault(sig.Match, "any")
	sig.Syntax = orDefault(sig.Syntax, "raw")
	if err := v.compileHTTPSignature(&sig); err != nil {
		return err
	}
	if err := v.signatureForm(&sig); err != nil {
		return err
	}
	if err := v.checkSyntax(&sig); err != nil {
		return err
	}
	v.signature = sig
	return v.compilePrefix()
}

// signatureForm fills in how the signature is written.
func (v *Rules) signatureForm(sig *Signature) error {
	token := slices.Contains(v.algorithms, Token)
	if token {
		if sig.Syntax != "raw" {
			return wrong("signature", "a token stands alone: raw, not %s", sig.Syntax)
		}
		sig.Encoding = orDefault(sig.Encoding, encUTF8)
	}
	if sig.isJWS() {
		if err := v.compileJWS(sig); err != nil {
			return err
		}
	}
	sig.Encoding = orDefault(sig.Encoding, encHex)
	sig.PairSeparator = orDefault(sig.PairSeparator, ",")
	if err := known("signature", "match", sig.Match, "first_present", "any", "all"); err != nil {
		return err
	}
	if err := known("signature", "encoding", sig.Encoding, encHex, encBase64, encBase64URL, encBase64Hex); err != nil && !(token && sig.Encoding == encUTF8) {
		return err
	}
	if err := known("signature", "syntax", sig.Syntax, "raw", "kv", "list", "positional", "keyed_list", "algorithm_prefix", syntaxJWT, syntaxDetached, syntaxHTTPSignature); err != nil {
		return err
	}
	switch sig.Syntax {
	case "list":
		sig.ItemSeparator = orDefault(sig.ItemSeparator, " ")
		sig.VersionSeparator = orDefault(sig.VersionSeparator, ",")
	case "keyed_list":
		sig.ItemSeparator = orDefault(sig.ItemSeparator, "&")
		sig.VersionSeparator = orDefault(sig.VersionSeparator, "|")
	case "algorithm_prefix":
		sig.VersionSeparator = orDefault(sig.VersionSeparator, "=")
	}
	return nil
}

func (v *Rules) compilePrefix() error {
	prefix, err := v.scheme.parse(v.signature.Prefix)
	if err != nil {
		return wrong("signature", "prefix: %v", err)
	}
	var ok bool
	if v.prefix, ok = prefix.Text(); !ok {
		return wrong("signature", "prefix: only text and {param:…} may stand in a prefix")
	}
	return nil
}

// checkSyntax refuses fields that the syntax does not read and asks for those
// that it needs.
func (v *Rules) checkSyntax(sig *Signature) error {
	pairs := sig.Syntax == "kv" || sig.Syntax == "positional"
	versions := sig.Syntax == "list" || sig.Syntax == "algorithm_prefix" || sig.isJWS()
	switch {
	case pairs && len(sig.Key) == 0:
		return wrong("signature", "%s needs key: which keys carry signatures", sig.Syntax)
	case versions && len(sig.Accept) == 0:
		return wrong("signature", "%s needs accept: which versions count, each with its algorithm", sig.Syntax)
	case !versions && len(sig.Accept) > 0:
		return wrong("signature", "accept goes with list, algorithm_prefix and JWS, not with %s", sig.Syntax)
	case len(sig.JWSHeader) > 0 && !sig.isJWS():
		return wrong("signature", "jws_header goes with a JWS, not with %s", sig.Syntax)
	case sig.Unencoded && sig.Syntax != syntaxDetached:
		return wrong("signature", "unencoded goes with jws_detached, not with %s", sig.Syntax)
	case len(sig.JSON) > 1 && sig.Match != "any":
		return wrong("signature", "match goes with headers: of several paths each may match")
	case sig.Body && sig.Syntax != syntaxJWT:
		return wrong("signature", "body: only a jwt is a body that carries its own signature, not %s", sig.Syntax)
	case sig.Syntax != "raw" && !sig.isJWS() && (sig.Prefix != "" || sig.PrefixOptional):
		return wrong("signature", "prefix goes with raw, not with %s", sig.Syntax)
	case sig.Syntax == "raw" && len(sig.Key) > 0, versions && len(sig.Key) > 0:
		return wrong("signature", "key goes with kv, positional and keyed_list, not with %s", sig.Syntax)
	case sig.Encoding == encBase64Hex && slices.ContainsFunc(v.sizes, func(n int) bool { return n == 0 || n > maxSignature }):
		return wrong("signature", "encoding base64-hex goes with signatures of at most %d bytes, such as those of HMAC", maxSignature)
	case sig.GroupSeparator != "" && sig.Syntax != "kv":
		return wrong("signature", "group_separator goes with kv, not with %s", sig.Syntax)
	case sig.Lines != "" && (sig.Lines != "any" || len(sig.Header) == 0):
		return wrong("signature", "lines: only \"any\", for a header that may stand on several lines, each of which may match")
	case sig.Syntax == "positional" != (len(sig.Names) > 0):
		return wrong("signature", "names goes with positional: what each position means")
	}
	for _, key := range sig.Key {
		if sig.Syntax == "positional" && !slices.Contains(sig.Names, key) {
			return wrong("signature", "key %q is none of the names %s", key, join(sig.Names))
		}
	}
	for version, a := range sig.Accept {
		if !a.known() {
			return wrong("signature", "accept %s: unknown algorithm %q: known are %s", version, a, join(Algorithms))
		}
	}
	return nil
}
