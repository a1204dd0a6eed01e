package command

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// An inspectorTab asks the inspector of a running listen, as its page does.
type inspectorTab struct {
	t    *testing.T
	url  string // of the page
	rows <-chan map[string]any
}

// inspecting runs listen with its page until the test ends.
func inspecting(t *testing.T, args ...string) (deliveries string, tab *inspectorTab) {
	t.Helper()
	deliveries, lines, _ := listening(t, append(args, "--page", "127.0.0.1:0")...)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "inspect at http://127.0.0.1:") {
		t.Fatalf("no page: %q", lines.Text())
	}
	go func() {
		for lines.Scan() {
		}
	}()
	rows := make(chan map[string]any, 9)
	tab = &inspectorTab{t, strings.TrimPrefix(lines.Text(), "inspect at "), rows}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, tab.url+"requests", nil)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer resp.Body.Close()
		page.Events(resp.Body, func(_, _, data string) bool {
			var news struct {
				Row map[string]any
			}
			_ = json.Unmarshal([]byte(data), &news)
			rows <- news.Row
			return true
		})
	}()
	return deliveries, tab
}

// next waits for the next request in the list.
func (tab *inspectorTab) next() map[string]any {
	tab.t.Helper()
	select {
	case row := <-tab.rows:
		return row
	case <-time.After(time.Minute):
		tab.t.Fatal("no request in the list")
	}
	return nil
}

// ask decodes an answer of the page into a value, and returns its text.
func (tab *inspectorTab) ask(method, path, body string, into any) string {
	tab.t.Helper()
	r, _ := http.NewRequest(method, tab.url+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		tab.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || json.Unmarshal(text, into) != nil {
		tab.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	return string(text)
}

// postTo posts a body under headers, given as name and value.
func postTo(t *testing.T, url, body string, headers ...string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// TestInspector: a request is listed as it ends; opened, it shows what the sender signed
// against what arrived; what reached the app can be sent again, and everything saved.
func TestInspector(t *testing.T) {
	t.Chdir(t.TempDir())
	got := make(chan string, 9)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header.Get("Webhook-Verified"), " ", r.Header.Get("Webhook-Delivery") != "", " ", r.Header.Get(tenantHeader), string(body))
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "thanks")
	}))
	defer app.Close()
	deliveries, tab := inspecting(t, "stripe", "--secret", stripeSecret, "--to", app.URL+"/hooks")
	postTo(t, deliveries+"/stripe?a=%2F", stripeBody, "Stripe-Signature", signatureOf(t, time.Now()))
	if row := tab.next(); row["outcome"] != "genuine" || row["path"] != "/stripe?a=%2F" || row["delivery_id"] != "evt_1" {
		t.Errorf("the list has %v", row)
	}
	first := <-got
	if want := "POST /hooks?a=%2F stripe true " + stripeBody; first != want {
		t.Errorf("the app got %q, want %q", first, want)
	}
	var v inspection
	tab.ask("GET", "requests/1", "", &v)
	if string(v.Body.Text) != stripeBody || !v.Sends || v.Contents == nil || v.Contents.Different || !strings.HasSuffix(string(v.Contents.Expected.Text), "."+stripeBody) || v.Contents.Signed == nil {
		t.Errorf("a genuine one: %+v, %+v", v, v.Contents)
	}
	var again appAnswer
	tab.ask("POST", "requests/1", `{"do":"send"}`, &again)
	if second := <-got; second != first || again.Status != http.StatusAccepted || string(again.Body.Text) != "thanks" {
		t.Errorf("sent again, the app got %q, and its answer is %+v", second, again)
	}

	postTo(t, deliveries+"/stripe", stripeBody+"\n", "Stripe-Signature", signatureOf(t, time.Now()))
	if row := tab.next(); row["outcome"] != "signature_mismatch" || !strings.Contains(fmt.Sprint(row["hint"]), "without the line break at its end") {
		t.Errorf("the list has %v", row)
	}
	v = inspection{}
	tab.ask("GET", "requests/2", "", &v)
	if c := v.Contents; v.Sends || c == nil || !c.Different || c.At != len(stripeBody)+11 || string(c.Expected.Text) != "\n" || c.Signed == nil || len(c.Signed.Text) > 0 {
		t.Errorf("a refused one: %+v, %+v", v, v.Contents)
	}
	var file struct{ Saved string }
	for range 2 { // once
		tab.ask("POST", "requests/2", `{"do":"save"}`, &file)
	}
	if files, _ := filepath.Glob("*"); len(files) != 1 || files[0] != file.Saved {
		t.Fatalf("%q is saved, and the files are %q", file.Saved, files)
	}
	if info, err := os.Stat(file.Saved); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if out, _, code := webhook(t, "", "verify", "stripe", file.Saved, "--secret", stripeSecret, "--now", "file"); code != exitNot || !strings.Contains(out, "signature_mismatch") {
		t.Errorf("verify says %d, %s", code, out)
	}
}

