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

// slotWords say what fills a slot; %s is its argument.
var slotWords = map[template.Slot]string{
	template.Body: "the raw body", template.Timestamp: "the timestamp", template.ID: "the delivery id", template.Secret: "the secret",
	template.Method: "the method", template.URL: "the whole URL", template.URLNoQuery: "the URL without its query", template.URI: "path and query",
	template.Path: "the path", template.Query: "the query", template.QuerySorted: "the query, its parameters sorted", template.Host: "the host",
	template.FormSorted:      "names and values of all form fields, sorted by name",
	template.URLFormSorted:   "the URL, its query sorted, and names and values of all form fields, sorted by name",
	template.URIEncodedTwice: "path and query, the query escaped, and both encoded again",
	template.FormPHP:         "all other form fields as PHP serializes them, sorted by name",
	template.Header:          "the header `%s`", template.JSON: "`%s` of the JSON body", template.Form: "the form field `%s`", template.Param: "the param `%s`",
	template.ListedHeaders: "a line `Name: value` for each header that `%s` of the JWS's header lists",
	template.KV:            "`%s` beside the signature", template.SignedHeaders: "the headers that `%s` lists, each `name:value`, joined by `;`",
	template.BodyDigest: "(nothing: the query parameter `%s` must be the %s of the body in %s)",
	template.JSONLines:  "name and text of these members of the JSON body, a line each: `%s`",
}

var digestNames = map[string]string{"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512", "md5": "MD5", "crc32": "CRC-32"}

// message says a template in words: "the timestamp, `.`, the raw body".
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

// visible writes line breaks as a template does.
var visible = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`)

func code(text string) string {
	if text == " " {
		return "a space"
	}
	return "`" + visible.Replace(text) + "`"
}

// slot says what fills one slot, through its filters; literal text is what it is.
func slot(p template.Part) string {
	switch p.Slot {
	case template.None:
		return code(p.Literal)
	case template.BodyDigest:
		return fmt.Sprintf(slotWords[p.Slot], p.Arg, digestName(p.Filters[0].Name), p.Filters[1].Name)
	case template.JSONLines:
		return fmt.Sprintf(slotWords[p.Slot], strings.ReplaceAll(strings.ReplaceAll(p.Arg, ",", "`, `"), "?`", "` (if it is there)"))
	}
	said := slotWords[p.Slot]
	if p.Arg != "" {
		said = fmt.Sprintf(said, p.Arg)
	}
	if p.Optional {
		said += ", if there"
	}
	if p.Any {
		said += ", whatever it holds"
	}
	for _, f := range p.Filters {
		switch f.Name {
		case "json":
			said += " as a JSON string"
		case "hex", "base64":
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

// signed says what is signed, how, and where the signature stands.
func signed(p *providers.Provider) []string {
	s := p.Scheme
	sig := s.Signature
	if sig == nil {
		return nil
	}
	var signed template.Template // all that is, of whichever message or claim
	for _, text := range slices.Concat(s.Messages(), slices.Collect(maps.Values(s.Claims))) {
		t, _ := template.Parse(text) // the scheme compiles
		signed = append(signed, t...)
	}
	var lines []string
	if s.Algorithm == verifier.Token {
		what := "The secret itself stands in " + carrier(sig) + ": it proves who sends, not what. Nothing is signed."
		if strings.EqualFold(strings.TrimSpace(sig.Prefix), "basic") {
			what = "Basic authentication in " + carrier(sig) + "; the secret is `user:password`. It proves who sends, not what. Nothing is signed."
		}
		lines = append(lines, what)
	} else if sig.Syntax == "jwt" {
		lines = append(lines, "A JWT of "+algorithms(s)+" stands in "+carrier(sig)+notation(sig)+". Any other algorithm is refused, `none` above all.")
		for _, name := range sorted(s.Claims) {
			bare, optional := strings.CutSuffix(name, "?")
			said := fmt.Sprintf("Its claim `%s` must be %s.", bare, message(s.Claims[name]))
			if optional {
				said += " It may be missing where the body is empty."
			}
			lines = append(lines, said)
		}
		lines = append(lines, "`exp` and `nbf` are heeded, with a minute of leeway.")
	} else if components := s.SignedComponents(); components != nil {
		lines = append(lines, httpSignature(s, components)...)
	} else {
		var said []string
		for _, m := range s.Messages() {
			said = append(said, message(m))
		}
		lines = append(lines, fmt.Sprintf("%s over %s.", algorithms(s), strings.Join(said, "; or over ")),
			"The signature stands in "+carrier(sig)+notation(sig)+".")
		if s.BodyUnsigned && signed.Has(template.JSONLines) {
			lines = append(lines, "**Other members of the body are not covered**: anyone who has seen a delivery can change or add them.")
		} else if rules, err := p.Rules(); err == nil && rules.SignsContent() {
			if s.BodyUnsigned { // the language's word for a message without {body}
				lines = append(lines, "All fields of a form are covered; their order and escapes make no difference.")
			}
		} else if s.BodyUnsigned && signed.Has(template.Form) {
			lines = append(lines, "**Other fields of the form are not covered**: anyone who has seen a delivery can change or add them.")
		} else if s.BodyUnsigned {
			lines = append(lines, "**The body is not covered**: an altered one is not noticed here. Let the app ask the sender's API for what the delivery names.")
		}
	}
	if s.PublicURL == "" && signed.Some(func(f *template.Facts) bool { return f.Origin }) {
		lines = append(lines, "The URL is signed as the sender was given it. Behind another proxy, which changes it, add `public_url https://hooks.example.com`.")
	}
	if signed.RunsInto(template.FormSorted) || signed.Has(template.URLFormSorted) {
		lines = append(lines, "**Keep the address that the sender has free of a query.** Nothing in what is signed says where the URL ends and the form begins: with a query, whoever captured a delivery can move text between the two, and only some of that can be refused here.")
	}
	lines = append(lines, key(p))
	return append(lines, freshness(p))
}

