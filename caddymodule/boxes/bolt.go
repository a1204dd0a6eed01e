package boxes

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

func init() {
	caddy.RegisterModule(new(Bolt))
}

// Bolt keeps deliveries in a file of this process.
type Bolt struct {
	// The file; {env.NAME} and {file./path} in it are resolved when the configuration is
	// loaded. Only one process can open it at a time; NFS is not supported. Default:
	// verify_webhook/inbox.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
	// Limit of the size of all deliveries in bytes, pending or dead. Beyond it
	// deliveries go to the app immediately. Default: 1073741824 (1 GiB).
	MaxSize *int64 `json:"max_size,omitempty"`
	// Limit of concurrent attempts over all handlers. Default: 16.
	Concurrency *int `json:"concurrency,omitempty"`
	// Keys that encrypt bodies and headers: 32 random bytes each, as base64 or hex,
	// literal, {env.NAME} or {file./path}. The first encrypts, all decrypt. Default:
	// none.
	Encrypt []string `json:"encrypt,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Bolt) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: namespace + ".bolt", New: func() caddy.Module { return new(Bolt) }}
}

// Provision checks the options, and resolves the path and makes it absolute.
func (b *Bolt) Provision(ctx caddy.Context) error {
	if err := keys.DataFile("path", &b.Path, "inbox.db"); err != nil {
		return fmt.Errorf("inbox bolt: %w", err)
	}
	if b.MaxSize != nil && *b.MaxSize <= 0 {
		return fmt.Errorf("inbox bolt: max_size: %d: give a positive size, such as 1GiB", *b.MaxSize)
	}
	if b.Concurrency != nil && *b.Concurrency <= 0 {
		return fmt.Errorf("inbox bolt: concurrency: %d: give a positive number, such as 16", *b.Concurrency)
	}
	for _, value := range b.Encrypt {
		keys.WarnIfExposed(ctx.Logger(b), "inbox bolt: encrypt", value)
	}
	_, _, err := b.encryptionKeys()
	return err
}

// encryptionKeys reads the keys. missing is the reason why a file has none yet, which
// does not stop the start.
func (b *Bolt) encryptionKeys() (list [][]byte, missing, err error) {
	for _, value := range b.Encrypt {
		text, err := keys.Resolve(value)
		if _, ok := keys.FilePath(value); err != nil && ok {
			missing = fmt.Errorf("inbox bolt: encrypt: %w", err)
			continue
		}
		var key []byte
		if err == nil {
			key, err = encryptionKey(text)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("inbox bolt: encrypt: %w", err)
		}
		list = append(list, key)
	}
	return list, missing, nil
}

// encryptionKey decodes 32 bytes and refuses guessable ones. The error does not repeat
// the text.
func encryptionKey(text string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == 32 {
			return key, keys.CheckKey(key)
		}
	}
	return nil, errors.New("a key is 32 random bytes as base64 or hex: make one with openssl rand -base64 32")
}

// Identity implements Module.
func (b *Bolt) Identity() string { return "bolt\x00" + b.Path }

// Engine implements Module. Without one of its keys nothing is stored, and the
// file is left alone, until Adjust has them.
func (b *Bolt) Engine(logger *slog.Logger) (inbox.Engine, error) {
	list, missing, err := b.encryptionKeys()
	return bolt.Open(bolt.Options{Path: b.Path, MaxSize: orZero(b.MaxSize), Keys: list, KeysMissing: cmp.Or(missing, err), Logger: logger})
}

// Adjust implements Module. Without one of its keys nothing changes: what is open
// goes on storing with those that it has.
func (b *Bolt) Adjust(box *inbox.Box) error {
	list, missing, err := b.encryptionKeys()
	if err := cmp.Or(missing, err); err != nil {
		return err
	}
	box.Limit(orZero(b.Concurrency))
	return box.Engine().(*bolt.Store).Adjust(orZero(b.MaxSize), list)
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens:
//
//	bolt {
//		path        <file>
//		max_size    <size>
//		concurrency <n>
//		encrypt     <value>...
//	}
func (b *Bolt) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return option.Module(d, "inbox", b.option, "encrypt")
}

func (b *Bolt) option(word string, args []string) error {
	switch word {
	case "path", "max_size", "concurrency", "encrypt":
	default:
		return option.Unknown(word, "path", "max_size", "concurrency", "encrypt")
	}
	if len(args) == 0 || slices.Contains(args, "") {
		return fmt.Errorf("%s has no value: an unset {$VARIABLE} vanishes", word)
	}
	if len(args) > 1 && word != "encrypt" {
		return fmt.Errorf("%s takes one argument, not %d", word, len(args))
	}
	switch word {
	case "path":
		b.Path = args[0]
	case "max_size":
		size, err := option.Size(args)
		if err != nil {
			return fmt.Errorf("max_size: %w", err)
		}
		b.MaxSize = &size
	case "concurrency":
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 {
			return errors.New("concurrency: write a positive number, such as 16")
		}
		b.Concurrency = &n
	case "encrypt":
		for _, arg := range args {
			if err := keys.CheckValue(arg); err != nil {
				return fmt.Errorf("encrypt: %w", err)
			}
		}
		b.Encrypt = append(b.Encrypt, args...)
	}
	return nil
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// Interface guards
var (
	_ Module                = (*Bolt)(nil)
	_ caddy.Provisioner     = (*Bolt)(nil)
	_ caddyfile.Unmarshaler = (*Bolt)(nil)
)
