package command

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// listening runs listen, without its page, until the test ends, and returns its address
// and its lines.
func listening(t *testing.T, args ...string) (url string, lines *bufio.Scanner, end func() error) {
	t.Helper()
	addr := freePort(t)
	read, write := io.Pipe()
	root := new(cobra.Command)
	build(root)
	root.SetOut(write)
	root.SetErr(write)
	root.SetArgs(append([]string{"listen", "--addr", addr, "--page", "off"}, args...))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- root.ExecuteContext(ctx)
		write.Close()
	}()
	end = func() error { cancel(); return <-ended }
	t.Cleanup(cancel)
	lines = bufio.NewScanner(read)
	if want := "listening on http://" + addr + " for "; !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
		t.Fatalf("%q, want %q", lines.Text(), want)
	}
	return "http://" + addr, lines, end
}

// freePort is an address where nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestListen(t *testing.T) {
	t.Setenv("TEST_STRIPE", stripeSecret)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Webhook-Verified") != "stripe" || r.URL.String() != "/hooks?a=b" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer app.Close()
	folder := filepath.Join(t.TempDir(), "deliveries")
	url, lines, end := listening(t, "stripe", "--secret", "{env.TEST_STRIPE}", "--to", app.URL, "--save", folder)
	now := time.Now()
	post := func(signature string) {
		r, _ := http.NewRequest(http.MethodPost, url+"/hooks?a=b", strings.NewReader(stripeBody))
		r.Header.Set("Stripe-Signature", signature)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err) // and listen shows nothing
			return
		}
		answer.Body.Close()
	}
	genuine := signatureOf(t, now)
	old := signatureOf(t, now.Add(-time.Hour))
	wrong := signatureOf(t, now)
	for _, tc := range []struct {
		signature string
		want      []string
	}{
		{genuine, []string{`^\d\d:\d\d:\d\d POST /hooks\?a=b, \d+ bytes, .*\d+m?s genuine: the app answered 202, key 1, delivery id evt_1 `, `saved: .*Z-genuine\.http`}},
		{genuine, []string{`POST /hooks\?a=b, `, `duplicate: answered 200, already accepted by the app, key 1, delivery id evt_1`, `saved: .*Z-duplicate\.http`}},
		{old, []string{`POST /hooks\?a=b, `, `refused, 401: stale_timestamp: the delivery is 1h0m\ds old, tolerance 5m0s`, `hint: everything else is valid, but it is 1h0m\ds old: a retry`, `saved: .*Z-stale_timestamp\.http`}},
		{spoil(wrong), []string{`POST /hooks\?a=b, `, `refused, 401: signature_mismatch: `, `hint: no common mistake explains it`, `saved: .*Z-signature_mismatch\.http`}},
		{"", []string{`POST /hooks\?a=b, `, `refused, 401: missing_signature: no header Stripe-Signature`, `saved: .*Z-missing_signature\.http`}},
	} {
		go post(tc.signature)
		said, ended := "", false
		for !ended && lines.Scan() {
			line := lines.Text()
			if ended = strings.Contains(line, " saved: "); !ended && len(line) > 80 || strings.Contains(line, "\x1b") {
				t.Errorf("%d columns: %q", len(line), line)
			}
			said += line + "\n"
		}
		said = strings.ReplaceAll(said, "\n         ", " ")
		for _, want := range tc.want {
			if !regexp.MustCompile(want).MatchString(said) {
				t.Errorf("%q, want %q", said, want)
			}
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	if len(files) != 5 {
		t.Fatalf("%d files: %q", len(files), files)
	}
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		out, errs, code := webhook(t, "", "verify", "stripe", path, "--secret", "{env.TEST_STRIPE}", "--now", "file")
		_, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".http"), "-")
		want := exitNot
		if name == "genuine" || name == "duplicate" {
			want, name = exitOK, "genuine"
		}
		if code != want || !strings.Contains(out, name) {
			t.Errorf("%s: verify says %d, %s%s", path, code, out, errs)
		}
	}
}

