package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/certtest"
)

// natsFiles is the folder of the files for TLS in the documentation.
const natsFiles = "/etc/caddy/nats/"

// writeNATSFiles writes those files: the authority of the servers, and a new client
// certificate with its key. It returns the authority of that.
func writeNATSFiles(t testing.TB, dir, ca string) (clients string) {
	t.Helper()
	clients, cert, key := certtest.New(t)
	for name, from := range map[string]string{"ca.pem": ca, "gateway.pem": cert, "gateway-key.pem": key} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return clients
}

// TestDocumentedNATSWithClientCertificates runs the example of docs/inbox.md against a
// server that verifies its clients. The certificate is renewed while it runs, under another
// authority: without a reload, the gateway is back with it, and delivers what it had stored.
func TestDocumentedNATSWithClientCertificates(t *testing.T) {
	t.Parallel()
	var example string
	for _, b := range codeBlocks(t) {
		if strings.HasPrefix(b.place, "docs/inbox.md:") && strings.Contains(b.text, natsFiles) {
			example = b.text
		}
	}
	dir := t.TempDir()
	ca, cert, key := certtest.New(t)
	settings := func(clients string) string {
		return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, clients)
	}
	server := startNATS(t, settings(writeNATSFiles(t, dir, ca)))
	global := strings.NewReplacer(natsFiles, filepath.ToSlash(dir)+"/", "tls://nats-1:4222", "tls://"+server.address).Replace(example)
	global = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(global), "{"), "}")
	app := freeAddress()
	g := startInbox(t, setup{level: "INFO", global: global, site: inboxSite("inbox", app, "name github")})
	sent := make(map[string]bool)
	store := func(id string) {
		t.Helper()
		sent[id] = true
		if a := g.store(t, id); a.header.Get("Webhook-Stored") != "true" {
			t.Errorf("%s: answered %s, want it stored", id, a.outside())
		}
	}
	store("before")

	server.kill()
	clients := writeNATSFiles(t, dir, ca)
	server.run(t, settings(clients))
	g.awaitInbox(t)
	store("after")
	taken := takeAt(t, app)
	eventually(t, "both are delivered", func() bool { return len(taken()) >= len(sent) })
	wantOnce(t, taken(), sent)
}
