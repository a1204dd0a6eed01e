// Package nats is the guest module inbox nats: the deliveries of all gateways in one
// JetStream stream.
//
// It is a package of its own, which the root package does not import, so that a Caddy
// without it does not link the NATS library.
package nats

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/nats"
	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
)

func init() {
	caddy.RegisterModule(new(Inbox))
}

// Inbox keeps deliveries in a JetStream stream that any number of gateways share. The
// server must be NATS 2.11 or later, with JetStream, and sync_interval: always unless
// there are replicas: see the documentation of package inbox/nats. {env.NAME} and
// {file./path} in addresses, names and paths are resolved when the configuration is
// loaded.
type Inbox struct {
	// URL is the address of one or more servers: nats://host:4222, or tls:// for TLS. A
	// password in it is percent-encoded. Required.
	URL []string `json:"url,omitempty"`
	// Stream is the name of the stream, created if it does not exist. Environments that
	// share a server need different ones. Default: verify_webhook_inbox.
	Stream string `json:"stream,omitempty"`
	// Replicas is the number of servers that keep each delivery: 1, 3 or 5. Default: that
	// of the stream, 1 for a new one.
	Replicas *int `json:"replicas,omitempty"`
	// CA is a PEM file of authorities to trust instead of the system's. All servers must
	// then offer TLS.
	CA string `json:"ca,omitempty"`
	// Cert and Key are PEM files of a client certificate, with its chain, and of its private
	// key, for servers that verify clients. They are read at each connection: renewed files
	// need no reload. All servers must then offer TLS. Default: none.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// Credentials is the path of a .creds file. Default: the user in the URLs.
	Credentials string `json:"credentials,omitempty"`
	// MaxSize is the number of bytes that deliveries may use. Default: 1073741824 (1 GiB).
	MaxSize *int64 `json:"max_size,omitempty"`
	// Concurrency is the number of attempts that one gateway makes at a time. Default: 16.
	Concurrency *int `json:"concurrency,omitempty"`

	tls         *tls.Config       // nil without CA and Cert
	authorities [sha256.Size]byte // digest of the CA file
}

// CaddyModule returns the Caddy module information.
func (*Inbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.verify_webhook.inboxes.nats", New: func() caddy.Module { return new(Inbox) }}
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Provision resolves and checks the options. It opens no connection.
func (i *Inbox) Provision(ctx caddy.Context) error {
	for _, server := range i.URL {
		keys.WarnIfExposed(ctx.Logger(i), "inbox nats: url", server)
	}
	err := cmp.Or(keys.Text("stream", &i.Stream), keys.Text("ca", &i.CA), keys.Text("cert", &i.Cert), keys.Text("key", &i.Key), keys.Text("credentials", &i.Credentials))
	for n := range i.URL {
		err = cmp.Or(err, keys.URL("url", &i.URL[n]))
	}
	if err != nil {
		return fmt.Errorf("inbox nats: %w", err)
	}
	switch {
	case len(i.URL) == 0:
		return errors.New("inbox nats: url: missing: write url nats://HOST:4222")
	case slices.ContainsFunc(i.URL, func(text string) bool { return !isServer(text) }):
		return errors.New("inbox nats: url: write nats://HOST:4222, or tls://HOST:4222 (not repeated here, as it may hold a password)")
	case i.Stream != "" && !streamName.MatchString(i.Stream):
		return errors.New("inbox nats: stream: write at most 64 letters, digits, dashes and underscores")
	case i.Replicas != nil && !slices.Contains([]int{1, 3, 5}, *i.Replicas):
		return fmt.Errorf("inbox nats: replicas: %d: write 1, 3 or 5", *i.Replicas)
	case i.MaxSize != nil && *i.MaxSize <= 0:
		return fmt.Errorf("inbox nats: max_size: %d: write a positive size, such as 1GiB", *i.MaxSize)
	case i.Concurrency != nil && *i.Concurrency <= 0:
		return fmt.Errorf("inbox nats: concurrency: %d: write a positive number, such as 16", *i.Concurrency)
	}
	if err := i.provisionTLS(); err != nil {
		return err
	}
	if i.Credentials != "" {
		if _, err := configfile.Read(i.Credentials); err != nil { // read again at each connection
			return fmt.Errorf("inbox nats: credentials: %w", err)
		}
	}
	for option, path := range map[string]string{"ca": i.CA, "cert": i.Cert, "key": i.Key, "credentials": i.Credentials} {
		keys.WarnIfFileExposed(ctx.Logger(i), "inbox nats: "+option, path, path == i.Key || path == i.Credentials)
	}
	return nil
}

// provisionTLS reads the files for TLS.
func (i *Inbox) provisionTLS() (err error) {
	if (i.Cert == "") != (i.Key == "") {
		return errors.New("inbox nats: cert and key: write both, the files of a client certificate and its private key, or neither")
	}
	if i.CA == "" && i.Cert == "" {
		return nil
	}
	i.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if i.CA != "" {
		if i.tls.RootCAs, i.authorities, err = configfile.Authorities(i.CA); err != nil {
			return fmt.Errorf("inbox nats: ca: %w", err)
		}
	}
	if i.Cert == "" {
		return nil
	}
	if _, err := i.clientCertificate(nil); err != nil {
		return fmt.Errorf("inbox nats: %w", err)
	}
	i.tls.GetClientCertificate = i.clientCertificate
	return nil
}

// clientCertificate reads Cert and Key.
func (i *Inbox) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := configfile.Read(i.Cert)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	key, err := configfile.Read(i.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cert %s, key %s: %w", i.Cert, i.Key, err)
	}
	return &pair, nil
}