// TestListenSeveral: each sender has a path and its own key, and the app gets it below the
// path of --to. A line of JSON says the same.
func TestListenSeveral(t *testing.T) {
	t.Setenv("STRIPE_SECRET", stripeSecret)
	t.Setenv("GITHUB_SECRET", stripeSecret)
	if _, errs, code := webhook(t, "", "listen", "stripe", "stripe"); code != exitUsage || !strings.Contains(errs, "stripe twice: name each sender once") {
		t.Errorf("one twice: exit %d, %s", code, errs)
	}
	paths := make(chan string, 9)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths <- r.Header.Get("Webhook-Verified") + " " + r.RequestURI
	}))
	defer app.Close()
	url, lines, end := listening(t, "stripe", "github", "--to", app.URL+"/in/", "--json")
	post := func(path, header, value, body string) map[string]any {
		t.Helper()
		go func() {
			r, _ := http.NewRequest(http.MethodPost, url+path, strings.NewReader(body))
			r.Header.Set(header, value)
			r.Header.Set("X-GitHub-Event", "push\u202e")
			if answer, err := http.DefaultClient.Do(r); err == nil {
				answer.Body.Close()
			}
		}()
		var got map[string]any
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &got) != nil {
			t.Fatalf("%s: no JSON: %q", path, lines.Text())
		}
		return got
	}
	mac := hmac.New(sha256.New, []byte(stripeSecret))
	mac.Write([]byte(`{}`))
	hub := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	for _, tc := range []struct {
		path, header, value, body string
		want                      map[string]any
		app                       string
	}{
		{"/stripe", "Stripe-Signature", signatureOf(t, time.Now()), stripeBody, map[string]any{"sender": "stripe", "outcome": "genuine", "path": "/stripe", "method": "POST", "status": 200.0, "delivery_id": "evt_1", "bytes": float64(len(stripeBody))}, "stripe /in/stripe"},
		{"/github/b%20c?d=%20e", "X-Hub-Signature-256", hub, "{}", map[string]any{"sender": "github", "outcome": "genuine"}, "github /in/github/b%20c?d=%20e"},
		{"/github", "Stripe-Signature", signatureOf(t, time.Now()), stripeBody, map[string]any{"sender": "github", "outcome": "missing_signature", "status": 401.0}, ""},
		{"/stripe-test", "X-Hub-Signature-256", hub, "{}", map[string]any{"sender": nil, "outcome": "no_sender", "status": 404.0, "meaning": "no sender has this path, 404: the senders are /stripe, /github"}, ""},
	} {
		got := post(tc.path, tc.header, tc.value, tc.body)
		for name, value := range tc.want {
			if got[name] != value {
				t.Errorf("%s: %s is %v, want %v in %v", tc.path, name, got[name], value, got)
			}
		}
		select {
		case path := <-paths:
			if path != tc.app {
				t.Errorf("%s: the app got %q, want %q", tc.path, path, tc.app)
			}
		default:
			if tc.app != "" {
				t.Errorf("%s: the app got nothing", tc.path)
			}
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

// TestListenTo: with one sender the app gets the path of --to, whatever was called.
func TestListenTo(t *testing.T) {
	for to, want := range map[string]string{"": "/any/path?a=%2F", "/": "/any/path?a=%2F", "/web%20hooks/": "/web%20hooks/?a=%2F"} {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != want {
				t.Errorf("--to %q: the app got %s, want %s", to, r.RequestURI, want)
			}
		}))
		url, lines, end := listening(t, "stripe", "--secret", stripeSecret, "--to", app.URL+to)
		go func() {
			r, _ := http.NewRequest(http.MethodPost, url+"/any/path?a=%2F", strings.NewReader(`{"type":"paid","id":"evt_1"}`))
			f := schemeFlags{secrets: []string{stripeSecret}}
			s, _, _ := f.resolve([]string{"stripe"})
			req := &verifier.Request{Header: r.Header}
			_ = s.verifier.Sign(req, "", time.Now(), []byte(`{"type":"paid","id":"evt_1"}`))
			if answer, err := http.DefaultClient.Do(r); err == nil {
				answer.Body.Close()
			}
		}()
		if !lines.Scan() || !strings.Contains(lines.Text(), "POST /any/path?a=%2F, 28 bytes, paid, ") || !lines.Scan() || !strings.Contains(lines.Text(), "genuine: the app answered 200") {
			t.Errorf("--to %q: %q", to, lines.Text())
		}
		go func() {
			for lines.Scan() {
			}
		}()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		app.Close()
	}
}

// TestListenSaysThatTheAppIsDown: the error behind the answer is told, not only its status.
func TestListenSaysThatTheAppIsDown(t *testing.T) {
	url, lines, _ := listening(t, "stripe", "--secret", stripeSecret, "--to", "http://"+freePort(t))
	signature := signatureOf(t, time.Now())
	go func() {
		r, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(stripeBody))
		r.Header.Set("Stripe-Signature", signature)
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
		}
	}()
	head, report := lines.Scan(), lines.Scan()
	if !head || !report || !strings.Contains(lines.Text(), "genuine, but no answer from the app, 502: dial tcp") {
		t.Errorf("%q", lines.Text())
	}
	go func() {
		for lines.Scan() {
		}
	}()
}

// signatureOf is the header's value for stripeBody.
func signatureOf(t *testing.T, at time.Time) string {
	t.Helper()
	f := schemeFlags{secrets: []string{stripeSecret}}
	s, _, err := f.resolve([]string{"stripe"})
	if err != nil {
		t.Fatal(err)
	}
	req := &verifier.Request{Header: make(http.Header)}
	if err := s.verifier.Sign(req, "", at, []byte(stripeBody)); err != nil {
		t.Fatal(err)
	}
	return req.Header["Stripe-Signature"][0]
}

