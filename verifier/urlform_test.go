package verifier

import (
	"strings"
	"testing"
)

func signedOver(content string, target, host string) *Request {
	req := post("X-Signature", macOf(testKey, content))
	req.Target, req.Host, req.TLS = target, host, true
	return req
}

// TestURLForms: each form follows the sender's library or page, and a scheme without
// it accepts only the URL as received.
func TestURLForms(t *testing.T) {
	with := func(public string, forms ...string) *Verifier {
		return mustVerifier(t, bare(func(s *Scheme) {
			s.Message, s.URLForms, s.PublicURL = StringList{"{url}{body}"}, forms, public
		}), Key{Text: testKey})
	}
	const host = "h.example"
	for _, tc := range []struct {
		what, public string
		forms        []string
		target       string
		signed       string
		want         string
	}{
		{"a port added", "", []string{"port"}, "/p", "https://h.example:443/p", genuine},
		{"another port", "", []string{"port"}, "/p", "https://h.example:444/p", "signature_mismatch"},
		{"a port taken off", "https://h.example:8443", []string{"port"}, "/p", "https://h.example/p", genuine},
		{"a port of http", "http://h.example", []string{"port"}, "/p", "http://h.example:80/p", genuine},
		{"a port of IPv6", "https://[::1]", []string{"port"}, "/p", "https://[::1]:443/p", genuine},
		{"a port of IPv6 taken off", "https://[::1]:8443", []string{"port"}, "/p", "https://[::1]/p", genuine},
		{"a port behind credentials", "https://u:p@h.example", []string{"port"}, "/p", "https://u:p@h.example:443/p", genuine},
		{"no port asked for", "", []string{"reencoded"}, "/p", "https://h.example:443/p", "signature_mismatch"},

		{"no slash", "", []string{"no_slash"}, "/", "https://h.example", genuine},
		{"no slash, and a port", "", []string{"no_slash", "port"}, "/", "https://h.example:443", genuine},
		{"no slash behind a path", "", []string{"no_slash"}, "/p/", "https://h.example/p", "signature_mismatch"},
		{"no slash before a query", "", []string{"no_slash"}, "/?a=1", "https://h.example?a=1", "signature_mismatch"},

		{"unescaped", "", []string{"unescaped"}, "/p?m=a%40b.c&u=x%3A%2F%2Fy%3f", "https://h.example/p?m=a@b.c&u=x://y?", genuine},
		{"unescaped, and what divides fields", "", []string{"unescaped"}, "/p?m=a%26b%3Dc%23", "https://h.example/p?m=a&b=c#", "signature_mismatch"},
		{"unescaped in the path", "", []string{"unescaped"}, "/p%3Fa=1", "https://h.example/p?a=1", "signature_mismatch"},
		{"half an escape", "", []string{"unescaped"}, "/p?m=a%40b%4", "https://h.example/p?m=a@b%4", genuine},

		{"reencoded", "", []string{"reencoded"}, "/p?s=Cantu%27&t=a+b&u", "https://h.example/p?s=Cantu'&t=a%20b&u=", genuine},
		{"reencoded, other fields", "", []string{"reencoded"}, "/p?s=Cantu%27&t=1", "https://h.example/p?s=Cantu'%26t=1", "signature_mismatch"},
		{"reencoded, no escape", "", []string{"reencoded"}, "/p?s=%zz", "https://h.example/p?s=%25zz", "signature_mismatch"},
		{"as received", "", []string{"reencoded", "port", "unescaped", "no_slash"}, "/p?s=Cantu%27", "https://h.example/p?s=Cantu%27", genuine},
	} {
		v := with(tc.public, tc.forms...)
		expect(t, v, signedOver(tc.signed+testBody, tc.target, host), testBody, tc.want)
		if got := judge(v, signedOver(tc.signed+testBody+" ", tc.target, host), testNow, testBody); got == genuine {
			t.Errorf("%s: an altered body passes", tc.what)
		}
	}
}

