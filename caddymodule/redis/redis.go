// Package redis adds the redis store to verify_webhook, for several instances that
// share deliveries. Build it in with one more --with.
package redis

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe/redis"
	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
)

func init() {
	caddy.RegisterModule(new(Store))
	// The library writes every failed dial to standard error. The gate logs an outage
	// once.
	goredis.SetLogger(debugLog{})
}

// debugLog logs the library's messages at debug level.
type debugLog struct{}

func (debugLog) Printf(_ context.Context, format string, v ...any) {
	if c := caddy.Log().Named("redis").Check(zapcore.DebugLevel, fmt.Sprintf(format, v...)); c != nil {
		c.Write()
	}
}

// Store shares deliveries between instances over Redis or Valkey, 7 or later. {env.NAME}
// and {file./path} in addresses, names and paths are resolved when the configuration is
// loaded.
type Store struct {
	// Address is host:port of one server, or of several sentinels or cluster nodes.
	Address []string `json:"address,omitempty"`
	// Namespace is the prefix of every key, so that staging and production on one server
	// do not swallow each other's deliveries: at most 64 letters, digits, dashes,
	// underscores, dots and colons. Required.
	Namespace string `json:"namespace,omitempty"`
	// Mode is standalone, sentinel or cluster. Default: standalone.
	Mode string `json:"mode,omitempty"`
	// Master is the name of the monitored master (mode sentinel).
	Master string `json:"master,omitempty"`

	Username string `json:"username,omitempty"`
	// Password is literal, {env.NAME} or {file./path}, and nothing around it.
	Password string `json:"password,omitempty"`
	// Default: 0.
	DB int `json:"db,omitempty"`
	// TLS connects over TLS. Default: false.
	TLS bool `json:"tls,omitempty"`
	// CA is a PEM file of authorities to trust instead of the system's.
	CA string `json:"ca,omitempty"`

	// Down is the behaviour while the store is down: degrade (each instance decides
	// alone and writes back later) or reject (503). Default: degrade.
	Down string `json:"down,omitempty"`

	options     redis.Options
	authorities [sha256.Size]byte // digest of the CA file
}

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.verify_webhook.stores.redis",
		New: func() caddy.Module { return new(Store) },
	}
}

// namespaceText excludes braces above all, which in a cluster would put every key on one
// node.
var namespaceText = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// Provision resolves and checks the options. It opens no connection.
func (s *Store) Provision(ctx caddy.Context) error {
	err := cmp.Or(keys.Text("namespace", &s.Namespace), keys.Text("master", &s.Master), keys.Text("username", &s.Username), keys.Text("tls: ca", &s.CA))
	for i := range s.Address {
		err = cmp.Or(err, keys.URL("address", &s.Address[i]))
	}
	if err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	s.options = redis.Options{
		Addresses: s.Address, Mode: redis.Mode(s.Mode), Master: s.Master,
		Namespace: s.Namespace, Username: s.Username, DB: s.DB,
	}
	if s.Password != "" {
		password, err := keys.Resolve(s.Password)
		if err != nil {
			return fmt.Errorf("store redis: password: %w", err)
		}
		s.options.Password = password
		keys.WarnIfExposed(ctx.Logger(s), "store redis: password", s.Password)
	}
	if s.TLS || s.CA != "" {
		config, err := s.tlsConfig()
		if err != nil {
			return fmt.Errorf("store redis: tls: %w", err)
		}
		s.options.TLS = config
	}
	if s.Namespace != "" && !namespaceText.MatchString(s.Namespace) {
		return errors.New("store redis: namespace: write at most 64 letters, digits, dashes, underscores, dots and colons")
	}
	keys.WarnIfFileExposed(ctx.Logger(s), "store redis: tls", s.CA, false)
	switch s.Down {
	case "", "degrade", "reject":
	default:
		return errors.New("store redis: down: write degrade or reject")
	}
	if err := s.options.Validate(); err != nil {
		return fmt.Errorf("store %w", err)
	}
	return nil
}

func (s *Store) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA == "" {
		return config, nil
	}
	var err error
	config.RootCAs, s.authorities, err = configfile.Authorities(s.CA)
	return config, err
}

// Identity implements stores.Module. A change of password or authority
// makes it another store, so that the new configuration reconnects.
func (s *Store) Identity() string {
	password := sha256.Sum256([]byte(s.options.Password))
	return strings.Join([]string{
		"redis", s.Mode, s.Master, strings.Join(s.Address, ","), s.Namespace, s.Username, strconv.Itoa(s.DB),
		strconv.FormatBool(s.TLS), s.CA, s.Down, string(password[:]), string(s.authorities[:]),
	}, "\x00")
}

// Keeps identifies the data, whatever the server's address: a reload that changes it
// logs a warning.
func (s *Store) Keeps() string {
	return fmt.Sprintf("namespace %s, db %d", s.Namespace, s.DB)
}

// Gate implements stores.Module.
func (s *Store) Gate(logger *slog.Logger) (*dedupe.Gate, error) {
	store, err := redis.Open(s.options)
	if err != nil {
		return nil, err
	}
	return dedupe.NewGate(dedupe.Options{
		Store: store, Local: dedupe.NewMemory(dedupe.MemoryOptions{}), Reject: s.Down == "reject", Logger: logger,
	}), nil
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens:
//
//	redis {
//		address   <host:port>...
//		namespace <text>
//		mode      standalone | sentinel <master> | cluster
//		username  <text>
//		password  <value>
//		db        <n>
//		tls       [<ca.pem>]
//		down      degrade | reject
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return option.Module(d, "store", s.option)
}

func (s *Store) option(word string, args []string) error {
	single := map[string]*string{"namespace": &s.Namespace, "username": &s.Username, "password": &s.Password, "down": &s.Down}
	if into, ok := single[word]; ok {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one argument, not %d: an unset {$VARIABLE} vanishes", word, len(args))
		}
		if args[0] == "" {
			return fmt.Errorf("%s is empty: an unset {$VARIABLE} vanishes", word)
		}
		*into = args[0]
		return nil
	}
	switch {
	case word == "address" && len(args) > 0:
		s.Address = args
	case word == "mode" && len(args) == 1:
		s.Mode = args[0]
	case word == "mode" && len(args) == 2 && args[0] == "sentinel":
		s.Mode, s.Master = args[0], args[1]
	case word == "db" && len(args) == 1:
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 0 {
			return errors.New("db: write a number")
		}
		s.DB = n
	case word == "tls" && len(args) == 0:
		s.TLS = true
	case word == "tls" && len(args) == 1:
		s.TLS, s.CA = true, args[0]
	case word == "address" || word == "mode" || word == "db" || word == "tls":
		return fmt.Errorf("%s: write address <host:port>..., mode standalone | sentinel <master> | cluster, db <n>, tls [<ca.pem>]", word)
	default:
		return option.Unknown(word, "address", "namespace", "mode", "username", "password", "db", "tls", "down")
	}
	return nil
}

// Interface guards
var (
	_ stores.Module         = (*Store)(nil)
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
)
