package formdata

import (
	"net/url"
	"strings"
	"testing"
)

// twins are names that PHP, Rack, Express, Java, .NET or a browser's URLSearchParams
// treat as a_b.
var twins = []string{"a.b", "a b", " a_b", "\ta_b", "a_b\x00", "a_b\x00c", "\x00a_b", "a_b\t", "a_b ", "?a_b", "??a_b", "\ufeffa_b", "?a_b[x]", "a_b[]", "a[b", "a_b[x]", "[a_b]", "]a_b", "A_B", "a_B", "[A.b]"}

func TestAFieldStandsAlone(t *testing.T) {
	urlencoded, multipart := []string{"application/x-www-form-urlencoded"}, []string{"multipart/form-data; boundary=b"}
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	for _, tc := range []struct {
		kind []string
		body string
		want error
	}{
		{urlencoded, "a_b=1&c=2", nil},
		{urlencoded, "a_bc=2&a_b=1&b=3&a=4", nil},
		{nil, "a_b=1", nil},
		{[]string{"application/x-www-form-urlencoded; charset=UTF-8"}, "a_b=1", nil},
		{[]string{"application/x-www-form-urlencoded; charset=utf-16"}, "a_b=1", errNoForm},
		{[]string{"application/json"}, `{"a_b":"2","x":"&a_b=1&y="}`, errNoForm},
		{[]string{"multipart/form-data; boundary=b; boundary=c"}, "a_b=1", errNoForm},
		{append(urlencoded, multipart...), "a_b=1", errNoForm},
		{urlencoded, "a_b=1&c=2;a_b=3", errSemicolon},
		{urlencoded, "c=1", ErrNoValue},
		{multipart, part("a_b", "1") + part("c", "2;3") + "--b--", nil},
		{multipart, part("a_b", "1") + part("A_b", "2") + "--b--", errAlike},
		{multipart, part("a_b\t", "2") + part("a_b", "1") + "--b--", errAlike},
		{multipart, part("a%5Fb", "2") + part("a_b", "1") + "--b--", errAlike},
		{multipart, part("=?UTF-8?Q?a=5Fb?=", "2") + part("a_b", "1") + "--b--", errEncoded},
		{multipart, part("100%", "2") + part("a_b", "1") + "--b--", nil},
		{urlencoded, "?a_b=2&a_b=1", errAlike},
		{urlencoded, "\ufeffa_b=2&a_b=1", errMark},
		{urlencoded, "\xff\xfea\x00_\x00b\x00=\x002\x00&\x00x&a_b=1", errMark},
		{multipart, part("a_b[]", "2") + part("a_b", "1") + "--b--", errAlike},
	} {
		got, err := ValueAlone(tc.kind, []byte(tc.body), "a_b")
		if err != tc.want || err == nil && got != "1" {
			t.Errorf("%q of %s: %q, %v; want %v", tc.body, tc.kind, got, err, tc.want)
		}
	}
	for _, twin := range twins {
		for _, form := range []string{"a_b=1&" + url.QueryEscape(twin) + "=2", url.QueryEscape(twin) + "&a_b=1"} {
			if got, err := ValueAlone(urlencoded, []byte(form), "a_b"); err != errAlike {
				t.Errorf("%s: %q, %v", form, got, err)
			}
			fields, err := Parse([]byte(form))
			if err != nil || !Alike(fields) {
				t.Errorf("%s: no two fields of it are alike (%v)", form, err)
			}
		}
	}
}

func TestDifferentFieldsAreNotAlike(t *testing.T) {
	for _, form := range []string{"a=1&b=2", "a=1&a=2", "a[]=1&a[]=2", "a[x]=1&a[y]=2", "a_b=1&a=2&b=3", "Body=1&Body2=3", strings.Repeat("a&", MaxFields)} {
		fields, err := Parse([]byte(form))
		if err != nil || Alike(fields) {
			t.Errorf("%s: alike (%v)", form, err)
		}
	}
}

