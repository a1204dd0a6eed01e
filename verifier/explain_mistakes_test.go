package verifier

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"
)

type everyday struct {
	mistake string
	scheme  Scheme
	secret  string
	req     *Request
	body    string
	others  []Other
	now     time.Time
	hint    string // words that only the true cause has; "." if the cause cannot be known
}

func toPath(req *Request, target string) *Request { req.Target = target; return req }
func overTLS(req *Request) *Request               { req.TLS = true; return req }

func zipped(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(body))
	w.Close()
	return b.String()
}

const phpBody = `{"id":"evt_7","url":"https:\/\/shop.invalid\/\u00e4?a=1&b=<2>","list":[1,2.50,{}],"name":"Zo\u00eb \"Z\" \ud83d\udc1b"}`

func bodyMistakes() []everyday {
	spaced := `{"id": "evt_7", "url": "https://shop.invalid/ä?a=1&b=<2>", "list": [1, 2.50, {}], "name": "Zoë \"Z\" 🐛"}`
	indented := "{\n  \"id\": \"evt_7\",\n  \"url\": \"https://shop.invalid/ä?a=1&b=<2>\",\n  \"list\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"name\": \"Zoë \\\"Z\\\" 🐛\"\n}"
	sorted := `{"id":"evt_7","list":[1,2.50,{}],"name":"Zoë \"Z\" 🐛","url":"https://shop.invalid/ä?a=1&b=<2>"}`
	html := strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(explainBody)
	form, latin := "a=x+y&b=%C3%A4%28*%29&c=~", "{\"n\":\"Zo\xeb\"}"
	g := func(mistake, signed, arrived, hint string) everyday {
		return everyday{mistake: mistake, scheme: explainGitHub, secret: explainSecret, req: github(signed), body: arrived, hint: hint}
	}
	return []everyday{
		g("an editor adds a line break to the body", explainBody, explainBody+"\n", "without the line break at its end"),
		g("a Windows editor does", explainBody, explainBody+"\r\n", "without the line break at its end"),
		g("a parser trims the body", explainBody+"\n", explainBody, "a line break at the body's end, but it is gone"),
		g("git converts line ends", "{\n\"n\": 0\n}", "{\r\n\"n\": 0\r\n}", "end in LF, but they arrived with CR LF"),
		g("a paste converts line ends", "{\r\n\"n\": [0, 1 ]\r\n}", "{\n\"n\": [0, 1 ]\n}", "end in CR LF, but they arrived with LF"),
		g("PowerShell adds a byte order mark", explainBody, "\ufeff"+explainBody, "without the byte order mark"),
		g("a byte order mark is lost", "\ufeff"+explainBody, explainBody, "a byte order mark at the body's start, but it is gone"),
		g("express.json re-serialises", spaced, explainBody, "with a space after each comma and colon, but it arrived written differently"),
		g("json.dumps re-serialises", explainBody, spaced, "the JSON compact,"),
		g("jq re-serialises", explainBody, indented+"\n", "the JSON compact,"),
		g("a middleware minifies", indented, explainBody, "indented by 2"),
		g("PHP sender, parsed body", phpBody, explainBody, `slashes as \/ and non-ASCII characters as \uXXXX`),
		g("PHP receiver", explainBody, phpBody, "without needless escapes"),
		g("Python sender, parsed body", strings.NewReplacer("ä", `\u00e4`, "ë", `\u00eb`, "🐛", `\ud83d\udc1b`).Replace(spaced), explainBody, "after each comma and colon, with non-ASCII characters as"),
		g("Go sender, parsed body", html, explainBody, `with <, > and & as \u003c`),
		g("keys sorted at the sender", sorted, explainBody, "with its keys sorted"),
		g("PostgreSQL, or Go's maps, re-serialise", `{"d":1,"a":2,"c":3,"b":4}`, `{"a":2,"b":4,"c":3,"d":1}`, "the JSON has its keys in alphabetical order"),
		g("a few keys in alphabetical order by chance", `{"c":1,"a":2,"b":3}`, `{"a":2,"b":3,"c":1}`, "."),
		g("proxy unpacks nothing, sender signs before gzip", explainBody, zipped(explainBody), "signed the body uncompressed"),
		g("API gateway hands on base64", explainBody, b64of([]byte(explainBody)), "arrived in base64"),
		g("API gateway wraps the body", explainBody, fmt.Sprintf(`{"isBase64Encoded":false,"body":%q}`, explainBody), "wrapped in the member body"),
		g("body serialised twice", `{"n":"a"}`, `"{\"n\":\"a\"}"`, "as a JSON string"),
		g("form in place of JSON", `{"n":0}`, "payload=%7B%22n%22%3A0%7D", "the JSON in its field payload"),
		g("re-serialized form", form, "a=x%20y&b=%C3%A4(*)&c=~", "parsed and re-serialized it"),
		g("latin-1 becomes UTF-8", latin, `{"n":"Zoë"}`, "signed the body in Latin-1"),
		g("UTF-8 becomes latin-1", `{"n":"Zoë"}`, latin, "signed the body in UTF-8, but it arrived in Latin-1"),
		{mistake: "a proxy unpacks, and says gzip", scheme: explainPacked, secret: explainSecret, body: explainBody, hint: "unpacked the body and left the header Content-Encoding",
			req: post("Content-Encoding", "gzip", "X-Hub-Signature-256", "sha256="+hex256(explainSecret, explainBody)), others: []Other{{Name: "a", Scheme: explainGitHub}, {Name: "b", Scheme: explainGitHub}, {Name: "c", Scheme: explainGitHub}, {Name: "d", Scheme: explainGitHub}}},
		g("sender reads its body twice", "", explainBody, "signed an empty body"),
	}
}