// httpSignature says what a signature of RFC 9421 covers.
func httpSignature(s verifier.Scheme, components []string) []string {
	lines := []string{fmt.Sprintf("%s over at least the components `%s`, put together as RFC 9421 says; the sender names them in the header `Signature-Input`.", algorithms(s), strings.Join(components, "` `")),
		"The signature stands in the header `Signature`, under the same label."}
	if !s.BodyUnsigned {
		lines = append(lines, "The body is covered by the header `Content-Digest` (RFC 9530), which is computed anew and must fit.")
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
		return "the body, which is nothing else"
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

// inBody names places in JSON, in a form, or in whichever of the two the body is.
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

// notation says how the signature is written there.
func notation(sig *verifier.Signature) string {
	switch {
	case sig.Syntax == "jws_detached":
		return " as a JWS without its content (RFC 7515 appendix F)"
	case sig.Syntax == "jwt" && sig.Prefix != "":
		return " behind `" + strings.TrimSpace(sig.Prefix) + "`"
	case sig.Syntax == "jwt":
		return ""
	}
	return ", " + plainNotation(sig.WithDefaults())
}

func plainNotation(sig verifier.Signature) string {
	encoding := sig.Encoding
	switch sig.Syntax {
	case "kv":
		return fmt.Sprintf("as `%s=` among `key=value` pairs, in %s", strings.Join(sig.Key, "=` or `"), encoding)
	case "positional":
		return fmt.Sprintf("as `%s` of `%s`, in %s", strings.Join(sig.Key, "` or `"), strings.Join(sig.Names, sig.PairSeparator), encoding)
	case "list":
		return fmt.Sprintf("behind `%s`, one item a key, in %s", strings.Join(sorted(sig.Accept), sig.VersionSeparator+"` or `")+sig.VersionSeparator, encoding)
	case "keyed_list":
		return "behind a key's id and `" + sig.VersionSeparator + "`, one item a key, in " + encoding
	case "algorithm_prefix":
		return fmt.Sprintf("behind `%s`, in %s", strings.Join(sorted(sig.Accept), sig.VersionSeparator+"` or `")+sig.VersionSeparator, encoding)
	}
	if sig.Prefix != "" {
		return "in " + encoding + " behind `" + strings.TrimSpace(sig.Prefix) + "`"
	}
	return "in " + encoding
}

// certificatePath says how the sender names its certificates, where the file does.
func certificatePath(source *verifier.KeySource) string {
	if source.CertificatePath == "" {
		return ""
	}
	return ", where its path is `" + source.CertificatePath + "`"
}

// key says what the secret or public key looks like.
func key(p *providers.Provider) string {
	s := p.Scheme
	if source := s.KeySource; source != nil && source.JWKS != "" {
		return "The sender publishes its keys at <" + source.JWKS + ">, from where they are fetched. `public_key` gives another address, or the keys themselves."
	} else if source != nil {
		named := "`" + s.KeyID.JSON + "` of the JSON body"
		if s.KeyID.Header != "" {
			named = "the header `" + s.KeyID.Header + "`"
		}
		return "The key is the certificate whose address stands in " + named + ", fetched from `" + strings.Join(source.CertificateHosts, "` or `") + "` alone (`*`: a region's name)" + certificatePath(source) + ". `public_key` gives it once and for all instead."
	}
	if !p.UsesSecret() {
		return "The key is the sender's public key: PEM, a JSON Web Key or a set of them, or in " + or(s.PublicKeyEncoding, "base64") + "."
	}
	said := "The secret is used as it stands"
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

// requiredValues names what may stand in a place.
func requiredValues(values []string) string {
	var said []string
	for _, value := range values {
		said = append(said, message(value))
	}
	return strings.Join(said, " or ")
}

// freshness says what is known of a delivery's time.
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
	said := fmt.Sprintf("The time stands in %s (%s) and may be %s from now, both ways.", where, unitWords[or(ts.Unit, "s")], span(tolerance))
	if ts.Optional {
		said += " A delivery without it is of any age."
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
