package browser

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A listening is "caddy webhook listen" in front of an app.
type listening struct {
	gateway        // address is that of deliveries
	page    string // address of the inspector
	folder  string // where it runs

	mu  sync.Mutex
	got []string // path, mark and body of what the app got
}

// startListen starts listen for senders with one secret, and an app that answers 202.
func startListen(t *testing.T, senders ...string) *listening {
	t.Helper()
	l := &listening{folder: t.TempDir()}
	l.address = freeAddress(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		l.got = append(l.got, r.RequestURI+" "+r.Header.Get("Webhook-Verified")+" "+string(body))
		l.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "<b>thanks</b>")
	}))
	t.Cleanup(app.Close)
	cmd := exec.Command(binary, append([]string{"webhook", "listen", "--addr", l.address, "--to", app.URL + "/in"}, senders...)...)
	cmd.Dir = l.folder
	cmd.Env = os.Environ()
	for _, s := range senders {
		cmd.Env = append(cmd.Env, strings.ToUpper(s)+"_SECRET="+secret)
	}
	if len(senders) == 1 {
		cmd.Args = append(cmd.Args, "--secret", secret)
	}
	read, write := io.Pipe()
	run(t, cmd, write)
	lines := bufio.NewScanner(read)
	for l.page == "" && lines.Scan() {
		_, l.page, _ = strings.Cut(lines.Text(), "inspect at ")
	}
	if l.page == "" {
		t.Fatal("no page")
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	return l
}

func (l *listening) app() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.got...)
}

// deliverOther sends a body with the signature of another one.
func (l *listening) deliverOther(t *testing.T, path, body, signed string) {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-GitHub-Event", "issues")
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// TestInspectorShowsAndSendsAgain: a delivery appears as it arrives, and reaches the app
// again by a button; what the sender signed otherwise is marked where it first differs.
func TestInspectorShowsAndSendsAgain(t *testing.T) {
	l := startListen(t, "github")
	b := newTab(t, l.page, 1200, 800, false)
	b.sees("Webhook inspector", "No request yet", "listening on http://"+l.address)
	const body = `{"ref":"main"}`
	if status := l.deliver(t, "/hooks?a=1", "72d3162e-cc78", "push", body, secret); status != http.StatusAccepted {
		t.Fatalf("answered %d", status)
	}
	b.sees("POST /hooks?a=1", "push", "genuine", "202")
	b.clickRow("/hooks")
	b.sees("the app answered 202", "Signed content", body, "X-Github-Delivery", "Delivery id\n72d3162e-cc78")
	b.click("Send to the app again")
	b.sees("The app answered 202 in ", "<b>thanks</b>")
	want := "/in?a=1 github " + body
	if got := l.app(); len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("the app got %q, want %q twice", got, want)
	}
	b.press("Escape")

	l.deliverOther(t, "/changed", body+"\n", body)
	b.sees("signature_mismatch")
	b.clickRow("/changed")
	b.sees("the sender signed the body without the line break at its end", `First difference: byte 15 (line 1, character 15). The sender signed nothing more, and \n arrived.`, "The sender signed", "What arrived")
	if marks := value[[]string](b, `[...document.querySelectorAll('mark')].map((m) => m.innerText)`); len(marks) != 2 || marks[0] != "the end" || !strings.HasPrefix(marks[1], `\n`) {
		t.Errorf("marked: %q", marks)
	}
	if strings.Contains(b.text(), "Send to the app again") {
		t.Error("what did not reach the app can be sent to it")
	}
	b.click("Save")
	b.sees("Saved.", "-signature_mismatch.http")
	if files, _ := os.ReadDir(l.folder); len(files) != 1 || !strings.HasSuffix(files[0].Name(), "-signature_mismatch.http") {
		t.Errorf("saved: %v", files)
	}
	if text := b.text(); strings.Contains(text, secret) {
		t.Errorf("the page shows the secret: %s", text)
	}
}

// TestInspectorOfSeveralSenders: the list has a column and a filter for them, and copies
// are one delivery's.
func TestInspectorOfSeveralSenders(t *testing.T) {
	l := startListen(t, "github", "gitlab_token")
	b := newTab(t, l.page, 320, 640, true)
	for range 2 {
		l.deliver(t, "/github", "first", "push", `{"a":1}`, secret)
	}
	l.deliver(t, "/nowhere", strings.Repeat("0123456789", 20), "push", `{"a":1}`, secret)
	b.sees("/nowhere", "no_sender", "genuine", "duplicate")
	if width := value[int](b, `document.documentElement.scrollWidth`); width > 320 {
		t.Errorf("it is %d pixels wide", width)
	}
	b.press("/")
	b.write("first")
	eventually(t, "the filter applies", func() bool { return value[int](b, `document.querySelectorAll('tbody tr').length`) == 2 })
	b.press("Escape")
	b.do(selects("outcome", "duplicate"))
	eventually(t, "both filters apply", func() bool { return value[int](b, `document.querySelectorAll('tbody tr').length`) == 1 })
	b.clickRow("duplicate")
	b.sees("All requests of this delivery")
	if width := value[int](b, `document.documentElement.scrollWidth`); width > 320 {
		t.Errorf("with a request it is %d pixels wide", width)
	}
}

// TestInspectorShowsHostileText as text: paths, events, ids, headers and bodies.
func TestInspectorShowsHostileText(t *testing.T) {
	l := startListen(t, "github")
	b := newTab(t, l.page, 1200, 800, false)
	const hostile = `<img src=x onerror=alert(1)><script>alert(2)</script>`
	l.deliver(t, "/%3Csvg/onload=alert(3)%3E?q="+`"><a/href=javascript:alert(4)>`, hostile, "\u202egnp.exe", "{\"a\":\""+hostile+"\u202e\x1b[2J\xff\r\n\"}", secret)
	l.deliver(t, "/refused", hostile, hostile, hostile+"\u2028", "forged")
	b.sees("/refused", hostile)
	for _, row := range []string{"genuine", "refused"} {
		b.clickRow(row)
		b.sees(hostile, map[string]string{"genuine": `\u{202e}\u{1b}[2J\xff\r\n`, "refused": `\u{2028}`}[row])
		for _, hidden := range []string{"\u202e", "\x1b", "\u2028"} {
			if strings.Contains(b.text(), hidden) {
				t.Errorf("%s: %q is on the page", row, hidden)
			}
		}
		if n := value[int](b, `document.querySelectorAll('img, a, b, iframe, object, svg, body script ~ script').length`); n != 0 {
			t.Errorf("%s: %d elements of a sender", row, n)
		}
		b.press("Escape")
	}
}

// TestInspectorIsBounded: a flood leaves the newest 200, and the page usable.
func TestInspectorIsBounded(t *testing.T) {
	l := startListen(t, "github")
	b := newTab(t, l.page, 1200, 800, false)
	for i := range 230 {
		l.deliver(t, fmt.Sprintf("/%d", i), "x", "push", fmt.Sprintf(`{"n":%d}`, i), "forged")
		if i%50 == 49 { // more than 64 in a row are not all shown
			b.sees(fmt.Sprintf("/%d", i))
		}
	}
	b.sees("/229", "The newest of 230 requests.")
	if n := value[int](b, `document.querySelectorAll('tbody tr').length`); n != 200 {
		t.Errorf("%d rows", n)
	}
}