// TestInspectorHasItsOwnPort: the port that senders and a tunnel reach answers nothing of
// the page, whoever asks it and under whatever name.
func TestInspectorHasItsOwnPort(t *testing.T) {
	deliveries, tab := inspecting(t, "stripe", "--secret", stripeSecret)
	address, _ := url.Parse(tab.url)
	for _, path := range []string{"", "about", "requests", "requests/1"} {
		for _, host := range []string{"", address.Host, "localhost"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r, _ := http.NewRequest(method, deliveries+address.Path+path, strings.NewReader("{}"))
				r.Host = host
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode < 400 || len(text) > 0 || resp.Header.Get("Content-Security-Policy") != "" {
					t.Errorf("%s %s for %q: %d %s", method, path, host, resp.StatusCode, text)
				}
				tab.next()
			}
		}
	}
	for _, port := range []string{"9000", "127.0.0.1:9000", ":9000"} {
		if _, errs, code := webhook(t, "", "listen", "stripe", "--secret", "a", "--addr", port, "--page", "127.0.0.1:9000"); code != exitUsage || !strings.Contains(errs, "--page: choose another port") {
			t.Errorf("--addr %s: exit %d, %s", port, code, errs)
		}
	}
	for addr, want := range map[string]string{"0.0.0.0:0": "--page: the page is for this machine only", "4040": "--page: write an address and port", address.Host: "choose another address with --page"} {
		if _, errs, code := webhook(t, "", "listen", "stripe", "--secret", "a", "--addr", freePort(t), "--page", addr); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("--page %s: exit %d, %s", addr, code, errs)
		}
	}
}

// TestInspectorShowsNoSecret: neither a key nor the signature that a forger needs, in
// whatever part of a request.
func TestInspectorShowsNoSecret(t *testing.T) {
	const secret = "Zk8vQ2mWn4Lx7RtYp0sB"
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(`{"a":1}`))
	sum := mac.Sum(nil)
	for name, tc := range map[string]struct {
		args    []string
		body    string
		headers []string
		hidden  bool // the body
	}{
		"forged":                {[]string{"github"}, `{"a":1}`, []string{"X-Hub-Signature-256", "sha256=" + strings.Repeat("ab", 32)}, false},
		"the secret as body":    {[]string{"github"}, `{"a":"` + secret + `"}`, []string{"X-Hub-Signature-256", "sha256=" + strings.Repeat("ab", 32)}, true},
		"the secret escaped":    {[]string{"github"}, "a=" + strings.ReplaceAll(secret, "Z", "%5A"), []string{"X-Hub-Signature-256", "sha256=" + strings.Repeat("ab", 32)}, true},
		"the secret as header":  {[]string{"github"}, `{"a":1}`, []string{"X-Hub-Signature-256", secret, "X-Event", secret, "Authorization", "Basic " + secret}, false},
		"a token":               {[]string{"gitlab_token"}, `{"a":1}`, []string{"X-Gitlab-Token", secret}, false},
		"another token":         {[]string{"gitlab_token"}, `{"a":1}`, []string{"X-Gitlab-Token", "an0ther"}, false},
		"another token as body": {[]string{"aircall"}, `{"token":"an0ther"}`, nil, true},
	} {
		s, _, err := (&schemeFlags{secrets: []string{secret}}).resolve(tc.args)
		if err != nil {
			t.Fatal(name, err)
		}
		w := &recorder{maxBody: 1 << 20, seen: make(chan *observation, 1)}
		p := &reporter{recorder: w, subjects: []*subject{s}}
		e := observed(t, w, s, tc.body, tc.headers...)
		r := p.report(t.Context(), e)
		shown := p.inspect(t.Context(), e)
		text, _ := json.Marshal([]any{r, shown})
		all := string(text) + string(shown.Body.Text)
		if c := shown.Contents; c != nil {
			all += string(c.Before) + string(c.Expected.Text)
			if c.Signed != nil {
				all += string(c.Signed.Text)
			}
		}
		for _, hidden := range []string{secret, hex.EncodeToString(sum), "an0ther", "%5Ak8v"} {
			if strings.Contains(all, hidden) {
				t.Errorf("%s: shows %s: %s", name, hidden, all)
			}
		}
		if (shown.Hidden != "") != tc.hidden || tc.hidden && (len(shown.Body.Text) > 0 || shown.Contents != nil) {
			t.Errorf("%s: %+v", name, shown)
		}
	}
}

