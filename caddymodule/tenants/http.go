package tenants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// HTTP asks an endpoint of yours for the keys of each tenant: GET, with the name as one
// segment of the path. It answers 200 with
//
//	{"tenant": "acme", "secrets": ["…"], "public_keys": ["…"]}
//
// or 404 for a tenant that it does not have. An answer that does not name the tenant
// asked for counts as 404; one with a member twice, in whatever case of its letters, is
// an error. Redirects are not followed; an answer takes at most two seconds and 64 KiB.
type HTTP struct {
	// The address, https or of this machine, with {tenant} as a segment of the path:
	// https://app.internal/webhook-keys/{tenant}.
	URL string `json:"url"`
	// A token for the endpoint, sent as Authorization: Bearer, and written like a secret.
	// A file is read for each request. Default: none.
	Bearer string `json:"bearer,omitempty"`
	// How long an answer is used. It is renewed before that. Default: 5m.
	TTL *caddy.Duration `json:"ttl,omitempty"`
	// How long after that it is used while the endpoint answers 5xx or not at all.
	// 0 means never. Default: 1h.
	Stale *caddy.Duration `json:"stale,omitempty"`

	client *http.Client
}

const (
	defaultTTL   = caddy.Duration(5 * time.Minute)
	defaultStale = caddy.Duration(time.Hour)
	httpTimeout  = 2 * time.Second
	minimumTTL   = 10 * time.Second // below it, an endpoint would be asked for each delivery
	askedAgain   = 10 * time.Second // after a mismatch, a failure, or an unknown name: strangers cannot tell these apart
)

// CaddyModule returns the Caddy module information.
func (*HTTP) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".http", New: func() caddy.Module { return new(HTTP) }}
}

// Provision checks the options. It connects to nothing.
func (h *HTTP) Provision(ctx caddy.Context) error {
	if h.TTL == nil {
		h.TTL = new(defaultTTL)
	}
	if h.Stale == nil {
		h.Stale = new(defaultStale)
	}
	switch {
	case time.Duration(*h.TTL) < minimumTTL:
		return fmt.Errorf("tenants: http: ttl: %s: give at least %s", time.Duration(*h.TTL), minimumTTL)
	case *h.Stale < 0:
		return fmt.Errorf("tenants: http: stale: %s: give a duration, such as 1h, or 0s for never", time.Duration(*h.Stale))
	}
	local, err := checkURL(h.URL)
	if err != nil {
		return fmt.Errorf("tenants: http: %w", err)
	}
	if err := keys.Literal(strings.Replace(h.URL, variable, "", 1), false); err != nil {
		return fmt.Errorf("tenants: http: url: %w", err)
	}
	if h.Bearer != "" {
		_, err := keys.Resolve(h.Bearer)
		if _, missing := errors.AsType[*fs.PathError](err); err != nil && !missing { // a file may appear later
			return fmt.Errorf("tenants: http: bearer: %w", err)
		}
		keys.WarnIfExposed(ctx.Logger(h), "bearer", h.Bearer)
	}
	dialer := &net.Dialer{Timeout: httpTimeout}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxBytes,
	}
	if local {
		transport.Proxy, dialer.Control = nil, onlyLoopback
	}
	h.client = &http.Client{
		Transport: transport, Timeout: httpTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// Cleanup closes idle connections.
func (h *HTTP) Cleanup() error {
	if h.client != nil {
		h.client.CloseIdleConnections()
	}
	return nil
}

// checkURL reports whether an address is that of this machine, over http, and refuses
// any other than https. Its errors do not repeat it: it may hold a token.
func checkURL(address string) (local bool, err error) {
	if strings.Count(address, variable) != 1 {
		return false, errors.New("url: write {tenant} once, as a segment of the path: https://app.internal/webhook-keys/{tenant}")
	}
	u, err := url.Parse(strings.Replace(address, variable, "TENANT", 1))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return false, errors.New("url: write an address that begins with https://")
	case !slices.Contains(strings.Split(u.EscapedPath(), "/"), "TENANT"):
		return false, errors.New("url: {tenant} must be a whole segment of the path: https://app.internal/webhook-keys/{tenant}")
	case strings.ContainsAny(address, "#") || strings.Contains(strings.Replace(address, variable, "", 1), "{"):
		return false, errors.New("url: it has a fragment, or a placeholder besides {tenant}: remove it")
	case u.User != nil:
		return false, errors.New("url: it has a password: write it as bearer {env.NAME}, which logs do not show")
	case u.Scheme == "https":
		return false, nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() || u.Hostname() == "localhost" {
		return true, nil
	}
	return false, errors.New("url: over http:// anyone on the network path can read and replace the keys: write https://; http is for this machine alone (127.0.0.1, ::1, localhost)")
}

// onlyLoopback refuses a connection to another machine, whatever localhost resolves to.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().Unmap().IsLoopback() {
		return errors.New("the address is not of this machine: write https://")
	}
	return nil
}

