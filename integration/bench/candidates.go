package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A candidate is a way to put something in front of the app. Its texts hold APP, the
// app's address, SECRET, the sender's secret, and DIR, a folder of its own.
type candidate struct {
	name, about string
	provider    string // of its deliveries, default standard_webhooks
	verifies    bool
	first       bool   // answers a delivery before the app has it
	refuses     bool   // everything, with 401
	global      string // options of verify_webhook in the Caddyfile
	site        string // of the Caddyfile
	program     string // a build of cmd/caddy, default the environment's
	env         []string
	needs       string // a program of others
	module      string // a file of theirs
	keys        int    // secrets in SECRET, the last is the sender's
	tenants     int
	headers     int // of deliveries, beside those of the sender
	fill        int // deliveries that are done before
	tls         bool
	algorithm   verifier.Algorithm // of a private key, default a secret
	before      func(e *environment, s *server) error
	start       func(e *environment, s *server) error // default: Caddy
}

const (
	plainly  = "reverse_proxy APP"
	buffered = "reverse_proxy APP {\nrequest_buffers 2MiB\n}"
	directly = "reverse_proxy APP {\ntransport verify_webhook\n}"
	redisURL = "store redis {\naddress BESIDE\nnamespace bench\n}"
	inboxAt  = "inbox bolt {\npath DIR/inbox.db\nmax_size 8GiB\n}"
)

// ours is the site that the documentation recommends.
func ours(provider, options, rest string) string {
	return "verify_webhooks /hooks/* {\nsender " + provider + " {\nname shop\n" + options + "\n}\n" + rest + "\n}\nrespond 404"
}

const standard = "standard_webhooks SECRET"

// candidates lists them in the order of the tables; the first is what all are compared
// with.
var candidates = []candidate{
	{name: "plain", about: "Caddy's `reverse_proxy`; nothing is verified", site: plainly},
	{name: "plain-buffers", about: "`plain` with `request_buffers 2MiB`", site: buffered},
	{name: "plain-direct", about: "`plain` with `transport verify_webhook`", site: directly},
	{name: "memory", about: "ours: verified, deduplicated in memory", verifies: true, site: ours(standard, "", plainly)},
	{name: "memory-buffers", about: "`memory` with `request_buffers 2MiB`", verifies: true, site: ours(standard, "", buffered)},
	{name: "memory-direct", about: "`memory` with `transport verify_webhook`", verifies: true, site: ours(standard, "", directly)},
	{name: "memory-1m", about: "`memory` with a million done deliveries in it", verifies: true, fill: 1_000_000, global: roomFor(4_000_000), site: ours(standard, "", plainly)},
	{name: "memory-1m-direct", about: "`memory-1m` with `transport verify_webhook`", verifies: true, fill: 1_000_000, global: roomFor(4_000_000), site: ours(standard, "", directly)},
	{name: "no-dedupe", about: "ours with `dedupe off`", verifies: true, site: ours(standard, "dedupe off", plainly)},
	{name: "bolt", about: "ours with `store bolt`", verifies: true, global: "store bolt {\npath DIR/dedupe.db\n}", site: ours(standard, "", plainly)},
	{name: "redis", about: "ours with `store redis`, on the same machine", verifies: true, before: withRedis, global: redisURL, site: ours(standard, "", plainly)},
	{name: "inbox", about: "ours with `inbox`; the app is healthy", verifies: true, global: inboxAt, site: ours(standard, "inbox", plainly)},
	{name: "inbox-first", about: "ours with `inbox first`: stored, answered, then forwarded", verifies: true, first: true, global: inboxAt, site: ours(standard, "inbox first", plainly)},
	tenants(1), tenants(10_000),
	{name: "nginx", about: "nginx `proxy_pass`; nothing is verified", needs: "nginx", start: startNginx},
	{name: "nginx-njs", about: "nginx, the HMAC verified by njs; no dedupe", verifies: true, needs: "nginx", module: njsModule, start: startNginx},
	{name: "webhook", about: "adnanh/webhook: GitHub's HMAC verified, then `true` is run", provider: "github", verifies: true, needs: "webhook", start: startWebhook},
}

