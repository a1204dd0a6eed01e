package integration

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	snsHost  = "sns.us-east-1.amazonaws.com"
	keysHost = "keys.sender.example"
	topic    = "arn:aws:sns:us-east-1:123456789012:orders"
)

// A vendor is a sender's own server, which the gateway reaches through a proxy
// that maps every host to it, and trusts by SSL_CERT_FILE.
type vendor struct {
	env   []string
	down  atomic.Bool
	mu    sync.Mutex
	pages map[string]string // by path and query
	asked []string          // hosts with path and query, in order
	dials []string          // hosts that the proxy was asked for
}

func newVendor(t testing.TB, hosts ...string) *vendor {
	t.Helper()
	v := &vendor{pages: make(map[string]string)}
	ca, caKey := certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, leafKey := certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts}, ca, caKey)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, pemOf(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(v)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	proxy := httptest.NewServer(v.proxy(s.Listener.Addr().String()))
	t.Cleanup(proxy.Close)
	v.env = []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY=", "SSL_CERT_FILE=" + roots}
	return v
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, r.Host+r.RequestURI)
	page, ok := v.pages[r.RequestURI]
	switch {
	case v.down.Load():
		w.WriteHeader(http.StatusBadGateway)
	case !ok || r.Method != http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, page)
	}
}

// proxy answers CONNECT with a tunnel to the vendor, whatever the host.
func (v *vendor) proxy(address string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.dials = append(v.dials, r.Host)
		v.mu.Unlock()
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		there, err := net.Dial("tcp", address)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, bufio.NewReader(buffered)) }()
		_, _ = io.Copy(here, there)
	}
}

func (v *vendor) publish(path, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pages[path] = text
}

// seen returns what was asked for, and how many tunnels there were.
func (v *vendor) seen() (asked []string, dials int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.asked...), len(v.dials)
}

func certify(t testing.TB, template, parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	return certifyKey(t, template, parent, &key.PublicKey, signer), key
}

func certifyKey(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// An snsSigner signs as Amazon SNS documents it.
type snsSigner struct {
	key  *rsa.PrivateKey
	path string // of its certificate
}

func (v *vendor) newSNSSigner(t testing.TB, name string, until time.Time) *snsSigner {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &snsSigner{key, "/SimpleNotificationService-" + name + strings.Repeat("0", 32-len(name)) + ".pem"}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until}
	v.publish(s.path, string(pemOf(certifyKey(t, template, template, &key.PublicKey, key))))
	return s
}

// message makes a delivery; change is applied before it is signed.
func (s *snsSigner) message(t testing.TB, change map[string]string) map[string]string {
	t.Helper()
	m := map[string]string{
		"Type": "Notification", "MessageId": newCase(), "TopicArn": topic, "Message": "an order\nwith lines", "Subject": "order",
		"Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": "2",
		"SigningCertURL": "https://" + snsHost + s.path, "UnsubscribeURL": "https://" + snsHost + "/?Action=Unsubscribe",
	}
	for name, value := range change {
		m[name] = value
	}
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
		delete(m, "Subject")
		delete(m, "UnsubscribeURL")
	}
	text := ""
	for _, name := range names {
		text += name + "\n" + m[name] + "\n"
	}
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return m
}

func snsPost(t testing.TB, m map[string]string) message {
	t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return message{path: "/sns", header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}, "X-Amz-Sns-Message-Type": {m["Type"]}}, body: body}
}

// snsSite refuses with 401, not 503 as its preset: a forgery is told from a key that is missing.
const snsSite = "verify_webhook /sns aws_sns {\nreject_status 401\nparam topic_arn " + topic + "\nparam confirm_subscription on\n}\nreverse_proxy APP"

