package formdata

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
)

func TestFormFields(t *testing.T) {
	many := strings.Repeat("b=1&", MaxFields-1)
	for name, tc := range map[string]struct {
		form, want string
		err        error
	}{
		"once":                       {"a=1&b=2", "1", nil},
		"escaped name":               {"%61=x+y%21", "x y!", nil},
		"no equals sign":             {"b&a", "", nil},
		"twice":                      {"a=1&a=2", "", errForm},
		"twice, once escaped":        {"a=1&%61=2", "", errForm},
		"another's beginning":        {"ab=1", "", ErrNoValue},
		"missing":                    {"b=1", "", ErrNoValue},
		"nothing":                    {"", "", ErrNoValue},
		"bad escape in another":      {"a=1&b=%4", "", errEscape},
		"bad escape in its own":      {"a=%zz", "", errEscape},
		"empty pairs are none":       {"&&a=1" + strings.Repeat("&", 1<<20), "1", nil},
		"as many fields as are read": {many + "a=1", "1", nil},
		"one more":                   {many + "a=1&c=1", "", ErrFields},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Value([]byte(tc.form), "a"); got != tc.want || err != tc.err {
				t.Errorf("Value: %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
			_, err := Parse([]byte(tc.form))
			if want := tc.err; want != errForm && want != ErrNoValue && err != want {
				t.Errorf("Parse: %v, want %v", err, want)
			}
		})
	}
}

func TestPartsAreReadOneWay(t *testing.T) {
	const part = "Content-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
	for name, tc := range map[string]struct{ body, want string }{
		"once":                {"--b\r\n" + part + "--b--\r\n", "1"},
		"no last line break":  {"--b\r\n" + part + "--b--", "1"},
		"blanks and epilogue": {"--b \t\r\n" + part + "--b-- \r\nbye", "1"},
		"without quotes":      {"--b\r\ncontent-disposition:form-data;name=a\r\n\r\n1\r\n--b--", "1"},
		"empty":               {"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--b--", ""},
		"lines in it":         {"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\r\n--c\r\n--b--", "1\r\n\r\n--c"},
		"a file beside it":    {"--b\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"f\"; filename=\"C:\\x;y\"\r\n\r\n1\r\n--b\r\n" + part + "--b--", "1"},
		"of a type":           {"--b\r\nContent-Type: text/plain; charset=UTF-8\r\n" + part + "--b--", "1"},

		"a nameless part":        {"--b\r\n\r\n--b\r\n" + part + "--b--", "refused"},
		"no form-data beside":    {"--b\r\nContent-Disposition: attachment; name=\"c\"\r\n\r\n1\r\n--b\r\n" + part + "--b--", "refused"},
		"a preamble":             {"hi\r\n--b\r\n" + part + "--b--", "refused"},
		"a boundary in a value":  {"--b\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\nx\n--b\nContent-Disposition: form-data; name=\"a\"\n\n2\r\n--b\r\n" + part + "--b--", "refused"},
		"in a line of a value":   {"--b\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\nx--b\r\n--b\r\n" + part + "--b--", "refused"},
		"a boundary in a header": {"--b\r\nX: --b\r\n" + part + "--b--", "refused"},
		"after the end":          {"--b\r\n" + part + "--b--\r\n--b\r\n" + part + "--b--", "refused"},
		"as bytes":               {"--b\r\nContent-Type: application/octet-stream\r\n" + part + "--b--", "refused"},
		"in another charset":     {"--b\r\nContent-Type: text/plain; charset=utf-16\r\n" + part + "--b--", "refused"},
		"of two types":           {"--b\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n" + part + "--b--", "refused"},
		"as a file":              {"--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n1\r\n--b--", "refused"},
		"encoded":                {"--b\r\nContent-Transfer-Encoding: base64\r\n" + part + "--b--", "refused"},
		"twice":                  {"--b\r\n" + part + "--b\r\n" + part + "--b--", "refused"},
		"two names":              {"--b\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n1\r\n--b--", "refused"},
		"two dispositions":       {"--b\r\nContent-Disposition: form-data; name=\"c\"\r\n" + part + "--b--", "refused"},
		"a name in RFC 2231":     {"--b\r\nContent-Disposition: form-data; name*=utf-8''a\r\n\r\n1\r\n--b--", "refused"},
		"an escaped quote":       {"--b\r\nContent-Disposition: form-data; x=\"\\\"; name=\"a\"\r\n\r\n1\r\n--b--", "refused"},
		"folded":                 {"--b\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n--b--", "refused"},
		"bare line feeds":        {"--b\nContent-Disposition: form-data; name=\"a\"\n\n1\n--b--", "refused"},
		"a longer boundary":      {"--b\r\n" + part + "--bb\r\n" + part + "--b--", "refused"},
		"no end":                 {"--b\r\n" + part, "refused"},
		"an attachment":          {"--b\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--b--", "refused"},
		"another field":          {"--b\r\nContent-Disposition: form-data; name=\"A\"\r\n\r\n1\r\n--b--", "refused"},
		"more parts than count":  {strings.Repeat("--b\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n", MaxFields) + "--b\r\n" + part + "--b--", "refused"},
		"urlencoded":             {"a=1", "refused"},
	} {
		got, err := multipartValue([]byte(tc.body), "b", "a", false)
		if err != nil {
			got = "refused"
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// FuzzMultipart: results agree with mime/multipart, which many apps use, at no more
// than the cost of the body.
func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"))
	f.Add([]byte("--b\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=a; filename=\"x\"\r\n\r\n1\r\n--b\r\n\r\n--b--"))
	f.Add([]byte("x\r\n--b\t\r\nContent-Disposition: form-data; name=\"b\"; name*0=\"a\"\r\n\r\n--b--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := multipartValue(body, "b", "a", false)
		if err != nil {
			return
		}
		var values []string
		for r := multipart.NewReader(bytes.NewReader(body), "b"); ; {
			part, err := r.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%v, but %q is read", err, got)
			}
			text, err := io.ReadAll(part)
			if err != nil {
				t.Fatalf("%v, but %q is read", err, got)
			}
			if part.FormName() == "a" {
				values = append(values, string(text))
			}
		}
		if len(values) != 1 || values[0] != got {
			t.Errorf("%q is read, mime/multipart has %q", got, values)
		}
	})
}

// FuzzForm: Value agrees with Parse and net/url.
func FuzzForm(f *testing.F) {
	f.Add([]byte("a=1&b=2"))
	f.Add([]byte("&&%61=+%2B&a"))
	f.Fuzz(func(t *testing.T, form []byte) {
		fields, err := Parse(form)
		got, valueErr := Value(form, "a")
		if err != nil {
			if valueErr == nil {
				t.Fatalf("Parse: %v, but %q is read", err, got)
			}
			return
		}
		var mine []string
		for _, field := range fields {
			if field.Name == "a" {
				mine = append(mine, field.Value)
			}
		}
		if (len(mine) == 1) != (valueErr == nil) || valueErr == nil && mine[0] != got {
			t.Errorf("Value: %q, %v; Parse has %q", got, valueErr, mine)
		}
		if theirs, err := url.ParseQuery(string(form)); err == nil && strings.Join(theirs["a"], "\n") != strings.Join(mine, "\n") {
			t.Errorf("%q, net/url has %q", mine, theirs["a"])
		}
	})
}