func isServer(text string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) && u.Hostname() != ""
}

// Identity implements boxes.Module: the stream, and the connection to it.
// Other servers, credentials, certificates or authorities make it another inbox, so that the new
// configuration reconnects; any number of them share a stream.
func (i *Inbox) Identity() string {
	return strings.Join([]string{
		"nats", strings.Join(i.URL, ","), i.Stream, i.CA, string(i.authorities[:]), i.Cert, i.Key, i.Credentials,
	}, "\x00")
}

// Engine implements boxes.Module.
func (i *Inbox) Engine(logger *slog.Logger) (inbox.Engine, error) {
	return nats.Open(nats.Options{
		Servers: i.URL, TLS: i.tls, Credentials: i.Credentials, Stream: i.Stream, Replicas: orZero(i.Replicas), MaxSize: orZero(i.MaxSize), Logger: logger,
	})
}

// Keeps describes the inbox in words that may be logged.
func (i *Inbox) Keeps() string { return "stream " + cmp.Or(i.Stream, "verify_webhook_inbox") }

// Adjust implements boxes.Module.
func (i *Inbox) Adjust(box *inbox.Box) error {
	box.Limit(orZero(i.Concurrency))
	box.Engine().(*nats.Engine).Adjust(orZero(i.MaxSize), orZero(i.Replicas))
	return nil
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens:
//
//	nats {
//		url         <url>...
//		stream      <name>
//		replicas    <n>
//		ca          <ca.pem>
//		cert        <cert.pem>
//		key         <key.pem>
//		credentials <file>
//		max_size    <size>
//		concurrency <n>
//	}
func (i *Inbox) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return option.Module(d, "inbox", i.option)
}

func (i *Inbox) option(word string, args []string) (err error) {
	known := []string{"url", "stream", "replicas", "ca", "cert", "key", "credentials", "max_size", "concurrency"}
	if !slices.Contains(known, word) {
		return option.Unknown(word, known...)
	}
	if len(args) == 0 || slices.Contains(args, "") || len(args) > 1 && word != "url" {
		return fmt.Errorf("%s: %d arguments: write one (url: one or more); an unset {$VARIABLE} vanishes", word, len(args))
	}
	switch word {
	case "url":
		i.URL = args
	case "stream":
		i.Stream = args[0]
	case "ca":
		i.CA = args[0]
	case "cert":
		i.Cert = args[0]
	case "key":
		i.Key = args[0]
	case "credentials":
		i.Credentials = args[0]
	case "replicas":
		i.Replicas, err = positive(args[0])
	case "concurrency":
		i.Concurrency, err = positive(args[0])
	case "max_size":
		var size uint64
		if size, err = humanize.ParseBytes(args[0]); err != nil || size == 0 || size > 1<<50 {
			err = errors.New("write a positive size, such as 1GiB")
		}
		i.MaxSize = new(int64(size))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

func positive(text string) (*int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return nil, errors.New("write a positive number")
	}
	return &n, nil
}

// Interface guards
var (
	_ boxes.Module          = (*Inbox)(nil)
	_ caddy.Provisioner     = (*Inbox)(nil)
	_ caddyfile.Unmarshaler = (*Inbox)(nil)
)
