package formdata

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
)

var (
	errAlike     = errors.New("another field has a name that some readers treat as the same")
	errBoundary  = errors.New("its boundary is not the one that begins the body, so the app may read other parts")
	errCharset   = errors.New("its charset is not one in which ASCII always means itself, so the app may read another text")
	errEncoded   = errors.New("a name is written as in mail (=?…?=), which some readers decode")
	errLength    = fmt.Errorf("it has more than %d bytes", maxType)
	errLatin     = errors.New("its charset is not UTF-8, and the body is JSON in UTF-8, so the app may read other letters")
	errLines     = errors.New("it has several lines, of which the app may read another")
	errMark      = errors.New("it begins with a byte outside ASCII, such as a byte order mark, which some readers skip")
	errNoForm    = errors.New("the Content-Type is not that of a UTF-8 form, so the app may read something else")
	errNoJSON    = errors.New("the Content-Type is not that of JSON in UTF-8, so the app may read something else")
	errQuery     = errors.New("the query has more than 8 KiB")
	errSemicolon = errors.New("an unescaped semicolon, which some readers treat as the end of a field")
)

// ValueAlone is ValueAs for a form whose other fields may be unsigned. It refuses a
// form in which another reader could find another value of the field: through an
// equivalent name, a semicolon that separates fields, a byte order mark, or a
// Content-Type of something else.
func ValueAlone(contentType []string, body []byte, name string) (string, error) {
	kind, params, err := formType(contentType)
	if err != nil {
		return "", err
	}
	if kind == multipartForm {
		return multipartValue(body, params["boundary"], name, true)
	}
	if bytes.IndexByte(body, ';') >= 0 {
		return "", errSemicolon
	}
	if len(body) > 0 && body[0] >= utf8.RuneSelf {
		return "", errMark
	}
	return value(body, name, true)
}

// maxQuery is the longest query, in bytes, whose names are compared with a signed one.
const maxQuery = 8 << 10

// QueryValue is [Value] for a parameter of a query. With alone, the other parameters may
// be unsigned: it refuses what [ValueAlone] refuses, and a query of more than 8 KiB.
func QueryValue(query, name string, alone bool) (string, error) {
	switch {
	case alone && len(query) > maxQuery:
		return "", errQuery
	case alone && strings.Contains(query, ";"):
		return "", errSemicolon
	}
	return value([]byte(query), name, alone)
}

// CheckType refuses a Content-Type under which another reader would not find the
// fields that [Parse] does: anything but an urlencoded form, or several lines. It may
// be absent: frameworks then read no form at all, or the urlencoded one (Rack).
func CheckType(contentType []string) error {
	if kind, _, err := formType(contentType); err != nil || kind == multipartForm {
		return errNoForm
	}
	return nil
}

// CheckJSONType refuses a Content-Type under which another reader of the same bytes may
// see something else than JSON: several lines, one that does not parse, any type but JSON
// and plain text, and a charset such as UTF-7 or UTF-16. It may be absent; the app must
// not get it so, because Rack reads a form then.
func CheckJSONType(contentType []string) error {
	if len(contentType) == 0 {
		return nil
	}
	if len(contentType) > 1 {
		return errNoJSON
	}
	kind, params := parseType(contentType[0])
	if Is(contentType[0]) || kind != "text/plain" && !strings.HasSuffix(kind, "json") || !isASCIICompatible(params["charset"]) {
		return errNoJSON
	}
	return nil
}

// CheckText refuses a Content-Type, which may be absent, under which a reader may find
// another text in a body whose bytes are known: several lines; a charset in which other
// bytes become quotes, or swallow them (UTF-7, Shift JIS, Python's unicode_escape), unless
// it is the one that the body declares as XML; one in which JSON has other letters; and for
// multipart another boundary than the body begins with.
func CheckText(contentType []string, body []byte) error {
	switch len(contentType) {
	case 0:
		return nil
	case 1:
	default:
		return errLines
	}
	if len(contentType[0]) > maxType {
		return errLength
	}
	const name = "charset"
	latin := false
	for i := range max(0, len(contentType[0])-len(name)+1) {
		after := contentType[0][i+len(name):]
		switch {
		case !strings.EqualFold(contentType[0][i:i+len(name)], name), utf8Name.MatchString(after):
		case !superset.MatchString(after) && !(eastern.MatchString(after) && isASCII(body)) && !isDeclared(contentType[0], body):
			return errCharset
		default:
			latin = true
		}
	}
	if latin && isLetteredJSON(body) {
		return errLatin
	}
	text := strings.ToLower(contentType[0])
	if !strings.Contains(text, "multipart/") || !strings.Contains(text, "boundary") {
		return nil
	}
	boundary := boundaryParam.FindStringSubmatch(contentType[0])
	if boundary == nil || strings.Contains(strings.ToLower(strings.Replace(contentType[0], boundary[0], "", 1)), "boundary") {
		return errBoundary
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(body, "\r\n"), lineBreak)
	if string(bytes.TrimRight(first, " \t")) != "--"+cmp.Or(boundary[1], boundary[2]) {
		return errBoundary
	}
	return nil
}