// TestSNS takes deliveries of Amazon SNS end to end: the certificate is fetched
// from the host that SNS has, over TLS, once.
func TestSNS(t *testing.T) {
	t.Parallel()
	v := newVendor(t, snsHost)
	one := v.newSNSSigner(t, "one", time.Now().Add(time.Hour))
	g := start(t, setup{site: snsSite, env: v.env})
	if asked, dials := v.seen(); dials > 0 {
		t.Fatalf("fetched before any delivery: %q", asked)
	}

	first := one.message(t, nil)
	if a, got := g.send(t, "HTTP/1.1", snsPost(t, first)); a.status != http.StatusOK || len(got) != 1 || string(got[0].Body) != string(snsPost(t, first).body) {
		t.Fatalf("the first delivery: %d, the app got %d", a.status, len(got))
	}
	if a, got := g.send(t, "HTTP/2.0", snsPost(t, one.message(t, nil))); a.status != http.StatusOK || len(got) != 1 {
		t.Errorf("the second: %d", a.status)
	}
	if a, got := g.send(t, "HTTP/1.1", snsPost(t, first)); a.header.Get("Webhook-Duplicate") != "true" || len(got) > 0 {
		t.Errorf("a copy of the first: %d %v", a.status, a.header)
	}
	asked, dials := v.seen()
	if len(asked) != 1 || asked[0] != snsHost+one.path {
		t.Errorf("asked for %q, want the certificate once", asked)
	}

	for name, change := range map[string]map[string]string{
		"a foreign host":     {"SigningCertURL": "https://sns.us-east-1.amazonaws.com.evil.example" + one.path},
		"a bucket":           {"SigningCertURL": "https://sns.s3.amazonaws.com" + one.path},
		"a loopback address": {"SigningCertURL": "https://127.0.0.1" + one.path},
		"plain http":         {"SigningCertURL": "http://" + snsHost + one.path},
		"another topic":      {"TopicArn": topic + "-of-theirs", "SigningCertURL": "https://" + snsHost + "/other.pem"},
		"version 1":          {"SignatureVersion": "1", "SigningCertURL": "https://" + snsHost + "/other.pem"},
		"an old one":         {"Timestamp": time.Now().Add(-3 * time.Hour).UTC().Format(time.RFC3339)},
	} {
		if a, got := g.send(t, "HTTP/1.1", snsPost(t, one.message(t, change))); a.status != http.StatusUnauthorized || len(got) > 0 {
			t.Errorf("%s: %d, the app got %d", name, a.status, len(got))
		}
	}
	altered := one.message(t, nil)
	altered["Message"] += "!"
	if a, got := g.send(t, "HTTP/1.1", snsPost(t, altered)); a.status != http.StatusUnauthorized || len(got) > 0 {
		t.Errorf("an altered message: %d", a.status)
	}
	if now, n := v.seen(); n != dials {
		t.Errorf("forgeries had the gateway fetch %q", now)
	}
}

// TestSNSRestart: the certificate that was in use before a restart is fetched
// before any delivery names it, and forgeries cannot keep it away.
func TestSNSRestart(t *testing.T) {
	t.Parallel()
	v := newVendor(t, snsHost)
	one := v.newSNSSigner(t, "one", time.Now().Add(time.Hour))
	dir := t.TempDir()
	begin := func() *gateway {
		a := newApp()
		g, err := launch(dir, a, setup{site: snsSite, env: v.env})
		if err != nil {
			a.Close()
			t.Fatal(err)
		}
		return g
	}
	g := begin()
	if s := g.status(t, snsPost(t, one.message(t, nil))); s != http.StatusOK {
		t.Fatal(s)
	}
	stored := filepath.Join(dir, "data", "caddy", "verify_webhook", "certificates", "*.json")
	eventually(t, "the address in Caddy's storage", func() bool { files, _ := filepath.Glob(stored); return len(files) == 1 })
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	g = begin()
	defer func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the certificate", func() bool { asked, _ := v.seen(); return len(asked) == 2 })
	v.down.Store(true)
	g.comesTo(t, "a delivery while the vendor is down", http.StatusOK, snsPost(t, one.message(t, nil)))
}

// TestSNSVendorDown: a certificate that cannot be had loses no delivery.
func TestSNSVendorDown(t *testing.T) {
	t.Parallel()
	v := newVendor(t, snsHost)
	one := v.newSNSSigner(t, "one", time.Now().Add(time.Hour))
	two := v.newSNSSigner(t, "two", time.Now().Add(time.Hour))
	old := v.newSNSSigner(t, "old", time.Now().Add(-time.Hour))
	g := start(t, setup{site: snsSite, env: v.env})
	if s := g.status(t, snsPost(t, one.message(t, nil))); s != http.StatusOK {
		t.Fatal(s)
	}
	v.down.Store(true)
	m := snsPost(t, two.message(t, nil))
	a, got := g.send(t, "HTTP/1.1", m)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || len(got) > 0 {
		t.Errorf("a new certificate while the vendor is down: %d %v", a.status, a.header)
	}
	g.wantLog(t, "cannot fetch the sender's key")
	if n := g.metric(t, `caddy_verify_webhook_key_errors_total{name="aws_sns"}`); n < 1 {
		t.Errorf("key_errors_total: %v", n)
	}
	g.reload(t, "header X-Generation 2\n"+snsSite)
	if s := g.status(t, snsPost(t, one.message(t, nil))); s != http.StatusOK {
		t.Errorf("a certificate at hand, after a reload: %d", s)
	}
	v.down.Store(false)
	g.comesTo(t, "the vendor is back", http.StatusOK, m)
	if s := g.status(t, snsPost(t, old.message(t, nil))); s != http.StatusServiceUnavailable {
		t.Errorf("a certificate that has expired: %d", s)
	}
}