func secretMistakes() []everyday {
	rawKey := "0123456789abcdefghijklmn"
	inBase64, inHex := b64of([]byte(rawKey)), hex.EncodeToString([]byte(rawKey))
	standard := func(key string) *Request {
		return post("webhook-id", "msg_1", "webhook-timestamp", explainNow, "webhook-signature", "v1,"+b64of(made(sha256.New, key, "msg_1."+explainNow+"."+explainBody)))
	}
	stripe := func(key string) *Request {
		return post("Stripe-Signature", "t="+explainNow+",v1="+hex256(key, explainNow+"."+explainBody))
	}
	other := Other{Name: "billing", Scheme: explainGitHub, Keys: []Key{{Text: "another"}}}
	otherScheme := Other{Name: "payments", Scheme: explainStripe, Keys: []Key{{Text: "another"}}}
	return []everyday{
		{mistake: "line break in the secret", scheme: explainGitHub, secret: explainSecret + "\n", req: github(explainBody), body: explainBody, hint: "white space or a line break around"},
		{mistake: "a line break written as two characters at the secret's end", scheme: explainGitHub, secret: explainSecret + `\n`, req: github(explainBody), body: explainBody, hint: `ends with a line break written as \n`},
		{mistake: "quotes round the secret", scheme: explainGitHub, secret: `"` + explainSecret + `"`, req: github(explainBody), body: explainBody, hint: "quotes around it"},
		{mistake: "a whole env line as the secret", scheme: explainGitHub, secret: "SECRET=" + explainSecret, req: github(explainBody), body: explainBody, hint: "a word precedes the secret"},
		{mistake: "secret is base64 of the key", scheme: explainAryeo, secret: inBase64, req: post("Signature", hex256(rawKey, explainBody)), body: explainBody, hint: "secret_encoding base64"},
		{mistake: "secret is hex of the key", scheme: explainAryeo, secret: inHex, req: post("Signature", hex256(rawKey, explainBody)), body: explainBody, hint: "secret_encoding hex"},
		{mistake: "secret is not to be decoded", scheme: explainStandard, secret: "whsec_" + inBase64, req: standard(inBase64), body: explainBody, hint: "secret_encoding utf8"},
		{mistake: "whsec_ is a part of the key", scheme: explainStripe, secret: inBase64, req: stripe("whsec_" + inBase64), body: explainBody, hint: "the prefix whsec_ is part of this sender's secret"},
		{mistake: "whsec_ is no part of the key", scheme: explainStripe, secret: "whsec_" + inBase64, req: stripe(inBase64), body: explainBody, hint: "the prefix whsec_, which is not part of the key"},
		{mistake: "v1,whsec_ as Supabase shows it", scheme: explainStripe, secret: "v1,whsec_" + inBase64, req: stripe(rawKey), body: explainBody, hint: "begins with the prefix v1,"},
		{mistake: "the key of another handler", scheme: explainGitHub, secret: explainSecret, req: post("X-Hub-Signature-256", "sha256="+hex256("another", explainBody)), body: explainBody, others: []Other{other}, hint: "signed with a key of handler billing"},
		{mistake: "the key of a handler with another scheme", scheme: explainGitHub, secret: explainSecret, req: post("X-Hub-Signature-256", "sha256="+hex256("another", explainBody)), body: explainBody, others: []Other{otherScheme}, hint: "signed with a key of handler payments"},
		{mistake: "the URL of another handler", scheme: explainGitHub, secret: explainSecret, req: stripe("another"), body: explainBody, others: []Other{otherScheme}, hint: "genuine for handler payments"},
		{mistake: "the wrong provider of a header's name", scheme: explainTwin, secret: "whsec_" + inBase64, req: standard(rawKey), body: explainBody,
			others: []Other{{Name: "github", Scheme: explainGitHub}, {Name: "standard_webhooks", Scheme: explainStandard}}, hint: "signed as standard_webhooks signs"},
		{mistake: "the headers of another provider", scheme: explainAryeo, secret: explainSecret, req: stripe("unknown"), body: explainBody,
			others: []Other{{Name: "github", Scheme: explainGitHub}, {Name: "stripe", Scheme: explainStripe}}, hint: "the headers of stripe"},
		{mistake: "HTML entities in the secret", scheme: explainGitHub, secret: "a&lt;b&amp;c of a sender", req: post("X-Hub-Signature-256", "sha256="+hex256("a<b&c of a sender", explainBody)), body: explainBody, hint: "the secret holds HTML entities"},
		{mistake: "an API key as the secret", scheme: explainStripe, secret: "sk_test_0123456789", req: stripe(explainSecret), body: explainBody, hint: "secret 1 begins like an API key (sk_test_…)"},
		{mistake: "a wrong param", scheme: explainParam, secret: explainSecret, req: post("X-Signature", hex256(explainSecret, "hook-2|"+explainBody)), body: explainBody, hint: "the sender also signs the value of param webhook_id"},
		{mistake: "a param that is still its name", scheme: explainPlaceholder, secret: explainSecret, req: post("X-Signature", hex256(explainSecret, "hook-2|"+explainBody)), body: explainBody, hint: "the sender also signs the value of param webhook_id"},
		{mistake: "GitHub's at Stripe's address, with a handler for both", scheme: explainStripe, secret: explainSecret, req: post("X-Hub-Signature-256", "sha256="+strings.Repeat("ab", 32)), body: explainBody,
			others: []Other{{Name: "git", Scheme: explainGitHub, Keys: []Key{{Text: "another"}}}, {Name: "github", Scheme: explainGitHub}}, hint: "what handler git reads: correct the URL"},
		{mistake: "the key of another environment", scheme: explainGitHub, secret: "the test mode's", req: github(explainBody), body: explainBody, hint: "."},
		{mistake: "token without Bearer", scheme: explainToken, secret: explainSecret, req: post("Authorization", explainSecret), body: explainBody, hint: `lacks the prefix "Bearer "`},
		{mistake: "the header as the secret", scheme: explainToken, secret: "Bearer " + explainSecret, req: post("Authorization", "Bearer "+explainSecret), body: explainBody, hint: `begins with the prefix "Bearer " of the header`},
		{mistake: "base64 of Basic as the secret", scheme: explainBasic, secret: b64of([]byte("u:" + explainSecret)), req: post("Authorization", "Basic "+b64of([]byte("u:"+explainSecret))), body: explainBody, hint: "write it decoded, user:password"},
		{mistake: "the header of Basic as the secret", scheme: explainBasic, secret: "Basic " + b64of([]byte("u:"+explainSecret)), req: post("Authorization", "Basic "+b64of([]byte("u:"+explainSecret))), body: explainBody, hint: "write it decoded, user:password"},
		{mistake: "token under another header", scheme: explainToken, secret: explainSecret, req: post("X-Api-Token", explainSecret), body: explainBody, hint: "is in header X-Api-Token"},
	}
}