func TestCheckJSONType(t *testing.T) {
	for _, taken := range []string{"text/plain", "application/json", "application/json; charset=UTF-8;", `application/json; charset="utf8"`, "application/json; charset=iso-8859-1", "json", "text/json", "application/vnd.api+json"} {
		if err := CheckJSONType([]string{taken}); err != nil {
			t.Errorf("%q: %v", taken, err)
		}
	}
	if err := CheckJSONType(nil); err != nil {
		t.Errorf("none: %v", err)
	}
	for _, refused := range [][]string{
		{""}, {"a b"}, {"application/json; charset=utf-7"}, {"text/plain; Charset=UTF-16LE"}, {"a b; charset=utf-7"}, {"application/json; charset=utf-8; charset=utf-7"}, {"application/json", "application/json"}, {"text/plain; a=" + strings.Repeat("x", maxType)},
		{"application/x-www-form-urlencoded"}, {"application/x-www-form-urlencoded;x"}, {"application/x-www-form-urlencoded, application/json"}, {"application/x-www-form-urlencoded; a=1; A=2"}, {"multipart/form-data; boundary=b"}, {"multipart/related; boundary=b"}, {"application/x-www-form-urlencoded+json"}, {"multipart/form-data+json; boundary=b"}, {"application/json; charset=utf-8; charset*=utf-8''utf-8"}, {"application/json; charset*=utf-8''utf-8; charset=utf-7"}, {"application/xml"},
	} {
		if err := CheckJSONType(refused); err == nil {
			t.Errorf("%q is taken", refused)
		}
	}
}