// TestSNSConfirmation: the gateway visits the address of a signed confirmation,
// once, and none that anyone else names.
func TestSNSConfirmation(t *testing.T) {
	t.Parallel()
	v := newVendor(t, snsHost)
	one := v.newSNSSigner(t, "one", time.Now().Add(time.Hour))
	visits := func(query string) (n int) {
		asked, _ := v.seen()
		for _, a := range asked {
			if strings.HasPrefix(a, snsHost+"/?") && strings.Contains(a, query) {
				n++
			}
		}
		return n
	}
	confirmation := func(kind, address string) message {
		return snsPost(t, one.message(t, map[string]string{"Type": kind, "Token": "t0ken", "SubscribeURL": address, "Message": "visit it"}))
	}
	const query = "/?Action=ConfirmSubscription&Token=t0ken"
	v.publish(query, "<ConfirmSubscriptionResponse/>")
	g := start(t, setup{site: snsSite + "\nverify_webhook /quiet aws_sns {\nname quiet\nparam topic_arn " + topic + "\n}", env: v.env})

	m := confirmation("SubscriptionConfirmation", "https://"+snsHost+query)
	for range 2 {
		if a, got := g.send(t, "HTTP/1.1", m); a.status != http.StatusOK || a.body != "" || len(got) > 0 {
			t.Errorf("a confirmation: %d %q, the app got %d", a.status, a.body, len(got))
		}
	}
	if n := visits("Action=ConfirmSubscription"); n != 1 {
		t.Errorf("visited %d times, want once", n)
	}
	forged := m
	forged.body = []byte(strings.Replace(string(m.body), "t0ken", "other", 1))
	if s := g.status(t, forged); s != http.StatusUnauthorized {
		t.Errorf("an altered confirmation: %d", s)
	}
	for _, address := range []string{"https://sns.us-east-1.amazonaws.com.evil.example" + query, "http://" + snsHost + query, "https://" + snsHost + "/x" + query, "https://127.0.0.1" + query} {
		if s := g.status(t, confirmation("SubscriptionConfirmation", address)); s != http.StatusUnauthorized {
			t.Errorf("%s: %d", address, s)
		}
	}
	if s := g.status(t, confirmation("SubscriptionConfirmation", "https://"+snsHost+"/?Action=Fails")); s != http.StatusServiceUnavailable {
		t.Errorf("an address that fails: %d", s)
	}
	if a, got := g.send(t, "HTTP/1.1", confirmation("UnsubscribeConfirmation", "https://"+snsHost+query)); a.status != http.StatusOK || len(got) != 1 {
		t.Errorf("the end of a subscription is for the app: %d, it got %d", a.status, len(got))
	}
	quiet := confirmation("SubscriptionConfirmation", "https://"+snsHost+query)
	quiet.path = "/quiet"
	if a, got := g.send(t, "HTTP/1.1", quiet); a.status != http.StatusOK || len(got) != 1 {
		t.Errorf("without the param it is for the app: %d, it got %d", a.status, len(got))
	}
	if n := visits("Action=ConfirmSubscription"); n != 1 {
		t.Errorf("in the end visited %d times, want once", n)
	}
}

// TestPublishedSet: a set of keys is fetched at the start, and again for a
// delivery that needs another key.
func TestPublishedSet(t *testing.T) {
	t.Parallel()
	v := newVendor(t, keysHost)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	site := "verify_webhook /signed {\nname signed\nalgorithm ed25519\nsignature header X-Signature base64\npublic_key https://" + keysHost + "/jwks.json\ndedupe off\n}\nreverse_proxy APP"
	m := message{path: "/signed", body: []byte(jsonBody), header: http.Header{"X-Signature": {base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(jsonBody)))}}}

	g := start(t, setup{site: site, env: v.env})
	eventually(t, "the set is asked for without a delivery", func() bool { asked, _ := v.seen(); return len(asked) > 0 })
	if s := g.status(t, m); s != http.StatusServiceUnavailable {
		t.Errorf("while there is no set: %d", s)
	}
	v.publish("/jwks.json", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}]}`)
	g.comesTo(t, "the set is there", http.StatusOK, m)
	asked, _ := v.seen()
	forged := m
	forged.body = []byte(jsonBody + " ")
	for i := range 20 {
		// 503 once the client's fetches are used up: the set may have changed since
		if s := g.status(t, forged); s != http.StatusUnauthorized && (i == 0 || s != http.StatusServiceUnavailable) {
			t.Errorf("a forgery: %d", s)
		}
	}
	if now, _ := v.seen(); len(now) > len(asked)+12 { // 6 a minute
		t.Errorf("forgeries had the set fetched %d times more", len(now)-len(asked))
	}
	if s := g.status(t, m); s != http.StatusOK {
		t.Errorf("after forgeries: %d", s)
	}

	_, before := v.seen()
	out, err := caddy(t, g.dir, v.env, "validate", "--adapter", "caddyfile", "--config", g.caddyfile())
	if _, after := v.seen(); err != nil || after != before {
		t.Errorf("validate: %v, fetched %d times: %s", err, after-before, out)
	}
}