func signatureMistakes() []everyday {
	sum, sum1, sum512 := made(sha256.New, explainSecret, explainBody), made(sha1.New, explainSecret, explainBody), made(sha512.New, explainSecret, explainBody)
	inHex := hex.EncodeToString(sum)
	a := func(mistake string, req *Request, hint string) everyday {
		return everyday{mistake: mistake, scheme: explainAryeo, secret: explainSecret, req: req, body: explainBody, hint: hint}
	}
	timed := hex256(explainSecret, explainNow+"."+explainBody)
	inBody := hex256(explainSecret, "1760000000tok_1")
	return []everyday{
		{mistake: "a form in place of JSON, signed alike", scheme: explainInBody, secret: explainSecret, req: post(), body: "time=1760000000&token=tok_1&value=" + inBody, hint: "the body is a form, but the scheme reads sig.value"},
		{mistake: "another member holds the signature", scheme: explainInBody, secret: explainSecret, req: post(),
			body: `{"sig":{"time":"1760000000","token":"tok_1","value":"` + strings.Repeat("ab", 32) + `","parent":"` + inBody + `"}}`, hint: "the right signature is in member parent beside it"},
		a("base64 for hex", post("Signature", b64of(sum)), "written in base64, but the scheme reads hex"),
		{mistake: "hex for base64", scheme: bare(func(s *Scheme) { s.Signature.Encoding = "base64" }), secret: explainSecret, req: post("X-Signature", inHex), body: explainBody, hint: "written in hex, but the scheme reads base64"},
		a("base64 of the hex", post("Signature", b64of([]byte(inHex))), "base64 of hex"),
		a("a prefix too many", post("Signature", "sha256="+inHex), `follows "sha256=": write: prefix "sha256="`),
		{mistake: "the prefix is missing", scheme: explainGitHub, secret: explainSecret, req: post("X-Hub-Signature-256", inHex), body: explainBody, hint: `lacks the prefix "sha256="`},
		a("another header", post("X-Acme-Signature", inHex), "write: signature header X-Acme-Signature"),
		a("another header, in the URL's base64", post("X-Acme-Signature", base64.URLEncoding.EncodeToString(sum)), "write: signature header X-Acme-Signature base64url"),
		a("another header, with base64 behind a prefix", post("X-Acme-Signature", "sha256="+b64of(sum)), `write: signature header X-Acme-Signature base64 prefix "sha256="`),
		{mistake: "another header, in the URL's base64 for base64", scheme: bare(func(s *Scheme) { s.Signature.Encoding = "base64" }), secret: explainSecret,
			req: post("X-Acme-Signature", base64.URLEncoding.EncodeToString(sum)), body: explainBody, hint: "write: signature header X-Acme-Signature base64url"},
		{mistake: "bits behind the last byte of base64", scheme: bare(func(s *Scheme) { s.Signature.Encoding = "base64" }), secret: explainSecret,
			req: post("X-Signature", b64of(sum)[:42]+string(b64of(sum)[42]+1)+"="), body: explainBody, hint: "right but for its last character of base64"},
		a("X- before the header's name", post("X-Signature", inHex), "arrives as header X-Signature"),
		{mistake: "an underscore in the name", scheme: bare(nil), secret: explainSecret, req: post("X_Signature", inHex), body: explainBody, hint: "arrives as header X_signature"},
		{mistake: "the other configured header", scheme: Scheme{Signature: &Signature{Header: StringList{"Sig-A", "Sig-B"}, Match: "first_present"}}, secret: explainSecret,
			req: post("Sig-A", strings.Repeat("ab", 32), "Sig-B", inHex), body: explainBody, hint: "Sig-A comes first and decides"},
		a("SHA-1", post("Signature", hex.EncodeToString(sum1)), "algorithm hmac-sha1"),
		a("SHA-512", post("Signature", hex.EncodeToString(sum512)), "algorithm hmac-sha512"),
		a("a column cuts the signature", post("Signature", inHex[:40]), "cut off after 20 bytes"),
		a("too little is left of the signature", post("Signature", inHex[:8]), "."),
		a("a proxy doubles the header", post("Signature", inHex, "Signature", inHex), "appears on 2 lines"),
		a("a timestamp is signed too", post("Signature", timed, "X-Timestamp", explainNow), `write: message "{timestamp}.{body}" and timestamp header X-Timestamp`),
		a("Stripe's form", post("Signature", "t="+explainNow+",v1="+timed), "signature header Signature kv v1"),
		a("hash with the secret in front", post("Signature", hex.EncodeToString(func() []byte { d := sha256.Sum256([]byte(explainSecret + explainBody)); return d[:] }())), "instead of HMAC"),
		{mistake: "the body alone is signed", scheme: explainStripe, secret: explainSecret, req: post("Stripe-Signature", "t="+explainNow+",v1="+inHex), body: explainBody, hint: `let it sign the timestamp too; if it cannot, write: message "{body}" and timestamp off: then the age of deliveries is not checked`},
		{mistake: "the URL alone is signed", scheme: explainGitHub, secret: explainSecret, req: github("http://hooks.example.com/hooks/acme"), body: explainBody, hint: "a handler with that message does not start"},
		{mistake: "Stripe's header renamed", scheme: explainStripe, secret: explainSecret, req: post("X-Acme-Signature", "t="+explainNow+",v1="+timed), body: explainBody, hint: "write: signature header X-Acme-Signature kv v1"},
		{mistake: "GitHub's header renamed", scheme: explainGitHub, secret: explainSecret, req: post("X-Acme-Signature", "sha256="+inHex), body: explainBody, hint: `write: signature header X-Acme-Signature prefix "sha256="`},
		{mistake: "another key beside the signature", scheme: explainStripe, secret: explainSecret, req: post("Stripe-Signature", "t="+explainNow+",v0="+timed), body: explainBody, hint: `not under key v1 but after "v0="`},
		a("no secret at the sender", post("X-GitHub-Event", "push"), "this delivery is not signed"),
		{mistake: "SHA-1 header of GitHub alone", scheme: explainGitHub, secret: explainSecret, req: post("X-Hub-Signature", "sha1="+hex.EncodeToString(sum1)), body: explainBody, hint: "X-Hub-Signature, but the scheme reads header X-Hub-Signature-256"},
	}
}

