package integration

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// webhook runs "caddy webhook" with something on its standard input.
func webhook(t testing.TB, dir, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"webhook"}, args...)...)
	cmd.Env, cmd.Dir, cmd.Stdin = caddyEnv(dir, nil), dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), e.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

// TestSignAndVerify passes the output of sign to verify, in every format, and alters
// it.
func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	needs(t, "openssl")
	dir := t.TempDir()
	for _, args := range []string{"genpkey -algorithm ed25519 -out key.pem", "pkey -in key.pem -pubout -out public.pem"} {
		cmd := exec.Command("openssl", strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", args, err, out)
		}
	}
	type keys struct{ sign, verify []string }
	senders := map[string]keys{"discord": {
		[]string{"--private-key", "{file.key.pem}"}, []string{"--public-key", "{file.public.pem}"},
	}}
	for _, id := range []string{"stripe", "github", "slack", "shopify", "standard_webhooks", "svix", "aryeo", "yapily", "square", "trello", "hubspot", "xero", "messagebird_jwt"} {
		p, err := providers.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		key := []string{"--secret", p.ExampleSecret()}
		for name, value := range p.ExampleParams() {
			key = append(key, "--param", name+"="+value)
		}
		senders[id] = keys{key, key}
	}
	const body = "{\"a\": \"é\", \"id\":\"evt_1\"}\r\n"
	for id, key := range senders {
		for _, format := range []string{"http", "json", "curl"} {
			made, errs, code := webhook(t, dir, body, append([]string{"sign", id, "--body-file", "-", "--format", format}, key.sign...)...)
			if code != 0 {
				t.Errorf("sign %s: exit %d, %s", id, code, errs)
				continue
			}
			if out, errs, code := webhook(t, dir, made, append([]string{"verify", id, "-"}, key.verify...)...); code != 0 || !strings.HasPrefix(out, "genuine: key 1") {
				t.Errorf("verify %s of %s: exit %d, %s%s", id, format, code, out, errs)
			}
			if format != "http" {
				continue
			}
			altered := strings.Replace(made, "evt_1", "evt_2", 1)
			if out, errs, code := webhook(t, dir, altered, append([]string{"verify", id, "-"}, key.verify...)...); code != 1 || !strings.HasPrefix(out, "not genuine: ") {
				t.Errorf("verify %s, altered: exit %d, %s%s", id, code, out, errs)
			}
		}
	}
}

// TestSendToGateway tests a real deployment with its own Caddyfile.
func TestSendToGateway(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook /hooks/stripe stripe {env.STRIPE_KEY}\nverify_webhook /hooks/github github {env.GITHUB_KEY}\nreverse_proxy APP"})
	for _, name := range []string{"stripe", "github"} {
		to := "http://" + g.address + "/hooks/" + name
		for args, want := range map[string]string{
			"":                   ": 200 OK in ",
			"--times 2":          "duplicate: already accepted by the app\n",
			"--tamper body":      ": 401 Unauthorized in ",
			"--tamper signature": ": 401 Unauthorized in ",
			"--tamper secret":    ": 401 Unauthorized in ",
		} {
			all := append([]string{"send", "--config", g.caddyfile(), "--name", name, "--to", to}, strings.Fields(args)...)
			out, errs, code := webhook(t, g.dir, "", all...)
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s %s: exit %d, %s%s; want %q", name, args, code, out, errs, want)
			}
		}
	}
	to := "http://" + g.address + "/hooks/stripe"
	if out, errs, code := webhook(t, g.dir, "", "send", "--config", "Caddyfile", "--name", "stripe", "--to", to, "--age", "10m"); code != 0 || !strings.Contains(out, ": 401 ") {
		t.Errorf("--age: exit %d, %s%s", code, out, errs)
	}
	if out, errs, code := webhook(t, g.dir, "", "send", "stripe", "--secret", "another", "--to", to); code != 1 || !strings.Contains(out, ": 401 ") {
		t.Errorf("another secret: exit %d, %s%s; want 1 and 401", code, out, errs)
	}
}