// observed is a refused request, as the recorder saw it.
func observed(t *testing.T, w *recorder, s *subject, body string, headers ...string) *observation {
	t.Helper()
	r := s.newRequest()
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Body = []byte(body)
	e := &observation{at: time.Now(), name: s.Name, request: r}
	_, err := s.verifier.Judge(requestOf(r), r.Body, e.at)
	if rejection, ok := err.(*verifier.Rejection); ok {
		e.err, e.rejection, e.reason = err, rejection, string(rejection.Reason)
	} else {
		e.verified, e.key = true, "1"
	}
	return e
}

// TestCompare marks the first character that differs, and shows only so much around it.
func TestCompare(t *testing.T) {
	long := bytes.Repeat([]byte("é"), mostShown)
	for name, tc := range map[string]struct {
		expected, signed []byte
		want             string // before|expected|signed
		at, line, column int
	}{
		"a character": {[]byte("a\nbèc"), []byte("a\nbéc"), "a\nb|èc|éc", 3, 2, 2},
		"the end":     {[]byte("ab\n"), []byte("ab"), "ab|\n|", 2, 1, 3},
		"the start":   {[]byte("ab"), []byte("\ufeffab"), "|ab|\ufeffab", 0, 1, 1},
		"no text":     {[]byte("a\xff\xfe"), []byte("a\xff\xff"), "a\xff|\xfe|\xff", 2, 1, 3},
	} {
		c := compare(&verifier.Contents{Expected: tc.expected, Signed: tc.signed})
		if got := fmt.Sprintf("%s|%s|%s", c.Before, c.Expected.Text, c.Signed.Text); got != tc.want || !c.Different || c.At != tc.at || c.Line != tc.line || c.Column != tc.column {
			t.Errorf("%s: %q, %+v", name, got, c)
		}
	}
	c := compare(&verifier.Contents{Expected: append(long[:len(long):len(long)], "a"...), Signed: append(long[:len(long):len(long)], long...)})
	if c.Skipped+len(c.Before) != len(long) || len(c.Before) > mostAround || len(c.Signed.Text) != mostAround || c.Signed.Left != len(long)-mostAround {
		t.Errorf("%d skipped, %d before, %d and %d more", c.Skipped, len(c.Before), len(c.Signed.Text), c.Signed.Left)
	}
	for name, signed := range map[string][]byte{"the same": []byte("ab"), "unknown": nil} {
		c := compare(&verifier.Contents{Expected: []byte("ab"), Signed: signed})
		if c.Different || string(c.Expected.Text) != "ab" || (c.Signed == nil) != (signed == nil) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestSendAgainAsTheGatewaySends: the app gets the same path, whatever --to has.
func TestSendAgainAsTheGatewaySends(t *testing.T) {
	for _, tc := range []struct {
		to      string
		several bool
		want    string
	}{
		{"http://app", false, "/any/a%2Fb?q=%20"}, {"http://app/", false, "/any/a%2Fb?q=%20"}, {"http://app/in%20", false, "/in%20?q=%20"},
		{"http://app", true, "/any/a%2Fb?q=%20"}, {"http://app/in/", true, "/in/any/a%2Fb?q=%20"},
	} {
		to, _ := url.Parse(tc.to)
		if got := appTarget(to, tc.several, "/any/a%2Fb?q=%20"); got != tc.want {
			t.Errorf("%s, %v: %s, want %s", tc.to, tc.several, got, tc.want)
		}
	}
}

// TestSendAgainFollowsNoRedirect: the app's answer is what is shown, cut where it is long,
// and no key in it.
func TestSendAgainFollowsNoRedirect(t *testing.T) {
	s, _, err := (&schemeFlags{secrets: []string{stripeSecret}}).resolve([]string{"stripe"})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{"moved": "moved", "the key is " + stripeSecret: verifier.Redacted, strings.Repeat("x", 2*mostAnswer): strings.Repeat("x", mostAnswer)} {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" || r.Header.Get("Trailer") != "" || r.Header.Get("User-Agent") != "" {
				t.Errorf("the app got %s %v", r.URL, r.Header)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
			_, _ = io.WriteString(w, body)
		}))
		defer app.Close()
		to, _ := url.Parse(app.URL)
		e := &observation{request: s.newRequest(), app: http.Header{"Trailer": {"X"}}}
		a, err := (&reporter{to: to, subjects: []*subject{s}}).sendAgain(t.Context(), e)
		if err != nil || a.Status != http.StatusFound || string(a.Body.Text) != want {
			t.Errorf("%v, %+v", err, a)
		}
	}
}