func TestListenUsage(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	blocked := file(t, "a file", "")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no key":          {[]string{"stripe"}, "no key: add --secret"},
		"keys of several": {[]string{"stripe", "github", "--secret", "a"}, "of several senders: set {env.STRIPE_SECRET}"},
		"no key in env":   {[]string{"stripe", "github"}, "the environment variable STRIPE_SECRET is not set"},
		"not a port":      {[]string{"stripe", "--secret", "a", "--addr", "nine"}, "--addr: write a port, such as 9000"},
		"no port":         {[]string{"stripe", "--secret", "a", "--addr", "localhost:"}, "--addr: write a port"},
		"a query to":      {[]string{"stripe", "--secret", "a", "--to", "http://localhost:3000/hooks?a=b"}, "--to: write the app's address"},
		"another scheme":  {[]string{"stripe", "--secret", "a", "--to", "ftp://localhost"}, "--to: write the app's address"},
		"no folder":       {[]string{"stripe", "--secret", "a", "--save", filepath.Join(blocked, "x")}, "--save: "},
		"a port in use":   {[]string{"stripe", "--secret", "a", "--addr", taken.Addr().String()}, "cannot listen tcp " + taken.Addr().String() + ": bind: "},
		"an address away": {[]string{"stripe", "--secret", "a", "--addr", "192.0.2.1:9000"}, "cannot listen tcp 192.0.2.1:9000: bind: "},
	} {
		out, errs, code := webhook(t, "", append([]string{"listen"}, tc.args...)...)
		if code != exitUsage || !strings.Contains(errs, tc.want) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%s: exit %d, %q, %q; want 2 and %q", name, code, out, errs, tc.want)
		}
	}
}

func TestListenDescribes(t *testing.T) {
	for addr, want := range map[string]string{
		":9000":          "http://localhost:9000, and on all other addresses of this machine,",
		"0.0.0.0:9000":   "http://localhost:9000, and on all other addresses of this machine,",
		"[::]:9000":      "http://localhost:9000, and on all other addresses of this machine,",
		"127.0.0.1:9000": "http://127.0.0.1:9000",
		"[::1]:9000":     "http://[::1]:9000",
	} {
		if got := spell(addr); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// TestOutcome: the verdicts that TestListen does not reach.
func TestOutcome(t *testing.T) {
	w := &reporter{recorder: new(recorder)}
	for name, tc := range map[string]struct {
		observation
		colour, want, file string
	}{
		"no app":     {observation{verified: true, status: 200, key: "1"}, green, "genuine: answered 200, key 1", "genuine"},
		"a dead app": {observation{verified: true, status: 502, key: "1", err: errors.New("dial tcp: refused")}, yellow, "genuine, but no answer from the app, 502: dial tcp: refused, key 1", "genuine"},
		"in flight":  {observation{verified: true, status: 503, key: "1", id: "e\x1b", err: errors.New("overloaded: the bodies in memory have reached max_buffered"), reason: "overloaded"}, yellow, `genuine, but not now: overloaded: the bodies in memory have reached max_buffered, key 1, delivery id "e\x1b"`, "genuine"},
		"handshake":  {observation{handshake: true, status: 200}, yellow, "handshake: answered 200", "handshake"},
		"observed":   {observation{reason: "stale_timestamp", status: 200}, red, "not genuine, forwarded (observe): stale_timestamp: the app answered 200", "stale_timestamp"},
		"too large":  {observation{reason: "body_too_large", status: 413, err: (&caddymodule.Sender{Methods: []string{"POST"}, MaxBody: 9}).Limits("POST", "/", 12)[0]}, red, "refused, 413: body_too_large: larger than max_body, 9 bytes: if the sender's page says that this is normal, write: max_body 1KiB", "body_too_large"},
	} {
		tc.observation.name = "stripe"
		colour, text := w.verdict(&tc.observation)
		if colour != tc.colour || text != tc.want || tc.observation.word() != tc.file {
			t.Errorf("%s: %s %q %s, want %s %q %s", name, colour, text, tc.observation.word(), tc.colour, tc.want, tc.file)
		}
	}
	w.recorder.missed.Store(3)
	if _, text := w.verdict(&observation{name: "stripe", handshake: true}); !strings.HasSuffix(text, " (3 more requests arrived too fast to be shown)") {
		t.Errorf("a flood: %q", text)
	}
}

func TestColours(t *testing.T) {
	if s := (&reporter{colour: true}).paint(red, "no"); s != "\x1b[31mno\x1b[0m" {
		t.Errorf("%q", s)
	}
	if s := new(reporter).paint(red, "no"); s != "no" {
		t.Errorf("%q", s)
	}
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	regular, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	t.Setenv("TERM", "xterm")
	for _, tc := range []struct {
		w       io.Writer
		noColor string
		want    bool
	}{{terminal, "", true}, {terminal, "1", false}, {regular, "", false}, {new(bytes.Buffer), "", false}} {
		t.Setenv("NO_COLOR", tc.noColor)
		if got := mayColour(tc.w); got != tc.want {
			t.Errorf("%T, NO_COLOR=%q: %v", tc.w, tc.noColor, got)
		}
	}
}