// TestSendTellsTheTruth: what looks like a success and is none ends with 1.
func TestSendTellsTheTruth(t *testing.T) {
	t.Parallel()
	app := newApp()
	defer app.Close()
	g := start(t, setup{whole: strings.ReplaceAll(`http://localhost:PORT {
	bind 127.0.0.1
	verify_webhooks /hooks/* {
		sender github {env.GITHUB_KEY} {
			reject_status 503
		}
		sender github {env.GITHUB_KEY} {
			name every
			dedupe off
		}
		sender github {env.GITHUB_KEY} {
			name observed
			observe
		}
		sender zoom {env.GITHUB_KEY}
		handle /hooks/observed {
			@unverified vars {http.verify_webhook.verified} false
			respond @unverified 401
			reverse_proxy APP
		}
		reverse_proxy APP
	}
}`, "APP", app.address), env: nil})
	port := g.address[strings.LastIndex(g.address, ":"):]
	for _, tc := range []struct {
		sender, host, path, args string
		code                     int
		want                     string
	}{
		{"github", "localhost", "github", "--event push --parallel 8", 0, ": duplicate: "},
		{"github", "127.0.0.1", "github", "", 1, "NOT FROM A GATEWAY"},
		{"github", "localhost", "github", "--tamper body", 0, "1: 503 Service Unavailable in "},
		{"github", "localhost", "every", "--times 2", 1, "A COPY WENT TO THE APP"},
		{"github", "localhost", "observed", "--tamper body", 1, "REFUSED, BUT NOT BY THE GATEWAY"},
		{"zoom", "localhost", "zoom", "", 0, "Webhook-Verified: zoom"},
		{"zoom", "localhost", "zoom", "--times 2", 1, "A COPY WENT TO THE APP"},
	} {
		args := append([]string{"send", tc.sender, "--secret", "{env.GITHUB_KEY}", "--to", "http://" + tc.host + port + "/hooks/" + tc.path}, strings.Fields(tc.args)...)
		if out, errs, code := webhook(t, g.dir, "", args...); code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%s at %s: exit %d, %s%s; want %d, %q", tc.args, tc.path, code, out, errs, tc.code, tc.want)
		}
	}
}

// TestListenForCurl pastes the output of sign into a shell, in front of a listen that
// forwards to an app.
func TestListenForCurl(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	needs(t, "curl")
	app := newApp()
	defer app.Close()
	dir, addr := t.TempDir(), freeAddress()
	binary, err := caddyBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "webhook", "listen", "stripe", "--secret", "{env.STRIPE_KEY}", "--addr", addr, "--to", "http://"+app.address, "--save", "deliveries", "--page", "off")
	cmd.Env, cmd.Dir = caddyEnv(dir, nil), dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 64)
	go func() {
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			lines <- scanner.Text()
		}
		close(lines)
	}()
	want := func(text string) {
		t.Helper()
		if line := next(t, text, lines); !strings.Contains(line, text) {
			t.Errorf("listen prints %q, want %q; %s", line, text, errs.String())
		}
	}
	want("listening on http://" + addr + " for stripe")
	const body = "{\"id\":\"it's evt_1\"}\r\n"
	if err := os.WriteFile(filepath.Join(dir, "it's a body.json"), []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"it's a body.json", "-"} {
		script, problem, code := webhook(t, dir, body, "sign", "stripe", "--secret", "{env.STRIPE_KEY}", "--body-file", file, "--url", "http://"+addr+"/a.b/c?case=curl&x=[1]", "--format", "curl")
		if code != 0 {
			t.Fatal(problem)
		}
		shell := exec.CommandContext(t.Context(), "bash", "-c", script)
		shell.Dir = dir
		out, err := shell.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 200 ") {
			t.Errorf("curl: %v\n%s\n%s", err, out, script)
		}
	}
	want(" POST /a.b/c?case=curl&x=[1], 21 bytes, ")
	want("genuine: the app answered 200, key 1")
	want("saved: ")
	want(" POST /a.b/c?case=curl&x=[1], 21 bytes, ")
	want("duplicate: answered 200, already accepted by the app")
	want("it's evt_1")
	want("saved: ")
	got := app.got("curl")
	if len(got) != 1 || string(got[0].Body) != body || got[0].Target != "/a.b/c?case=curl&x=[1]" {
		t.Errorf("the app got %+v, want the body once, byte for byte", got)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for range lines {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("listen ends with %v", err)
	}
	if errs.Len() > 0 {
		t.Errorf("listen writes to standard error: %s", errs.String())
	}
	saved, _ := filepath.Glob(filepath.Join(dir, "deliveries", "*-genuine.http"))
	if len(saved) != 1 {
		t.Fatalf("saved: %q", saved)
	}
	began := time.Now()
	out, problem, code := webhook(t, dir, "", "verify", "stripe", saved[0], "--secret", "{env.STRIPE_KEY}", "--now", "file")
	if code != 0 || !strings.HasPrefix(out, "genuine: key 1") {
		t.Errorf("verify of what was saved: exit %d, %s%s", code, out, problem)
	}
	t.Logf("verify took %s, process start included", time.Since(began).Round(time.Millisecond))
	left, _ := os.ReadDir(dir)
	for _, entry := range left {
		if name := entry.Name(); name != "deliveries" && !strings.HasPrefix(name, "it's") {
			t.Errorf("listen leaves %s behind", name)
		}
	}
}
