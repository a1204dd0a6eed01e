package providerpage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// slotWords describes the text of each slot; %s is its argument.
var slotWords = map[template.Slot]string{
	template.Body: "the raw body", template.Timestamp: "the timestamp", template.ID: "the delivery id", template.Secret: "the secret",
	template.Method: "the method", template.URL: "the whole URL", template.URLNoQuery: "the URL without its query", template.URI: "path and query",
	template.Path: "the path", template.Query: "the query", template.QueryParam: "the query parameter `%s`", template.QuerySorted: "the query, its parameters sorted", template.Host: "the host",
	template.FormSorted:      "names and values of all form fields, sorted by name",
	template.URLFormSorted:   "the URL, its query sorted, and names and values of all form fields, sorted by name",
	template.URIEncodedTwice: "path and query, the query escaped, and both encoded again",
	template.FormPHP:         "all other form fields as PHP serializes them, sorted by name",
	template.FormPairs:       "the form fields but for `%s`, sorted, each as `name=value`, joined by `&`",
	template.JSONIs:          "(if `%s` of the JSON body is `%s`)",
	template.JSONPairs:       "the members of `%s` in the JSON body%s, sorted by name, each as `name=value`, joined by commas",
	template.Header:          "the header `%s`", template.JSON: "`%s` of the JSON body", template.Form: "the form field `%s`", template.Param: "the param `%s`",
	template.ListedHeaders: "a line `Name: value` for each header listed in `%s` of the JWS header",
	template.KV:            "`%s` from the signature header", template.KVHeaders: "the header names in `%s` of the signature header and, after a dot each, their values", template.SignedHeaders: "the headers listed in `%s`, each as `name:value`, joined by `;`",
	template.BodyDigest: "(nothing: the query parameter `%s` must be the %s of the body in %s)",
	template.JSONLines:  "a line for each of these members of the JSON body, its name and text: `%s`",
}

var digestNames = map[string]string{"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512", "md5": "MD5", "crc32": "CRC-32"}

// message describes a template in words: "the timestamp, `.`, the raw body".
func message(text string) string {
	t, err := template.Parse(text)
	if err != nil {
		return code(text)
	}
	var parts []string
	for _, p := range t {
		parts = append(parts, slot(p))
	}
	return strings.Join(parts, ", ")
}