func urlMistakes() []everyday {
	square := func(url string, headers ...string) *Request {
		return post(append(headers, "x-square-hmacsha256-signature", b64of(made(sha256.New, explainSecret, url+explainBody)))...)
	}
	sq := func(mistake string, req *Request, hint string) everyday {
		return everyday{mistake: mistake, scheme: explainSquare, secret: explainSecret, req: req, body: explainBody, hint: hint}
	}
	withPort := square("https://hooks.example.com/hooks/acme")
	withPort.Host, withPort.TLS = "hooks.example.com:8443", true
	form := "To=%2B15550100&From=%2B15550101"
	twilio := post("X-Twilio-Signature", b64of(made(sha1.New, explainSecret, "https://hooks.example.com/hooks/acmeFrom+15550101To+15550100")))
	const queryOf = "https://hooks.example.com/hooks/acme?b=x%2Cy&a=1&c=%2B"
	at := func(signed string) *Request { return toPath(overTLS(square(signed)), "/hooks/acme?b=x%2Cy&a=1&c=%2B") }
	sorted := explainSquare
	sorted.Message = StringList{"v1|{query_sorted}|{body}"}
	public := explainSquare
	public.PublicURL = "https://old.example.com"
	return []everyday{
		sq("TLS ends in front", square("https://hooks.example.com/hooks/acme"), "public_url https://hooks.example.com"),
		{mistake: "TLS ends in front of Twilio", scheme: explainTwilio, secret: explainSecret, req: twilio, body: form, hint: "public_url https://hooks.example.com"},
		sq("a port too many", withPort, "public_url https://hooks.example.com"),
		sq("a port too few", overTLS(square("https://hooks.example.com:443/hooks/acme")), "public_url https://hooks.example.com:443"),
		sq("a proxy changes the host", square("https://public.example.com/hooks/acme", "X-Forwarded-Host", "public.example.com"), "https://public.example.com (from header X-Forwarded-Host)"),
		sq("Forwarded tells", square("https://public.example.com/hooks/acme", "Forwarded", `for=10.0.0.1;host="public.example.com";proto=https`), "https://public.example.com (from header Forwarded)"),
		sq("a slash too few", overTLS(square("https://hooks.example.com/hooks/acme/")), "a path with a slash at its end"),
		sq("a slash too many", toPath(overTLS(square("https://hooks.example.com/hooks/acme")), "/hooks/acme/"), "a path without the slash"),
		sq("a query is added", toPath(overTLS(square("https://hooks.example.com/hooks/acme")), "/hooks/acme?token=abc"), "a URL without the query"),
		{mistake: "the parameters are the sender's own", scheme: explainSquare, secret: explainSecret, req: at("https://hooks.example.com/hooks/acme"), body: explainBody, hint: "if the sender adds these parameters after it signs, the message is {url_no_query}"},
		{mistake: "another part of the URL is signed", scheme: sorted, secret: explainSecret, body: explainBody,
			req: toPath(overTLS(post("x-square-hmacsha256-signature", b64of(made(sha256.New, explainSecret, "v1|"+queryOf+"|"+explainBody)))), "/hooks/acme?b=x%2Cy&a=1&c=%2B"), hint: `signs {url} where the scheme has {query_sorted}: write: message "v1|{url}|{body}"`},
		{mistake: "pairs of the query in another order", scheme: explainSquare, secret: explainSecret, req: at("https://hooks.example.com/hooks/acme?a=1&b=x%2Cy&c=%2B"), body: explainBody, hint: "the query's pairs in another order"},
		{mistake: "one character is signed unescaped", scheme: explainSquare, secret: explainSecret, req: at("https://hooks.example.com/hooks/acme?b=x,y&a=1&c=%2B"), body: explainBody, hint: `the query with "," as it is, which arrived as %2C`},
		sq("a proxy rewrites the host and tells nobody", square("https://elsewhere.example.com/hooks/acme"), "compare the one registered there with what arrives here"),
		sq("a host without a path", toPath(overTLS(square("https://hooks.example.com")), "/"), "register the URL at the sender with its path, or with a slash"),
		{mistake: "public_url is old", scheme: public, secret: explainSecret, req: square("https://hooks.example.com/hooks/acme"), body: explainBody, hint: "public_url https://hooks.example.com"},
	}
}

