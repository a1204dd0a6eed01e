package rawhttp

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const body = "{\"a\": 1}\n"
	for name, tc := range map[string]struct {
		file, url, header, body string // header: what X holds
	}{
		"CRLF":                     {"POST /hooks?v=2 HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n" + body, "://a.example/hooks?v=2", "1", body},
		"LF":                       {"POST /hooks HTTP/1.1\nHost: a.example\nX: 1\n\n" + body, "://a.example/hooks", "1", body},
		"both":                     {"POST / HTTP/1.1\r\nHost: a.example\nX: 1\r\n\n" + body, "://a.example/", "1", body},
		"CRLF in the body stays":   {"POST / HTTP/1.1\n\na\r\nb\r\n", ":///", "", "a\r\nb\r\n"},
		"an empty line in front":   {"\r\n\nPOST / HTTP/1.1\n\n\n" + body, ":///", "", "\n" + body},
		"a byte order mark":        {"\xef\xbb\xbfPOST / HTTP/1.1\n\n" + body, ":///", "", body},
		"bytes":                    {"POST / HTTP/1.1\n\n\x00\xff\xfe", ":///", "", "\x00\xff\xfe"},
		"no version":               {"POST /hooks\nhost: a.example\nx: 1\n\n" + body, "://a.example/hooks", "1", body},
		"HTTP/2":                   {"POST /hooks HTTP/2\nhost: a.example\n\n" + body, "://a.example/hooks", "", body},
		"pseudo-headers":           {":method: POST\n:authority: a.example\n:scheme: https\n:path: /hooks?a=b:c\nx: 1\n\n" + body, "https://a.example/hooks?a=b:c", "1", body},
		"pseudo-headers below":     {"POST /hooks HTTP/2\n:authority: a.example\nx: 1\n\n" + body, "://a.example/hooks", "1", body},
		"a whole URL":              {"POST https://a.example:8443/hooks?a=%2F HTTP/1.1\nHost: other.example\n\n" + body, "https://a.example:8443/hooks?a=%2F", "", body},
		"a whole URL, no path":     {"POST http://a.example?a#b HTTP/1.1\n\n" + body, "http://a.example/?a", "", body},
		"two lines":                {"POST / HTTP/1.1\nX: 1\nX: 2\n\n", ":///", "1|2", ""},
		"spaces around a value":    {"POST / HTTP/1.1\nX: \t 1 2 \n\n", ":///", "1 2", ""},
		"an empty value":           {"POST / HTTP/1.1\nX:\n\n", ":///", "", ""},
		"no body":                  {"POST / HTTP/1.1\nX: 1", ":///", "1", ""},
		"Content-Length":           {"POST / HTTP/1.1\nContent-Length: 2\n\nab\n", ":///", "", "ab"},
		"Content-Length, all":      {"POST / HTTP/1.1\nContent-Length: 3\n\nabc", ":///", "", "abc"},
		"Content-Length, twice":    {"POST / HTTP/1.1\nContent-Length: 2\nContent-Length: 2\n\nab\r\n\n", ":///", "", "ab"},
		"chunked":                  {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", ":///", "", "abcde"},
		"chunked, with a trailer":  {"POST / HTTP/1.1\nTransfer-Encoding: Chunked\n\n1\r\na\r\n0\r\nX: 9\r\n\r\n", ":///", "", "a"},
		"HAR":                      {`{"log":{"entries":[{"request":{"method":"POST","url":"https://a.example/hooks?x=y","headers":[{"name":":authority","value":"a.example"},{"name":"x","value":"1"}],"postData":{"text":"{\"é\":1}"}}}]}}`, "https://a.example/hooks?x=y", "1", `{"é":1}`},
		"HAR, base64":              {`{"log":{"entries":[{"request":{"method":"POST","url":"https://a.example/","postData":{"text":"AP8=","encoding":"base64"}}}]}}`, "https://a.example/", "", "\x00\xff"},
		"HAR, _encoding":           {`{"log":{"entries":[{"request":{"method":"POST","url":"https://a.example/","postData":{"text":"AP8=","_encoding":"base64"}}}]}}`, "https://a.example/", "", "\x00\xff"},
		"HAR, a form":              {`{"request":{"method":"POST","url":"https://a.example/","postData":{"params":[{"name":"a b","value":"1&2"},{"name":"c","value":"é"}]}}}`, "https://a.example/", "", "a+b=1%262&c=%C3%A9"},
		"HAR, text beside a form":  {`{"request":{"method":"POST","url":"https://a.example/","postData":{"text":"a=%20","params":[{"name":"a","value":" "}]}}}`, "https://a.example/", "", "a=%20"},
		"HAR, no body":             {`{"request":{"method":"GET","url":"https://a.example"}}`, "https://a.example/", "", ""},
		"one entry":                {` {"request":{"method":"POST","url":"https://a.example/","postData":{"text":"x"}}}`, "https://a.example/", "", "x"},
		"caddy webhook sign":       {`{"method":"POST","url":"http://a.example/hooks","headers":{"X":"1"},"body_base64":"AP8="}`, "http://a.example/hooks", "1", "\x00\xff"},
		"a body as text":           {`{"method":"POST","url":"https://a.example/","headers":{"x":"1"},"body":"{\"é\": 1}\n"}`, "https://a.example/", "1", "{\"é\": 1}\n"},
		"an empty body":            {`{"method":"POST","url":"https://a.example/","body":""}`, "https://a.example/", "", ""},
		"a request of a HAR":       {`{"method":"POST","url":"https://a.example/","httpVersion":"h2","queryString":[],"cookies":[],"headersSize":-1,"bodySize":1,"_priority":"High","postData":{"text":"x"}}`, "https://a.example/", "", "x"},
		"curl":                     {"curl 'https://a.example/hooks?a=%2F' -X POST -H 'x: 1' --data-raw '" + `{"a": "it'\''s"}` + "'", "https://a.example/hooks?a=%2F", "1", `{"a": "it's"}`},
		"curl of Chrome":           {"curl 'https://a.example/hooks' \\\n  -H 'content-type: application/json' \\\n  -H 'x: 1' \\\n  --data-raw $'{\"a\":\"\\u0021\\u00e9\\xff\\'\\n\"}' \\\n  --compressed --insecure\n", "https://a.example/hooks", "1", "{\"a\":\"!é\xff'\n\"}"},
		"curl of printf %q":        {`curl -H $'x:\0401' -d $'{"a":"\302\251\n\0508"}' a.example`, "http://a.example/", "1", "{\"a\":\"©\n(8\"}"},
		"curl, double quotes":      {`curl -sS -XPOST -Hx:1 -d "{\"a\": \"\$1\\n\"}" a.example/hooks -o /dev/null`, "http://a.example/hooks", "1", `{"a": "$1\n"}`},
		"curl, options together":   {`curl -sSXPOST -kiH 'x: 1' -d a https://a.example`, "https://a.example/", "1", "a"},
		"curl, a host":             {`curl https://1.2.3.4/ -H 'Host: a.example' -H 'Accept:' -H 'X;' -d 'a=1' -d b=2`, "https://a.example/", "", "a=1&b=2"},
		"curl of sign":             {"printf %s 'AP8=' | base64 -d |\ncurl --silent --show-error --include --path-as-is --globoff \\\n\t--request 'POST' \\\n\t--header 'X: 1' \\\n\t--data-binary '@-' \\\n\t'http://a.example/h[1]'\n", "http://a.example/h[1]", "1", "\x00\xff"},
		"curl, JSON":               {`curl --json '{}' -u 'a:b' https://a.example`, "https://a.example/", "", "{}"},
		"chunked, decoded in HAR":  {`{"request":{"method":"POST","url":"https://a.example/","headers":[{"name":"Transfer-Encoding","value":"chunked"}],"postData":{"text":"x"}}}`, "https://a.example/", "", "x"},
		"a host with a port twice": {"POST / HTTP/1.1\nHost: a.example:80\nHost: a.example:80\n\n", "://a.example:80/", "", ""},
	} {
		r, err := Parse([]byte(tc.file), 0, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.URL() != tc.url || strings.Join(r.Header["X"], "|") != tc.header || string(r.Body) != tc.body || r.Header["Host"] != nil || r.Header["Transfer-Encoding"] != nil {
			t.Errorf("%s: %s, header %q, body %q; want %s, %q, %q", name, r.URL(), r.Header, r.Body, tc.url, tc.header, tc.body)
		}
		if r.Method != "POST" && name != "HAR, no body" {
			t.Errorf("%s: method %q", name, r.Method)
		}
	}
}

func TestParseEntry(t *testing.T) {
	const har = `{"log":{"entries":[
		{"request":{"method":"GET","url":"https://a.example/1"}},
		{"startedDateTime":"2026-11-21T12:00:00.5+01:00","request":{"method":"POST","url":"https://a.example/2","postData":{"text":"two"}}},
		{}]}}`
	r, err := Parse([]byte(har), 2, false)
	if err != nil || r.Target != "/2" || !r.Time.Equal(time.Date(2026, 11, 21, 11, 0, 0, 5e8, time.UTC)) {
		t.Errorf("entry 2: %+v, %v", r, err)
	}
	for entry, want := range map[int]string{
		0:  "holds 3 requests: choose one with --entry, counted from 1; those with a body: 2",
		3:  "has no request",
		4:  "holds 3 requests: --entry counts from 1",
		-1: "holds 3 requests: --entry counts from 1",
	} {
		if _, err := Parse([]byte(har), entry, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("entry %d: %v, want %q", entry, err, want)
		}
	}
}

// TestParseRefuses: each error says what to do, and repeats nothing of a file
// that may hold secrets.
func TestParseRefuses(t *testing.T) {
	const secret = "hunter2"
	for name, tc := range map[string]struct {
		file, want string
		entry      int
	}{
		"nothing":                 {"\r\n \n", "empty", 0},
		"UTF-16":                  {"\xff\xfeP\x00O\x00", "UTF-16", 0},
		"a response":              {"HTTP/1.1 200 OK\n\n", "line 1: this is a response", 0},
		"text":                    {"hunter2 it is a body without a head", "line 1: no request line", 0},
		"one word":                {"hunter2\n\n", "line 1: no request line", 0},
		"no method":               {"hunter2: /x HTTP/1.1\n\n", "line 1: no request line", 0},
		"no path":                 {"POST hunter2 HTTP/1.1\n\n", "line 1: not a URL", 0},
		"user in the URL":         {"POST https://a:hunter2@a.example/ HTTP/1.1\n\n", "line 1: not a URL", 0},
		"another scheme":          {"POST ftp://hunter2/ HTTP/1.1\n\n", "line 1: not a URL", 0},
		"no colon":                {"POST / HTTP/1.1\nX: 1\nhunter2\n\n", "line 3: no colon", 0},
		"a folded line":           {"POST / HTTP/1.1\nX: 1\n hunter2\n\n", "line 3: it begins with a space", 0},
		"a bad name":              {"POST / HTTP/1.1\nhunter2 : 1\n\n", "line 2: not a header name", 0},
		"a control character":     {"POST / HTTP/1.1\nX: hunter2\x00\n\n", "line 2: the header's value", 0},
		"a carriage return":       {"POST / HTTP/1.1\nX: hunter2\rY: 1\n\n", "line 2: the header's value", 0},
		"two hosts":               {"POST / HTTP/1.1\nHost: a.example\nHost: b.example\n\n", "line 3: two hosts", 0},
		"no :path":                {":method: POST\n:authority: hunter2\n\n", "no :method and :path", 0},
		"a bad :method":           {":method: PO ST\n:path: /\n\n", "line 1: :method", 0},
		"a bad path":              {"POST /hunter2\x1b[2J HTTP/1.1\n\n", "line 1: the path", 0},
		"a bad :path":             {":method: POST\n:path: / hunter2\n\n", "line 2: the path", 0},
		"a bad :authority":        {":method: POST\n:path: /\n:authority: a\rhunter2\n\n", "line 3: the header's value", 0},
		"cut off":                 {"POST / HTTP/1.1\nContent-Length: 9\n\nhunter2\n", "says 9 bytes and 8 follow", 0},
		"too long":                {"POST / HTTP/1.1\nContent-Length: 7\n\nhunter2x\n", "says 7 bytes and 9 follow", 0},
		"two lengths":             {"POST / HTTP/1.1\nContent-Length: 1\nContent-Length: 2\n\nhunter2", "not one number", 0},
		"no length":               {"POST / HTTP/1.1\nContent-Length: -1\n\nhunter2", "not one number", 0},
		"not chunked":             {"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nhunter2", "not in chunks", 0},
		"chunks cut off":          {"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n8\r\nhunter2", "not in chunks", 0},
		"gzip, chunked":           {"POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n0\n\n", "other than chunked", 0},
		"an entry of raw":         {"POST / HTTP/1.1\n\n", "drop --entry", 1},
		"an entry of one":         {`{"request":{"method":"POST","url":"https://a.example/"}}`, "drop --entry", 2},
		"JSON cut off":            {`{"hunter2":`, "is no HAR", 0},
		"a body":                  {`{"hunter2":1}`, "JSON without a request", 0},
		"HAR without entries":     {`{"log":{}}`, "holds no requests", 0},
		"HAR without a method":    {`{"request":{"url":"https://hunter2.example/"}}`, "no method", 0},
		"HAR without a URL":       {`{"request":{"method":"POST","url":"hunter2"}}`, "url: not a URL", 0},
		"HAR with a bad header":   {`{"request":{"method":"POST","url":"https://a.example/","headers":[{"name":"X","value":"hunter2\n"}]}}`, "headers: the header's value", 0},
		"HAR with bad base64":     {`{"request":{"method":"POST","url":"https://a.example/","postData":{"text":"hunter2!","encoding":"base64"}}}`, "not the base64", 0},
		"a member mistyped":       {`{"method":"POST","url":"https://a.example/","Body_b64":"hunter2"}`, "did you mean body_base64?", 0},
		"a member unknown":        {`{"method":"POST","url":"https://a.example/","hunter2":1}`, "known are method, url, headers, body, body_base64", 0},
		"a body parsed":           {`{"method":"POST","url":"https://a.example/","body":{"hunter2":1}}`, "write them as a string", 0},
		"two bodies":              {`{"method":"POST","url":"https://a.example/","body":"hunter2","body_base64":"AP8="}`, "there twice", 0},
		"curl cut off":            {"curl https://a.example -d 'hunter2", "is not closed", 0},
		"curl, no URL":            {"curl -d hunter2", "without a URL", 0},
		"curl, two URLs":          {"curl https://a.example hunter2", "word 3: a second URL", 0},
		"curl, a variable":        {`curl https://a.example -H "X: $hunter2"`, "a variable", 0},
		"curl, a command":         {"curl https://a.example -H `hunter2`", "another command", 0},
		"curl, then another":      {"curl https://a.example -d x; hunter2", "keep one curl command", 0},
		"curl, piped on":          {"curl https://a.example -d x | hunter2", "word 5: a |", 0},
		"curl for cmd":            {"curl ^\"https://a.example^\" -d hunter2", "copy it for bash", 0},
		"curl, an option":         {"curl https://a.example --hunter2 x", "word 3: an option that is not known", 0},
		"curl, a form":            {"curl https://a.example -F hunter2=@x", "word 3: curl makes the body", 0},
		"curl, no value":          {"curl https://a.example -H", "word 3: an option without its value", 0},
		"curl, no colon":          {"curl https://a.example -H hunter2", "word 3: a header without a colon", 0},
		"curl, no file":           {"curl https://a.example -d @hunter2", "word 3: the body is in a file, which is not read", 0},
		"curl, cookies":           {"curl https://a.example -b hunter2", "word 3: a file of cookies", 0},
		"curl, headers":           {"curl https://a.example -H @hunter2", "word 3: a file of headers", 0},
		"curl, no standard input": {"curl https://a.example -d @-", "pass it with --body-file", 0},
		"another pipe":            {"printf %s hunter2 | base64 -d | gunzip | curl https://a.example -d @-", "keep the part that begins with curl", 0},
		"curl, an entry":          {"curl https://a.example", "drop --entry", 1},
		"HAR with a form's files": {`{"request":{"method":"POST","url":"https://a.example/","postData":{"params":[{"name":"f","fileName":"hunter2"}]}}}`, "--body-file", 0},
	} {
		_, err := Parse([]byte(tc.file), tc.entry, false)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
}

// TestACommandReadsNoFile: whoever hands in a command of curl must not learn what the
// files of its reader hold, nor have it sent.
func TestACommandReadsNoFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "id=ed25519")
	if err := os.WriteFile(file, []byte("a private key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{
		"-d @%", "-d@%", "-sd@%", "-d a=1 -d @%", "--data @%", "--data-ascii @%", "--data-binary @%", "--data-binary '@%'", "--data-binary @'%'", "--json @%", "--data-urlencode a@%", "--data-urlencode @%",
		"-F a=@%", "-F 'a=<%'", "--form-string a=@%", "-T %", "--upload-file %", "-H @%", "--header @%", "--proxy-header @%", "-K %", "--config %", "-b %", "--cookie %", "--cookie @%",
		"--url @%", "--url file://%", "file://%", "-G -d @%", "--url-query a@%", "--url-query @%", "--variable a@% --expand-data {{a}}", "--netrc-file %", "--unix-socket %", "-u @%",
		"--cacert %", "-E %", "--cert %", "--key %", "-w @%", "-c %", "-D %", "-o %", "--data-raw @%",
	} {
		for _, hasBody := range []bool{false, true} {
			r, err := Parse([]byte("curl https://a.example "+strings.ReplaceAll(option, "%", file)), 0, hasBody)
			if text := fmt.Sprintf("%+v, %v", r, err); strings.Contains(text, "a private key") {
				t.Errorf("%s: %s", option, text)
			}
			if err == nil && !hasBody && strings.Contains(option, "@%") && option != "--data-raw @%" && option != "-u @%" && option != "-w @%" && option != "--cookie @%" {
				t.Errorf("%s: read as %+v", option, r)
			}
		}
	}
	r, err := Parse([]byte("curl https://a.example -H 'X: 1' --data-binary @"+file), 0, true)
	if err != nil || r.Method != "POST" || len(r.Body) > 0 || r.Header.Get("X") != "1" {
		t.Errorf("with the body at hand: %+v, %v", r, err)
	}
}

func TestWrite(t *testing.T) {
	r := &Request{Method: "POST", Scheme: "http", Host: "localhost:9000", Target: "/a?b", Header: http.Header{"B": {"1"}, "A": {"x", "y"}, "Content-Length": {"99"}, "Transfer-Encoding": {"chunked"}}, Body: []byte("\r\nbody")}
	for whole, line := range map[bool]string{false: "POST /a?b", true: "POST http://localhost:9000/a?b"} {
		var out bytes.Buffer
		want := line + " HTTP/1.1\r\nHost: localhost:9000\r\nA: x\r\nA: y\r\nB: 1\r\nContent-Length: 6\r\n\r\n\r\nbody"
		if err := r.Write(&out, whole); err != nil || out.String() != want {
			t.Errorf("%q, %v; want %q", out.String(), err, want)
		}
	}
}

// FuzzParse: what is read and written again is read as the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"POST /hooks?v=2 HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n{}", "POST / \nX:\t\n\n", ":method: POST\n:path: /\n\n\xff",
		":method: POST\n:path: /a\rb c\n:authority: a\rb\n\n",
		"POST http://a.example HTTP/1.1\nContent-Length: 1\n\nab", "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n1\r\na\r\n0\r\n\r\n",
		`{"request":{"method":"POST","url":"https://a.example/","headers":[{"name":"x","value":"1"}],"postData":{"params":[{"name":"a","value":"b"}]}}}`,
		`{"method":"POST","url":"http://a.example/hooks","headers":{"X":"1"},"body_base64":"AP8="}`,
		`{"method":"POST","url":"http://a.example/a b"}`, `{"method":"POST","url":"http://a.example/a\u00a0b"}`,
		`{"method":"POST","url":"http://a.example/hooks","headers":{"X":" "}}`, // was kept, and written as nothing
		"curl -sSXPOST -H 'X: 1' --data-raw $'\\xff' a.example", "printf %s 'AP8=' | base64 -d |\ncurl -d @- a.example", "curl - -x", "curl -s-x a",
		"curl http://0 HTTP/1.1", "curl -Xcurl a", "curl -Xprintf a", "curl -X'$' http://curl", // were written as commands
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data, 0, false)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("the error is no line: %q", err)
			}
			return
		}
		var out bytes.Buffer
		if err := r.Write(&out, true); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out.Bytes(), 0, false)
		if err != nil {
			t.Fatalf("%v in %q", err, out.String())
		}
		delete(r.Header, "Content-Length")
		delete(again.Header, "Content-Length")
		if again.Method != r.Method || again.Target != r.Target || again.Host != r.Host || !bytes.Equal(again.Body, r.Body) || !maps.EqualFunc(again.Header, r.Header, slices.Equal) {
			t.Errorf("%q is read as %+v and again as %+v", data, r, again)
		}
	})
}