// visible escapes line breaks as templates do.
var visible = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`)

func code(text string) string {
	if text == " " {
		return "a space"
	}
	return "`" + visible.Replace(text) + "`"
}

// slot describes one part of a template: its slot and filters, or its literal text.
func slot(p template.Part) string {
	switch p.Slot {
	case template.None:
		return code(p.Literal)
	case template.BodyDigest:
		return fmt.Sprintf(slotWords[p.Slot], p.Arg, digestName(p.Filters[0].Name), p.Filters[1].Name)
	case template.JSONIs:
		path, want, _ := strings.Cut(p.Arg, "=")
		return fmt.Sprintf(slotWords[p.Slot], path, want)
	case template.JSONPairs:
		path, _, _ := strings.Cut(p.Arg, ",")
		but := ""
		if len(p.Without) > 0 {
			but = " but for `" + strings.Join(p.Without, "`, `") + "`"
		}
		return fmt.Sprintf(slotWords[p.Slot], path, but)
	case template.FormPairs:
		return fmt.Sprintf(slotWords[p.Slot], strings.Join(p.Without, "`, `"))
	case template.JSONLines:
		return fmt.Sprintf(slotWords[p.Slot], strings.ReplaceAll(strings.ReplaceAll(p.Arg, ",", "`, `"), "?`", "` (if present)"))
	}
	said := slotWords[p.Slot]
	if p.Arg != "" {
		said = fmt.Sprintf(said, p.Arg)
	}
	switch {
	case p.Optional && p.Slot == template.Param:
		said += " if that has a value"
	case p.Optional:
		said += ", if present"
	}
	if p.Any {
		said += " (any value)"
	}
	for _, f := range p.Filters {
		switch f.Name {
		case "json":
			said += " as a JSON string"
		case "hex", "base64", "base64url":
			said += " in " + f.Name
		case "lower", "upper":
			said += " in " + f.Name + " case"
		default:
			said = "the " + digestName(f.Name) + " of " + said
		}
	}
	return said
}

func digestName(filter string) string {
	if name := digestNames[filter]; name != "" {
		return name
	}
	return filter
}

// signed describes what is signed, how, and where the signature is.
func signed(p *providers.Provider) []string {
	s := p.Scheme
	sig := s.Signature
	if sig == nil {
		return nil
	}
	var signed template.Template // the parts of all messages and claims
	for _, text := range slices.Concat(s.Messages(), slices.Collect(maps.Values(s.Claims))) {
		t, _ := template.Parse(text) // the scheme compiles
		signed = append(signed, t...)
	}
	var lines []string
	if s.Algorithm == verifier.Token {
		what := "The secret itself is in " + carrier(sig) + ". It authenticates the sender, not the content: nothing is signed."
		if s.UsesBasic() {
			what = "Basic authentication in " + carrier(sig) + "; the secret is `user:password`. It authenticates the sender, not the content: nothing is signed."
		}
		lines = append(lines, what)
	} else if sig.Syntax == "jwt" {
		lines = append(lines, "A JWT signed with "+algorithms(s)+" is in "+carrier(sig)+notation(sig)+". Any other algorithm is refused, including `none`.")
		for _, name := range sorted(s.Claims) {
			bare, optional := strings.CutSuffix(name, "?")
			said := fmt.Sprintf("Its claim %s must be %s.", claim(bare), message(s.Claims[name]))
			if optional {
				said += " It may be missing if the body is empty."
			}
			lines = append(lines, said)
		}
		lines = append(lines, "`exp` and `nbf` are checked, with a minute of leeway.")
	} else if components := s.SignedComponents(); components != nil {
		lines = append(lines, httpSignature(s, components)...)
	} else {
		var said []string
		for _, m := range s.Messages() {
			said = append(said, message(m))
		}
		of := ""
		if s.MessageDigest != "" {
			of = "the " + digestName(s.MessageDigest) + " of: "
		}
		lines = append(lines, fmt.Sprintf("%s over %s%s.", algorithms(s), of, strings.Join(said, "; or over ")),
			"The signature is in "+carrier(sig)+notation(sig)+".")
		if s.BodyUnsigned && (signed.Has(template.JSONLines) || signed.Has(template.JSONPairs)) {
			lines = append(lines, "**Other members of the body are not covered**: anyone who has seen a delivery can change or add them.")
		} else if rules, err := p.Rules(); err == nil && rules.SignsContent() {
			if s.BodyUnsigned { // the message has no {body}
				lines = append(lines, "All form fields are covered; their order and escaping do not matter.")
			}
		} else if s.BodyUnsigned && signed.Has(template.Form) {
			lines = append(lines, "**Other fields of the form are not covered**: anyone who has seen a delivery can change or add them.")
		} else if s.BodyUnsigned {
			lines = append(lines, "**The body is not covered**: an altered body passes. Have the app fetch what the delivery names from the sender's API.")
		}
	}
	if s.PublicURL == "" && signed.Some(func(f *template.Facts) bool { return f.Origin }) {
		lines = append(lines, "The signature covers the URL as registered with the sender. Name the host in the site's address; behind another proxy that changes the URL, or on a site for every host (`http://:8080`), add `public_url https://hooks.example.com`.")
	}
	if signed.RunsInto(template.FormSorted) || signed.Has(template.URLFormSorted) {
		lines = append(lines, "**Register a URL without a query.** The signed content does not mark where the URL ends and the form begins: with a query, anyone who captured a delivery can move text between the two, and only some of that can be refused here.")
	}
	if len(s.BodyFormat) > 0 {
		lines = append(lines, "Every body is "+strings.ReplaceAll(strings.ToUpper(strings.Join(s.BodyFormat, " ")), " ", " or ")+": a text that does not begin so is refused, even with a right signature, since the key signs other texts too.")
	}
	lines = append(lines, key(p))
	return append(lines, freshness(p))
}

// claim names the places of a claim.
func claim(name string) string {
	return "`" + strings.ReplaceAll(strings.ReplaceAll(name, "$.", ""), "|", "` or `") + "`"
}