func timeMistakes() []everyday {
	slack := func(stamp string) *Request {
		return post("X-Slack-Request-Timestamp", stamp, "X-Slack-Signature", "v0="+hex256(explainSecret, "v0:"+stamp+":"+explainBody))
	}
	rfc := explainSlack
	rfc.Timestamp = &Timestamp{Header: StringList{"X-Slack-Request-Timestamp"}, Unit: "ms"}
	at := func(mistake string, scheme Scheme, stamp string, after time.Duration, hint string) everyday {
		return everyday{mistake: mistake, scheme: scheme, secret: explainSecret, req: slack(stamp), body: explainBody, now: testNow.Add(after), hint: hint}
	}
	both := at("saved with a line break and checked a day later", explainSlack, explainNow, 25*time.Hour, "without the line break")
	both.body += "\n"
	forged := at("an old forgery", explainSlack, explainNow, 3*time.Hour, ".")
	forged.req.Header["X-Slack-Signature"] = []string{"v0=" + strings.Repeat("ab", 32)}
	return []everyday{
		forged,
		at("milliseconds for seconds", explainSlack, explainNow+"000", 0, "is in milliseconds, but the scheme says seconds"),
		at("seconds for milliseconds", rfc, explainNow, 0, "is in seconds, but the scheme says milliseconds"),
		at("RFC 3339 for seconds", explainSlack, testNow.UTC().Format(time.RFC3339), 0, "is in RFC 3339, but the scheme says seconds"),
		at("a stale retry", explainSlack, explainNow, 3*time.Hour+7*time.Minute, "it was made 3h7m0s ago, and tolerance is 5m0s: a retry that keeps its first time"),
		at("this machine's clock is behind", explainSlack, explainNow, -12*time.Minute, "12m0s ahead: this machine's clock is that much behind"),
		at("local time for UTC", explainSlack, explainNow, -2*time.Hour, "2h0m0s is a whole time zone"),
		both,
	}
}