// refusing is what Caddy's own part of a refusal costs.
var refusing = candidate{name: "respond", about: "Caddy's `respond 401`, which reads and verifies nothing: the least that a refusal costs", refuses: true, site: "respond 401"}

func roomFor(entries int) string { return fmt.Sprintf("store memory {\nmax_entries %d\n}", entries) }

// tenants is a candidate with a key file for each of n customers.
func tenants(n int) candidate {
	return candidate{
		name: fmt.Sprint("tenants-", n), about: fmt.Sprintf("ours, a key file for each of %d tenants", n),
		verifies: true, tenants: n, before: withTenants,
		site: ours("standard_webhooks", fmt.Sprintf("path /hooks/shop/*\ntenant {path.2} {\nmax_tenants %d\n}\nsecret {file.DIR/keys/{tenant}}", max(n, 100)), plainly),
	}
}

// senders are candidates with deliveries of different kinds of signatures.
var senders = []candidate{
	family("HMAC-SHA256", "standard_webhooks", ""),
	family("HMAC of the body", "github", ""),
	family("Ed25519", "standard_webhooks", verifier.Ed25519),
	family("ECDSA P-256", "sendgrid", verifier.ECDSAP256SHA256),
	family("RSA 2048", "bridge_xyz", verifier.RSAPKCS1v15SHA256),
	family("JWT", "vonage", ""),
	family("form", "twilio", ""),
}

func family(name, provider string, algorithm verifier.Algorithm) candidate {
	c := candidate{name: name + " (" + provider + ")", provider: provider, verifies: true, algorithm: algorithm}
	if algorithm == "" {
		c.site = ours(provider+" SECRET", "", plainly)
	} else {
		c.site = ours(provider, "public_key {file.DIR/key.pem}", plainly)
	}
	return c
}

// A server is a candidate that runs.
type server struct {
	*process
	candidate
	dir, address string
	apart        string   // where Caddy accepts deliveries without asking the app
	admin        string   // Caddy's, else empty
	beside       *process // what it needs
	besideAt     string   // its address
	key          string   // of the sender
	kind         verifier.KeyKind
}

// errMissing says that a candidate needs what is not installed.
var errMissing = errors.New("not installed")

// run starts a candidate, fills its store and has its tenants known.
func (e *environment) run(c candidate) (s *server, err error) {
	for _, program := range []string{c.needs, c.module} {
		if program == "" {
			continue
		}
		if _, err := exec.LookPath(program); err != nil && !exists(program) {
			return nil, fmt.Errorf("%s: %s is %w", c.name, program, errMissing)
		}
	}
	s = &server{candidate: c, key: e.secretText(c.provider)}
	if s.dir, err = os.MkdirTemp(e.dir, "candidate-"); err != nil {
		return nil, err
	}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := e.begin(s); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return s, nil
}

func (e *environment) begin(s *server) error {
	if s.algorithm != "" {
		if err := e.keyPair(s); err != nil {
			return err
		}
	}
	if s.before != nil {
		if err := s.before(e, s); err != nil {
			return err
		}
	}
	start := s.start
	if start == nil {
		start = startCaddy
	}
	if err := start(e, s); err != nil {
		return err
	}
	if err := s.listening(s.address); err != nil {
		return err
	}
	if err := e.fillStore(s, s.fill); err != nil {
		return err
	}
	return e.visitTenants(s)
}

// stop ends the server and what is beside it.
func (s *server) stop() {
	for _, p := range []*process{s.process, s.beside} {
		if p != nil {
			p.stop()
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return filepath.IsAbs(path) && err == nil
}

// replace puts addresses and keys into a candidate's text.
func (e *environment) replace(s *server, text string) string {
	secrets := s.key
	for n := 1; n < s.keys; n++ {
		secrets = e.otherSecret(s.provider, n) + " " + secrets
	}
	return strings.NewReplacer("APP", e.appAddress, "SECRET", secrets, "DIR", filepath.ToSlash(s.dir), "BESIDE", s.besideAt).Replace(text)
}