// httpSignature describes what an RFC 9421 signature covers.
func httpSignature(s verifier.Scheme, components []string) []string {
	lines := []string{fmt.Sprintf("%s over at least the components `%s`, assembled as RFC 9421 specifies; the sender lists them in the header `Signature-Input`.", algorithms(s), strings.Join(components, "` `")),
		"The signature is in the header `Signature`, under the same label."}
	if !s.BodyUnsigned {
		lines = append(lines, "The body is covered through the header `Content-Digest` (RFC 9530), which must match the body.")
	}
	return lines
}

func algorithms(s verifier.Scheme) string {
	if len(s.Signature.Accept) == 0 {
		if s.Algorithm == "" {
			return "`hmac-sha256`"
		}
		return "`" + string(s.Algorithm) + "`"
	}
	var all []string
	for _, version := range sorted(s.Signature.Accept) {
		all = append(all, fmt.Sprintf("`%s` (`%s`)", s.Signature.Accept[version], version))
	}
	return strings.Join(all, " or ")
}

// carrier says where the signature is.
func carrier(sig *verifier.Signature) string {
	switch {
	case sig.Query != "":
		return "the query parameter `" + sig.Query + "`"
	case len(sig.JSON) > 0 || sig.Form != "":
		return inBody(sig.Form, sig.JSON...)
	case sig.Body:
		return "the body, which holds only the signature"
	}
	between := " or "
	if sig.Match == "all" {
		between = " and "
	}
	plural := ""
	if len(sig.Header) > 1 {
		plural = "s"
	}
	return "the header" + plural + " `" + strings.Join(sig.Header, "`"+between+"`") + "`"
}

// inBody names places in a JSON body, in a form, or in either.
func inBody(form string, paths ...string) string {
	if len(paths) == 0 {
		return "the form field `" + form + "`"
	}
	where := "`" + strings.Join(paths, "` or `") + "` of the JSON body"
	if form != "" {
		where += ", or the field `" + form + "` of a form"
	}
	return where
}

// notation describes the encoding of the signature.
func notation(sig *verifier.Signature) string {
	switch {
	case sig.Syntax == "jws_detached":
		return " as a detached JWS (RFC 7515 appendix F)"
	case sig.Syntax == "jwt" && sig.Prefix != "":
		return ", after `" + strings.TrimSpace(sig.Prefix) + "`"
	case sig.Syntax == "jwt":
		return ""
	}
	return ", " + plainNotation(sig.WithDefaults())
}

func plainNotation(sig verifier.Signature) string {
	encoding := sig.Encoding
	switch sig.Syntax {
	case "kv":
		return fmt.Sprintf("in %[2]s, as `%[1]s=` among `key=value` pairs", strings.Join(sig.Key, "=` or `"), encoding)
	case "positional":
		return fmt.Sprintf("in %[3]s, as `%[1]s` of `%[2]s`", strings.Join(sig.Key, "` or `"), strings.Join(sig.Names, sig.PairSeparator), encoding)
	case "list":
		return fmt.Sprintf("in %[2]s after `%[1]s`, one item per key", strings.Join(sorted(sig.Accept), sig.VersionSeparator+"` or `")+sig.VersionSeparator, encoding)
	case "keyed_list":
		return "in " + encoding + " after the key id and `" + sig.VersionSeparator + "`, one item per key"
	case "algorithm_prefix":
		return fmt.Sprintf("in %[2]s after `%[1]s`", strings.Join(sorted(sig.Accept), sig.VersionSeparator+"` or `")+sig.VersionSeparator, encoding)
	}
	if sig.Prefix != "" {
		return "in " + encoding + " after `" + strings.TrimSpace(sig.Prefix) + "`"
	}
	return "in " + encoding
}

// certificatePath describes the path of the sender's certificates, if the file restricts it.
func certificatePath(source *verifier.KeySource) string {
	if source.CertificatePath == "" {
		return ""
	}
	return ", with the path `" + source.CertificatePath + "`"
}