// evidenceMistakes are proved by headers: no altered check verifies.
func evidenceMistakes() []everyday {
	team := explainGitHub
	team.RequireHeader = []RequiredHeader{{Name: "X-Team", Values: StringList{"blue team"}}}
	with := func(mistake string, scheme Scheme, body, hint string, headers ...string) everyday {
		req := github(explainBody)
		for i := 0; i < len(headers); i += 2 {
			req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
		}
		return everyday{mistake: mistake, scheme: scheme, secret: explainSecret, req: req, body: body, hint: hint}
	}
	twoNames := explainSlack // either name is accepted: the absence of one proves nothing
	twoNames.Signature = &Signature{Header: StringList{"X-Acme-Signature", "Acme-Signature"}, Prefix: "v0="}
	return []everyday{
		{mistake: "a timestamp is missing", scheme: twoNames, secret: explainSecret, body: explainBody, hint: ".", req: post("Acme-Signature", "v0="+strings.Repeat("ab", 32))},
		with("a required header is not sent", team, explainBody, "expects X-Team, but the delivery does not have it"),
		with("a required header under nearly its name", team, explainBody, "expects X-Team, but the delivery has X_team", "X_team", "blue team"),
		with("a required header in quotes", team, explainBody, "only in quotes or white space", "X-Team", `"blue team"`),
		with("a required header in capitals", team, explainBody, "in capital and small letters alone", "X-Team", "Blue Team"),
		with("a required header twice", team, explainBody, "appears on 2 lines", "X-Team", "blue team", "X-Team", "blue team"),
		with("a required header joined with its copy", team, explainBody, "holds the value of require_header 2 times", "X-Team", "blue team, blue team"),
		with("a required header of another team", team, explainBody, ".", "X-Team", "red team"),
		with("a body cut off", explainGitHub, explainBody[:20], "Content-Length says 100: it was altered or cut off", "Content-Length", "100"),
		with("a body read before", explainGitHub, "", "the body is empty, but Content-Length says 100 bytes", "Content-Length", "100"),
		with("a JSON body cut off, with a length to match", explainGitHub, explainBody[:20], "the body is not whole, or altered: Content-Type says JSON", "Content-Type", "application/json; charset=utf-8"),
		with("a JSON body read before, with a length to match", explainGitHub, "", "the body is empty, but Content-Type says JSON", "Content-Type", "application/json", "Content-Length", "0"),
		with("a whole body, and another secret", explainGitHub, `{"other":1}`, ".", "Content-Type", "application/json"),
		with("a body that is not said to be JSON", explainGitHub, explainBody[:20], ".", "Content-Type", "text/plain"),
		with("a body that a proxy unpacked", explainGitHub, `{"unpacked":1}`, "something in front unpacked it", "Content-Encoding", "gzip"),
		{mistake: "a timestamp under nearly its name", scheme: explainSlack, secret: explainSecret, body: explainBody, hint: "the delivery has Slack-Request-Timestamp",
			req: post("Slack-Request-Timestamp", explainNow, "X-Slack-Signature", "v0="+strings.Repeat("ab", 32))},
	}
}