// Terms implements Source.
func (h *HTTP) Terms() Terms {
	return Terms{Fresh: time.Duration(*h.TTL), Stale: time.Duration(*h.Stale), Again: askedAgain, Remote: true}
}

// Find implements Source.
func (h *HTTP) Find(ctx context.Context, name string, _ *Found) (*Found, error) {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(h.URL, variable, url.PathEscape(name), 1), nil)
	if err != nil {
		return nil, errors.New("the address is not valid")
	}
	req.Header.Set("User-Agent", "caddy-verify-webhook")
	req.Header.Set("Accept", "application/json")
	if h.Bearer != "" {
		token, err := keys.Resolve(h.Bearer)
		if err != nil {
			return nil, fmt.Errorf("bearer: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := h.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok { // it repeats the address
			err = e.Err
		}
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBytes+1))
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, ErrUnknown
	case res.StatusCode >= 500:
		return nil, fmt.Errorf("%w: status %d", ErrDown, res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d: the endpoint must answer 200, or 404 for a tenant that it does not have", res.StatusCode)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	case len(body) > maxBytes:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxBytes)
	}
	return answered(name, body)
}

// answered reads an answer. Errors do not repeat it.
func answered(name string, body []byte) (*Found, error) {
	var answer struct {
		Tenant     string   `json:"tenant"`
		Secrets    []string `json:"secrets"`
		PublicKeys []string `json:"public_keys"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errors.New(`the answer is not {"tenant": "…", "secrets": ["…"], "public_keys": ["…"]}`)
	}
	if twins(body) {
		return nil, errors.New("the answer has a member twice, or in two spellings: of which tenant its keys are is not certain")
	}
	if answer.Tenant != name {
		return nil, fmt.Errorf("%w: the answer names another tenant, or none", ErrUnknown)
	}
	found := new(Found)
	for kind, texts := range [][]string{verifier.Secret: answer.Secrets, verifier.PublicKey: answer.PublicKeys} {
		for _, text := range texts {
			found.Keys = append(found.Keys, verifier.Key{Text: strings.Trim(text, "\r\n"), Kind: verifier.KeyKind(kind)})
		}
	}
	if len(found.Keys) == 0 {
		return nil, fmt.Errorf("%w: the answer has no key", ErrUnknown)
	}
	return found, nil
}

// twins reports whether a valid answer has one of its members twice. encoding/json
// ignores the case of letters, and keeps the last.
func twins(body []byte) bool {
	members := json.NewDecoder(bytes.NewReader(body))
	_, _ = members.Token() // {
	seen := make(map[string]bool)
	for members.More() {
		token, _ := members.Token()
		var value json.RawMessage
		if members.Decode(&value) != nil {
			return true
		}
		for _, own := range []string{"tenant", "secrets", "public_keys"} {
			if name, _ := token.(string); !strings.EqualFold(name, own) {
				continue
			}
			if seen[own] {
				return true
			}
			seen[own] = true
		}
	}
	return false
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens:
//
//	http <url> {
//		bearer <value>
//		ttl    <duration>
//		stale  <duration>
//	}
func (h *HTTP) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the source's name
	if !d.NextArg() || d.Val() == "" {
		return d.Errf("secret from http: write the address: secret from http https://app.internal/webhook-keys/{tenant}")
	}
	h.URL = d.Val()
	if _, err := checkURL(h.URL); err != nil {
		return d.Errf("secret from http: %v", err)
	}
	if d.NextArg() {
		return d.Errf("secret from http: takes one address, and a block with bearer, ttl, stale")
	}
	_, err := option.Block(d, "secret from http", h.set)
	return err
}

func (h *HTTP) set(word string, args []string) (err error) {
	switch word {
	case "bearer", "ttl", "stale":
	default:
		return option.Unknown(word, "bearer", "ttl", "stale")
	}
	if len(args) != 1 || args[0] == "" {
		return fmt.Errorf("%s: write one value: an unset {$VARIABLE} vanishes", word)
	}
	switch word {
	case "bearer":
		h.Bearer = args[0]
		err = keys.CheckValue(args[0])
	case "ttl":
		h.TTL, err = duration(args[0], minimumTTL)
	case "stale":
		h.Stale, err = duration(args[0], 0)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

func duration(text string, least time.Duration) (*caddy.Duration, error) {
	d, err := caddy.ParseDuration(text)
	if err != nil || d < least {
		return nil, fmt.Errorf("write a duration of at least %s, such as 5m", least)
	}
	return new(caddy.Duration(d)), nil
}

// Interface guards
var (
	_ Source                = (*HTTP)(nil)
	_ caddy.Provisioner     = (*HTTP)(nil)
	_ caddy.CleanerUpper    = (*HTTP)(nil)
	_ caddyfile.Unmarshaler = (*HTTP)(nil)
)