// key describes the secret or public key.
func key(p *providers.Provider) string {
	s := p.Scheme
	if set := s.KeySet; set != nil {
		return "Each sender publishes its keys as a JSON Web Key Set. `public_key https://…` names one that you trust; several lines name several. The header `" + set.Header + "` (`" + set.Member + "`) says whose keys are tried, and no other address is fetched. `public_key` also sets the keys themselves."
	}
	if source := s.KeySource; source != nil && source.JWKS != "" {
		return "The sender publishes its keys at <" + source.JWKS + ">; they are fetched from there. `public_key` sets another address, or the keys themselves."
	} else if source != nil {
		named := "`" + s.KeyID.JSON + "` of the JSON body"
		if s.KeyID.Header != "" {
			named = "the header `" + s.KeyID.Header + "`"
		}
		if source.Paths {
			return "The key is fetched from `https://" + source.CertificateHosts[0] + "`" + certificatePath(source) + ", which " + named + " names, and again after a day. `public_key` sets a fixed key instead."
		}
		return "The key is a certificate. Its URL is in " + named + "; it is fetched only from `" + strings.Join(source.CertificateHosts, "` or `") + "` (`*`: a region's name)" + certificatePath(source) + ". `public_key` sets a fixed key instead."
	}
	if x := s.X5C; x != nil {
		return "The JWS carries the certificates of its key (`x5c`), which must lead to the root whose SHA-256 fingerprint is `" + strings.Join(x.Roots, "` or `") + "` and be valid when it was signed. `public_key` sets the certificate of another root."
	}
	if !p.UsesSecret() {
		return "The key is the sender's public key: PEM, a JSON Web Key or a set of them, or in " + or(s.PublicKeyEncoding, "base64") + "."
	}
	said := "The secret is used as is"
	if s.SecretEncoding != "" && s.SecretEncoding != "utf8" {
		said = "The secret is " + s.SecretEncoding + " and is decoded"
	}
	if s.SecretPrefix != "" {
		said += ", after `" + s.SecretPrefix + "`"
	}
	if s.SecretSuffix != "" {
		said += ", with `" + s.SecretSuffix + "` appended"
	}
	if s.SecretNormalize != "" {
		said += ", in the Unicode form " + strings.ToUpper(s.SecretNormalize)
	}
	if s.KeyDerivation != "" {
		said += "; its " + digestName(s.KeyDerivation) + " is the key"
	}
	return said + "."
}

// requiredValues names the values that a member may have.
func requiredValues(values []string) string {
	var said []string
	for _, value := range values {
		said = append(said, message(value))
	}
	return strings.Join(said, " or ")
}

// freshness describes the check of the timestamp.
func freshness(p *providers.Provider) string {
	s := p.Scheme
	ts := s.Timestamp
	key := "key"
	if p.UsesSecret() {
		key = "secret"
	}
	switch {
	case ts == nil:
		return "No time is signed: a captured delivery stays valid until the " + key + " changes."
	case ts.Off:
		return "The time is not checked: a captured delivery stays valid until the " + key + " changes."
	}
	where := ""
	switch {
	case len(ts.Header) > 0:
		where = "the header `" + strings.Join(ts.Header, "` or `") + "`"
	case ts.KV != "":
		where = "`" + ts.KV + "` of the signature's header"
	case ts.Claim != "":
		where = "the claim `" + ts.Claim + "`"
	case ts.JSON == "":
		where = inBody(ts.Form)
	default:
		where = inBody(ts.Form, ts.JSON)
	}
	tolerance := verifier.Duration(verifier.DefaultTolerance)
	if s.Tolerance != nil {
		tolerance = *s.Tolerance
	}
	said := fmt.Sprintf("The time is in %s (%s) and may differ from the clock by up to %s.", where, unitWords[or(ts.Unit, "s")], span(tolerance))
	switch {
	case ts.Optional && ts.KV != "":
		said += " A signature without it stays valid until the " + key + " changes: only the memory of copies stops a captured delivery."
	case ts.Optional:
		said += " A delivery without it may be of any age."
	}
	return said
}

var unitWords = map[string]string{"s": "unix seconds", "ms": "unix milliseconds", "us": "unix microseconds", "rfc3339": "RFC 3339", "iso8601_utc": "ISO 8601, UTC", "http_date": "HTTP date"}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