// TestExplainEverydayMistakes checks the promise of the command and the admin API: a
// hint for nearly every common mistake, and never a wrong one.
func TestExplainEverydayMistakes(t *testing.T) {
	named, all := 0, 0
	for _, table := range [][]everyday{bodyMistakes(), secretMistakes(), signatureMistakes(), urlMistakes(), timeMistakes(), evidenceMistakes()} {
		for _, m := range table {
			t.Run(m.mistake, func(t *testing.T) {
				e := explain(t, Case{Scheme: m.scheme, Keys: []Key{{Text: m.secret}}, Request: m.req, Body: []byte(m.body), Now: m.now, Others: m.others})
				t.Log(e.Reason, "→", e.Hint)
				if m.hint != "." {
					all++
				}
				switch {
				case e.Genuine || e.Reason == "":
					t.Error("taken for genuine")
				case m.hint == "." && e.Hint != "":
					t.Errorf("a cause that nobody can know: %s", e.Hint)
				case m.hint != "." && !strings.Contains(e.Hint, m.hint):
					t.Errorf("got %q, want …%s…", e.Hint, m.hint)
				case e.Hint != "":
					named++
				}
				keepsSilent(t, e, m)
			})
		}
	}
	t.Logf("%d of %d named", named, all)
	if all < 20 || named*20 < all*18 { // the promise; the table itself requires all
		t.Errorf("%d of %d mistakes have a hint", named, all)
	}
}

// keepsSilent checks that an explanation holds no part of the secret, the body, the
// signature or an expected MAC.
func keepsSilent(t *testing.T, e Explanation, m everyday) {
	t.Helper()
	hidden := []string{m.secret, explainSecret, m.body, explainBody}
	for _, key := range []string{m.secret, explainSecret} {
		for _, h := range []func() hash.Hash{sha256.New, sha1.New, sha512.New} {
			for _, content := range []string{m.body, explainBody, explainNow + "." + explainBody} {
				sum := made(h, key, content)
				hidden = append(hidden, hex.EncodeToString(sum), b64of(sum))
			}
		}
	}
	for name, lines := range m.req.Header {
		if soundsSigned(name) {
			for _, line := range lines {
				hidden = append(hidden, line[strings.LastIndexAny(line[:min(len(line), 20)], "=, ")+1:])
			}
		}
	}
	const piece = 9 // more than https://
	for _, text := range hidden {
		for i := 0; i+piece <= len(text); i++ {
			if strings.Contains(e.Hint+" "+e.Detail, text[i:i+piece]) {
				t.Errorf("the explanation holds %q: %+v", text[i:i+piece], e)
				return
			}
		}
	}
}