// TestCheckText: a body whose bytes are signed is read as one text, whatever harmless
// type it has.
func TestCheckText(t *testing.T) {
	const form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--c\r\n--b--\r\n"
	for _, tc := range []struct {
		body string
		kind []string
		want error
	}{
		{`{}`, nil, nil},
		{`{}`, []string{""}, nil},
		{`{}`, []string{"application/json"}, nil},
		{`{}`, []string{"application/x-www-form-urlencoded;x"}, nil},
		{`{}`, []string{"json, x"}, nil},
		{`{}`, []string{"application/vnd.urbanairship+json; version=3;"}, nil},
		{`{}`, []string{"application/json; charset=UTF-8;"}, nil},
		{`{}`, []string{`application/json; Charset="utf8"`}, nil},
		{`{}`, []string{"text/xml; charset=us-ascii"}, nil},
		{`a=1`, []string{"application/x-www-form-urlencoded; charset=windows-1252"}, nil},
		{`a=1`, []string{"application/x-www-form-urlencoded; charset=ISO-8859-15"}, nil},
		{`{}`, []string{"application/json; charset=koi8-r"}, nil},
		{`{}`, []string{"application/json; charset=ISO8859_1"}, nil},
		{`{}`, []string{"application/json; charset=ANSI_X3.4-1968"}, nil},
		{`{}`, []string{"application/json; charset='utf-8'"}, nil},
		{`{}`, []string{"application/json; charset="}, nil},
		{`{}`, []string{"application/json; charset = utf-8"}, nil},
		{`{}`, []string{"application/json; charset: utf-8"}, nil},
		{`{}`, []string{"application/json; charset=utf-8; charset=utf-8"}, nil},
		{`{}`, []string{`application/json; charset=utf-8; profile="https://a/b;c"`}, nil},
		{`{}`, []string{"text/xml;charset=utf-8;action=http://x/y"}, nil},
		{`{}`, []string{"application/json; charset=utf-8; v=1,2"}, nil},
		{`{"a":"b"}`, []string{"application/json; charset=euc-kr"}, nil},
		{`{"a":"` + "\xb0\xa1" + `"}`, []string{"application/json; charset=euc-kr"}, errCharset},
		{`{}`, []string{"application/json; charset=utf-7, text/plain"}, errCharset},
		{`{}`, []string{"application/json; charset*=utf-8"}, errCharset},
		{`{}`, []string{"application/json; charset=utf-8 utf-7"}, errCharset},
		{`{}`, []string{"application/json", "application/json"}, errLines},
		{`{}`, []string{"application/json; charset=utf-7"}, errCharset},
		{`{}`, []string{"application/json; charset=Shift_JIS"}, errCharset},
		{"\"\x81\\\"", []string{"application/json; charset=gbk"}, errCharset},
		{"\"\x81\\\"", []string{"application/json; charset=big5"}, errCharset},
		{`{}`, []string{"application/json; charset=iso-2022-jp"}, errCharset},
		{`<?xml version="1.0" encoding="Shift_JIS"?><feed>` + "\x83\\</feed>", []string{"application/atom+xml; charset=Shift_JIS"}, nil},
		{`<?xml version="1.0" encoding="shift_jis"?><feed>` + "\x83\\</feed>", []string{`text/xml;charset="SHIFT_JIS"`}, nil},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"application/rss+xml; charset=gbk"}, nil},
		{`<?xml version="1.0" encoding="Big5"?><feed>` + "\x83\\</feed>", []string{"application/xml; charset=big5;"}, nil},
		{`<?xml version="1.0" encoding="EUC-JP"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=euc-jp"}, nil},
		{`<?xml version="1.0" encoding="GB18030"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=GB18030"}, nil},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/xml"}, nil},
		{`<?xml version="1.0" encoding="UTF-8"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=Shift_JIS"}, errCharset},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=big5"}, errCharset},
		{`<?xml version="1.0" encoding="UTF-7"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=utf-7"}, errCharset},
		{`<?xml version="1.0" encoding="ISO-2022-JP"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=iso-2022-jp"}, errCharset},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"application/json; charset=gbk"}, errCharset},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/html; charset=gbk"}, errCharset},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=gbk; charset=big5"}, errCharset},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{`text/xml; x="charset=big5"; charset=gbk`}, errCharset},
		{`<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset*=gbk"}, errCharset},
		{" " + `<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=gbk"}, errCharset},
		{"\ufeff" + `<?xml version="1.0" encoding="GBK"?><feed>` + "\x83\\</feed>", []string{"text/xml; charset=gbk"}, errCharset},
		{`<!-- <?xml version="1.0" encoding="GBK"?> -->` + "\x83\\", []string{"text/xml; charset=gbk"}, errCharset},
		{`<?xml version="1.0"?><a encoding="GBK">` + "\x83\\", []string{"text/xml; charset=gbk"}, errCharset},
		{`<?xml version="1.0" standalone="yes" encoding="GBK"?>` + "\x83\\", []string{"text/xml; charset=gbk"}, errCharset},
		{`{"a":"ü"}`, []string{"application/json"}, nil},
		{`{"a":"ü"}`, []string{"application/json; charset=UTF-8"}, nil},
		{`{"a":"ü"}`, []string{`application/json; charset="utf8"; x=y`}, nil},
		{`{"a":"ü"}`, []string{"application/json; charset="}, nil},
		{`{"a":"ü"}`, []string{"application/json; charset=iso-8859-1"}, errLatin},
		{`{"a":"ü"}`, []string{"application/json; Charset=ISO-8859-1; charset=utf-8"}, errLatin},
		{" \r\n" + `["ü"]`, []string{"text/plain; charset=windows-1252"}, errLatin},
		{`{"a":"ü"}`, []string{"application/json; charset=koi8-r"}, errLatin},
		{`{"a":"ü"}`, []string{"application/json; charset=us-ascii"}, errLatin},
		{`{"a":"\u00fc"}`, []string{"application/json; charset=iso-8859-1"}, nil},
		{`{"a":"` + "\xfc" + `"}`, []string{"application/json; charset=iso-8859-1"}, nil},
		{`ü`, []string{"text/plain; charset=iso-8859-1"}, nil},
		{`a=ü`, []string{"application/x-www-form-urlencoded; charset=iso-8859-1"}, nil},
		{`<?xml version="1.0"?><a>ü</a>`, []string{"text/xml; charset=us-ascii"}, nil},
		{``, []string{"application/json; charset=iso-8859-1"}, nil},
		{`{}`, []string{"application/json; charset=iso-8859-1e"}, errCharset},
		{`{}`, []string{"application/json; charset=hz-gb-2312"}, errCharset},
		{`{}`, []string{"application/json; charset=utf-16"}, errCharset},
		{`{}`, []string{"application/json; charset=unicode_escape"}, errCharset},
		{`{}`, []string{"application/json; charset=rot13"}, errCharset},
		{`{}`, []string{"application/json; charset=ibm037"}, errCharset},
		{`{}`, []string{`application/json; charset="utf\-7"`}, errCharset},
		{`{}`, []string{`application/json; x="a;charset=utf-7;"`}, errCharset},
		{`{}`, []string{"application/json; charset=utf-8; Charset=utf-7"}, errCharset},
		{`{}`, []string{"application/json; charset=utf-7; charset*=utf-8''utf-8"}, errCharset},
		{`{}`, []string{"application/json; charset*0=utf; charset*1=-7"}, errCharset},
		{`{}`, []string{"application/json, text/plain; charset=utf-7"}, errCharset},
		{`{}`, []string{"application/json charset=utf-7"}, errCharset},
		{`{}`, []string{"application/json; x=" + strings.Repeat("x", maxType)}, errLength},
		{form, []string{"multipart/form-data; boundary=b"}, nil},
		{form, []string{`Multipart/Form-Data; charset=utf-8; boundary="b"`}, nil},
		{"--b \r\n", []string{"multipart/mixed; boundary=b"}, nil},
		{"\r\n" + form, []string{"multipart/form-data; boundary=b"}, nil},
		{"--uuid:1-2\r\n", []string{`multipart/related; boundary="uuid:1-2"; type="application/xop+xml"; start-info="text/xml; charset=utf-8"`}, nil},
		{"------WebKitFormBoundaryx\r\n", []string{"multipart/form-data; boundary=----WebKitFormBoundaryx"}, nil},
		{"----=_Part_1_2.3\r\n", []string{`multipart/mixed; boundary="--=_Part_1_2.3"`}, nil},
		{"--b=c\r\n", []string{"multipart/form-data; boundary=b=c"}, errBoundary},
		{"--b\r\n", []string{`multipart/form-data; x="; boundary=b"`}, errBoundary},
		{"--b\r\n", []string{`multipart/form-data; xboundary=b`}, errBoundary},
		{"--b\r\n", []string{`multipart/form-data; boundary =c`}, errBoundary},
		{form, []string{"multipart/form-data; boundary=c"}, errBoundary},
		{form, []string{"multipart/form-data"}, nil},
		{form, []string{"multipart/form-data; boundary=b; boundary=c"}, errBoundary},
		{form, []string{"multipart/form-data; boundary=c; boundary*=utf-8''b"}, errBoundary},
		{form, []string{"multipart/form-data; boundary=b, multipart/form-data; boundary=c"}, errBoundary},
		{form, []string{"text/plain, multipart/form-data; boundary=c"}, errBoundary},
		{"--bc\r\n", []string{"multipart/form-data; boundary=b"}, errBoundary},
		{"{\"a\":\"\r\n--b\r\n\"}", []string{"multipart/form-data; boundary=b"}, errBoundary},
	} {
		if err := CheckText(tc.kind, []byte(tc.body)); err != tc.want {
			t.Errorf("%q under %.80q: %v, want %v", tc.body, tc.kind, err, tc.want)
		}
	}
}

// TestTypesThatReadersDisagreeOn: each of these has another charset or boundary to some
// reader (mime/multipart, busboy, content-type, Werkzeug, Rack, PHP) than to others.
func TestTypesThatReadersDisagreeOn(t *testing.T) {
	for _, params := range []string{
		"X*=utf-8''B; X=C", "X=C; X*=utf-8''B", "X*0=B; X=C", "X*0*=utf-8''B; X=C", "X=B; X*0=C", "X=B; X=C", "X=B; X=B", "X=B; X =C", "X =B", "X= B",
		`X="B\"; X=C; y="`, `y="; X=C"; X=B`, `y="a, b; X=C"; X=B`, `y=";X=C"; X=B`, "yX=C; X=B", "X=B; yX=C", `y="X=C"; X=B`, `X=B; y="X=C"`, `X="B;C"`, `X="B,C"`, "X=B,C", "X=B; y", "y; X=B", "X=B\x00", "X=B;;X=C", "X=B, multipart/form-data; X=C",
	} {
		for _, kind := range []string{"multipart/form-data; ", "application/json; ", "application/json; y=1; "} {
			for _, name := range []string{"boundary", "charset", "Charset"} {
				contentType := kind + strings.ReplaceAll(params, "X", name)
				if got, _ := parseType(contentType); got != "" {
					t.Errorf("%q is read as %s", contentType, got)
				}
			}
		}
	}
	for contentType, boundary := range map[string]string{
		"multipart/form-data; boundary=b": "b", "multipart/form-data;boundary=b;": "b", `Multipart/Form-Data; Boundary="b c"; charset=utf-8`: "b c",
		"multipart/form-data; boundary=----WebKitFormBoundaryxY": "----WebKitFormBoundaryxY", `multipart/form-data; boundary="===============1234=="`: "===============1234==", `multipart/form-data; boundary="----=_NextPart_1"`: "----=_NextPart_1",
	} {
		if kind, params := parseType(contentType); kind != multipartForm || params["boundary"] != boundary {
			t.Errorf("%q: %q, boundary %q", contentType, kind, params["boundary"])
		}
	}
	if kind, _ := parseType(`application/ld+json; profile="https://example.com/a?b=c"`); kind != "application/ld+json" {
		t.Errorf("a profile: %q", kind)
	}
}

// TestIs: what a lenient reader takes for a form counts as one.
func TestIs(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/x-www-form-urlencoded": true, "Multipart/Form-Data; boundary=b": true, "application/x-www-form-urlencoded;x": true, "application/x-www-form-urlencoded, application/json": true, "multipart/form-data; boundary=b; boundary=c": true, "application/x-www-form-urlencoded+json": true, "multipart/form-data+json": true, strings.Repeat("\xff", maxType+1): true,
		"": false, "application/json": false, "application/json; a=1; A=2": false, "text/plain": false,
	} {
		if Is(contentType) != want {
			t.Errorf("%q: %t, want %t", contentType, !want, want)
		}
	}
}