// What follows the name of a charset parameter, wherever that is: in quotes or in the
// value of another parameter, some readers find it, and others do not.
var (
	// In superset each byte of ASCII means itself, and no other byte means one.
	superset = regexp.MustCompile(`^(?i:[ \t]*[=:][ \t]*["']?((us[-_]?)?ascii|ansi_x3\.4-19(68|86)|latin[-_]?1|iso[-_]?8859[-_]?([1-9]|1[0-6])([-_][ie])?|(windows|cp)[-_]?(125[0-8]|874)|koi8[-_]?[ru]|tis[-_]?620|macintosh|mac[-_]?roman|(ibm|cp)[-_]?(437|85[0258]|866))["']?[ \t]*([;,]|$))`)
	utf8Name = regexp.MustCompile(`^(?i:[ \t]*[=:][ \t]*["']?(utf[-_]?8(mb4)?)?["']?[ \t]*([;,]|$))`)
	// In eastern other bytes begin pairs, whose second one may be of ASCII.
	eastern = regexp.MustCompile(`^(?i:[ \t]*=[ \t]*["']?(euc[-_]?(jp|kr|cn|tw)|gb2312|gbk|gb18030|big5|ks_c_5601-1987)["']?[ \t]*([;,]|$))`)

	boundaryParam = regexp.MustCompile(`^(?i:[ \t]*multipart/[^;,"]*;(?:[^,]*[; \t])?boundary=)(?:"([^"\\]+)"|([^\s;,"=/?:()<>@\\]+))[ \t]*(?:;|$)`)
)

// XML names its encoding in its first bytes. What precedes the type's charset, and follows
// it, has no other one: the regular expression matches the whole line.
var (
	xmlType = regexp.MustCompile(`^(?i:[ \t]*(?:(?:text|application)/xml|application/[a-z0-9.-]+\+xml)[ \t]*;[ \t]*charset=(?:"([a-z0-9_-]+)"|([a-z0-9_-]+))[ \t]*;?[ \t]*)$`)
	xmlText = regexp.MustCompile(`^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.[0-9]"|'1\.[0-9]')[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:"([A-Za-z0-9_-]+)"|'([A-Za-z0-9_-]+)')`)
	// In pairs the bytes of ASCII are those of a declaration, and no escape changes that.
	pairs = regexp.MustCompile(`^(?i:shift[-_]?jis|x-sjis|sjis|windows-31j|cp932|ms932|euc-(jp|kr|cn|tw)|gb2312|gbk|gb18030|big5(-hkscs)?|ks_c_5601-1987)$`)
)

// isDeclared reports whether a type is that of XML in the charset that the body declares.
// Readers follow the type (RFC 7303 §3.2) or the declaration, so they agree, and whoever
// cannot change the body cannot choose another one.
func isDeclared(contentType string, body []byte) bool {
	t, x := xmlType.FindStringSubmatch(contentType), xmlText.FindSubmatch(body[:min(len(body), maxType)])
	if t == nil || x == nil {
		return false
	}
	named, declared := t[1]+t[2], string(x[1])+string(x[2])
	return pairs.MatchString(named) && strings.EqualFold(named, declared)
}

// isLetteredJSON reports whether a body is JSON in UTF-8, as it must be (RFC 8259 §8.1), with
// letters that are others in a charset of single bytes. A text in such a charset is
// hardly ever UTF-8 by chance.
func isLetteredJSON(body []byte) bool {
	text := bytes.TrimLeft(body, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[') && !isASCII(text) && utf8.Valid(text)
}

func isASCII(body []byte) bool {
	return !slices.ContainsFunc(body, func(b byte) bool { return b >= 0x80 })
}

// isASCIICompatible reports whether no byte of ASCII means anything else in a charset,
// and no other byte means one of ASCII or a letter that some readers take for one (ı).
func isASCIICompatible(charset string) bool {
	return slices.Contains([]string{"", "utf-8", "utf8", "us-ascii", "iso-8859-1"}, strings.ToLower(charset))
}

// formType parses the Content-Type lines, which must be those of a form in an
// ASCII-compatible charset. Without any, kind is "".
func formType(contentType []string) (kind string, params map[string]string, err error) {
	if len(contentType) == 0 {
		return "", nil, nil
	}
	kind, params = parseType(contentType[0])
	if len(contentType) > 1 || !isForm(kind) || !isASCIICompatible(params["charset"]) {
		return "", nil, errNoForm
	}
	return kind, params, nil
}

// isAlike reports whether some reader equates another name with name: with a.b also
// a[b], which Express and Rack read as a member of a.
func isAlike(other, name string) bool {
	if other == name {
		return false
	}
	want, array := alike.Field(name), alike.Array(other)
	first, _, dotted := strings.Cut(name, ".")
	return alike.Field(other) == want || array == want || dotted && array == alike.Field(first)
}

// Alike reports whether some reader equates two fields with different names.
func Alike(fields []Field) bool {
	names := make(map[string]string, len(fields))
	for _, f := range fields {
		key := alike.Field(f.Name)
		if name, ok := names[key]; ok && name != f.Name {
			return true
		}
		names[key] = f.Name
	}
	return slices.ContainsFunc(fields, func(f Field) bool {
		name, ok := names[alike.Array(f.Name)]
		return ok && name != "" && name != f.Name
	})
}