// TestURLWithoutSlashEnds: after an origin nothing may follow that could continue the
// URL, or a body could absorb a signed path.
func TestURLWithoutSlashEnds(t *testing.T) {
	for _, tc := range []struct {
		public, body, want string
	}{
		{"https://h.example", "{}", genuine},
		{"https://h.example", "A=1", "malformed_signature"}, // see TestNothingMovesBetweenURLAndBody
		{"https://h.example", "/p{}", "signature_mismatch"},
		{"https://h.example", ":443/p", "signature_mismatch"},
		{"https://h.example", "?a=1", "signature_mismatch"},
		{"https://h.example", "#a", "signature_mismatch"},
		{"https://h.example", "@evil.example", "signature_mismatch"},
		{"", "{}", genuine},
		{"", "", genuine},
		{"", "A=1", "signature_mismatch"}, // could be the end of the host
		{"", ".evil.example/{}", "signature_mismatch"},
	} {
		v := mustVerifier(t, bare(func(s *Scheme) {
			s.Message, s.URLForms, s.PublicURL = StringList{"{url}{body}"}, StringList{"no_slash"}, tc.public
		}), Key{Text: testKey})
		expect(t, v, signedOver("https://h.example"+tc.body, "/", "h.example"), tc.body, tc.want)
	}
	nonce := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.BodyUnsigned, s.URLForms = StringList{"{url_no_query}{header:X-Nonce}"}, true, StringList{"no_slash"}
		s.PublicURL = "https://h.example"
	}), Key{Text: testKey})
	for text, want := range map[string]string{"12345": genuine, "/p12345": "signature_mismatch"} {
		req := signedOver("https://h.example"+text, "/", "h.example")
		req.Header["X-Nonce"] = []string{text}
		expect(t, nonce, req, testBody, want)
	}
}

// TestURLFormsAreFew: a request cannot make the gateway try many.
func TestURLFormsAreFew(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.URLForms = StringList{"{url}{body}"}, StringList{"port", "no_slash", "unescaped", "reencoded"}
	}), Key{Text: testKey})
	for _, target := range []string{"/", "/?a=%40", "/?" + strings.Repeat("a=%40+&", 100), "/p"} {
		c := Check{v: v, req: signedOver("", target, "h.example")}
		if n := len(c.urlForms()); n == 0 || n > 5 {
			t.Errorf("%.20s: %d other URLs", target, n)
		}
	}
}

// TestCredentialsOfPublicURL: they are signed, but never shown.
func TestCredentialsOfPublicURL(t *testing.T) {
	s := bare(func(s *Scheme) { s.Message, s.PublicURL = StringList{"{url}{body}"}, "https://user:p%40ss@h.example/" })
	v := mustVerifier(t, s, Key{Text: testKey})
	expect(t, v, signedOver("https://user:p%40ss@h.example/p"+testBody, "/p", "h.example"), testBody, genuine)
	expect(t, v, signedOver("https://h.example/p"+testBody, "/p", "h.example"), testBody, SignatureMismatch)
	wrong := signedOver("http://h.example/p"+testBody, "/p", "h.example")
	e, err := Explain(t.Context(), Case{Scheme: s, Keys: []Key{{Text: testKey}}, Request: wrong, Body: []byte(testBody), Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	if e.Hint == "" || strings.Contains(e.Hint, "ss@") {
		t.Errorf("hint %q", e.Hint)
	}
}

func TestURLFormErrors(t *testing.T) {
	for want, edit := range map[string]func(*Scheme){
		"known are port":      func(s *Scheme) { s.Message, s.URLForms = StringList{"{url}{body}"}, StringList{"decoded"} },
		"no message holds":    func(s *Scheme) { s.URLForms = StringList{"port"} },
		"write the origin":    func(s *Scheme) { s.PublicURL = "https://user:secret@h.example/path" },
		"that the sender cal": func(s *Scheme) { s.PublicURL = "https://user:sec ret@h.example" },
	} {
		err := validate(bare(edit))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ret@") {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}
