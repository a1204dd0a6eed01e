package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage" // the storage of listen
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
)

// listenCommand is "caddy webhook listen".
func listenCommand() *cobra.Command {
	c := new(listenRun)
	cmd := &cobra.Command{
		Use:   "listen SCHEME... --secret <value>...",
		Short: "Runs a gateway on your machine and shows its verdicts",
		Long: `
A real gateway on one port: a delivery that passes here passes in production.
Prints each request and its outcome and, when a common mistake explains a
refusal, a hint. Forwards genuine deliveries to --to, or answers them 200
without it. Ctrl-C stops it.

One sender is served on any path. Several are served on /stripe, /github and so
on, with the keys {env.STRIPE_SECRET}, {env.GITHUB_SECRET}, as "caddy webhook
providers" writes them; with --config and without --name, all handlers of the
configuration.

The app gets the path of the request, or the path of --to; below it with
several senders: /hooks/stripe, /hooks/github for --to
http://localhost:3000/hooks.

Each request is also on a page for the browser, the inspector, whose address it
prints: what the sender signed against what arrived, and a button that sends a
delivery to the app again. The page has a port of its own, for this machine
only: never point a tunnel at it. --page chooses its address, or turns it off.

--save writes each request to its own file, for "caddy webhook verify". The
files hold your senders' data: protect them as you protect that data.

It has no TLS and no admin endpoint, and keeps no state: it has no inbox, even
where the handler of --config has one. Put a tunnel in front for a remote sender.
Anyone on the network can reach :9000, only this machine can reach
127.0.0.1:9000.
` + schemeHelp,
		Example: `  caddy webhook listen stripe --secret '{env.STRIPE_SECRET}'
  caddy webhook listen stripe --secret '{env.STRIPE_SECRET}' \
    --addr 127.0.0.1:9000 --to http://localhost:3000/webhooks --save deliveries
  caddy webhook listen stripe github --to http://localhost:3000/hooks
  caddy webhook listen --config Caddyfile --name billing`,
		RunE: c.run,
	}
	c.scheme.register(cmd, false)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return providerIDs(), cobra.ShellCompDirectiveDefault
	}
	flags := cmd.Flags()
	flags.StringVar(&c.addr, "addr", ":9000", "The `address` or port to listen on")
	flags.StringVar(&c.to, "to", "", "The app's `URL`, for genuine deliveries")
	flags.StringVar(&c.save, "save", "", "The `folder` to write requests to")
	flags.StringVar(&c.page, "page", "127.0.0.1:0", "The loopback `address` of the inspector; port 0 is any that is free, off for none")
	flags.BoolVar(&c.open, "open", false, "Open the inspector in the browser")
	flags.BoolVar(&c.json, "json", false, "Print a JSON object a line for each request")
	_ = cmd.MarkFlagDirname("save") // fails only for an unknown flag
	_ = cmd.RegisterFlagCompletionFunc("addr", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("page", cobra.FixedCompletions([]string{"off"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type listenRun struct {
	scheme         schemeFlags
	addr, to, save string
	page           string
	json, open     bool
}

func (c *listenRun) run(cmd *cobra.Command, args []string) error {
	subjects, err := c.scheme.resolveAll(args)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(c.addr, 10, 16); err == nil {
		c.addr = ":" + c.addr
	}
	to, err := c.app()
	if err != nil {
		return err
	}
	var maxBody int64
	for _, s := range subjects {
		maxBody = max(maxBody, s.MaxBody)
	}
	state, err := os.MkdirTemp("", "caddy-webhook-listen-") // Caddy's own may be the gateway's
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	config, err := c.gateway(subjects, to, maxBody, state)
	if err != nil {
		return err
	}
	if c.save != "" {
		if err := os.MkdirAll(c.save, 0o700); err != nil {
			return fmt.Errorf("--save: %w", err)
		}
	}
	p := c.reporter(cmd, subjects, to, maxBody)
	if err := checkFree(c.addr); err != nil {
		return err
	}
	listener, err := c.listenPage()
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // no GOMEMLIMIT
		debug.SetMemoryLimit(softMemory + 4*maxBody)
	}
	if err := caddy.Run(config); err != nil {
		return err
	}
	out := p.out
	if c.json {
		out = cmd.ErrOrStderr()
	}
	fmt.Fprintf(out, "listening on %s for %s; press Ctrl-C to stop\n", spell(c.addr), strings.Join(p.served(), ", "))
	if listener != nil {
		p.page = page.NewInspector(listener.Addr(), page.About{Address: spell(c.addr), To: c.to, Senders: p.names()})
		server, _ := serveHere(ctx, listener, p.page)
		defer server.Close() // its streams never end by themselves
		fmt.Fprintf(out, "inspect at %s\n", p.page.URL())
		defer showPage(cmd, p.page.URL(), c.open)()
	}
	p.run(ctx)
	err = caddy.Stop()
	p.rest(ctx)
	return err
}

// reporter returns what prints the requests, and a new recorder for it.
func (c *listenRun) reporter(cmd *cobra.Command, subjects []*subject, to *url.URL, maxBody int64) *reporter {
	out := cmd.OutOrStdout()
	return &reporter{
		recorder: newRecorder(maxBody, c.scheme.tenant), subjects: subjects, out: out, colour: mayColour(out), json: c.json, folder: c.save, to: to,
	}
}

// listenPage listens on the address of the inspector, which is never that of deliveries:
// nil if it is off.
func (c *listenRun) listenPage() (net.Listener, error) {
	if c.page == "off" {
		return nil, nil
	}
	_, own, _ := net.SplitHostPort(c.page)
	if _, port, _ := net.SplitHostPort(c.addr); own == port {
		return nil, errors.New("--page: choose another port: that of --addr is open to senders")
	}
	return listenHere("--page", c.page)
}

// softMemory is from when on garbage is collected sooner, in bytes: that of large bodies
// doubles what the process takes.
const softMemory = 256 << 20

// tenantHeader is where the recorder names the tenant of --tenant.
const tenantHeader = "Webhook-Listen-Tenant"

// nameTenant has the handler find the chosen tenant in a header that the recorder sets, so
// that its deliveries are accepted on any path, with the keys that the source has then.
func (s *subject) nameTenant() {
	if s.handler.Tenant != "" {
		s.handler.Tenant = "{http.request.header." + tenantHeader + "}"
	}
}

// checkFree returns an error if something listens on addr. Caddy would share the port
// with another Caddy, and each would get some of the requests.
func checkFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot %w: choose another address with --addr", err)
	}
	return l.Close()
}

// asCaddy answers an error as Caddy does, with its status and no body. Without a route for
// errors the handler would answer refusals itself, and the recorder would not see why.
var asCaddy = map[string]any{"handle": []any{map[string]any{"handler": "static_response", "status_code": "{http.error.status_code}"}}}

// gateway returns the configuration: handlers on one port, and nothing on disk but in the
// folder state.
func (c *listenRun) gateway(subjects []*subject, to *url.URL, maxBody int64, state string) (*caddy.Config, error) {
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil || port == "" || port == "0" {
		return nil, errors.New("--addr: write a port, such as 9000, or an address and port, such as 127.0.0.1:9000")
	}
	app := appHandlers(to, len(subjects) > 1)
	object := func(v any) json.RawMessage { return caddyconfig.JSON(v, nil) }
	routes := []any{map[string]any{"handle": []any{map[string]any{"handler": strings.TrimPrefix(recorderID, "http.handlers.")}}}}
	for _, s := range subjects {
		s.nameTenant()
		s.handler.Inbox = nil // its file is the gateway's
		handlers := append([]any{caddyconfig.JSONModuleObject(s.handler, "handler", "verify_webhook", nil)}, app...)
		route := map[string]any{"handle": handlers}
		if len(subjects) > 1 {
			route["match"] = []any{map[string]any{"path": []string{"/" + s.Name, "/" + s.Name + "/*"}}}
			route["terminal"] = true
		}
		routes = append(routes, route)
	}
	if len(subjects) > 1 {
		routes = append(routes, map[string]any{"handle": []any{map[string]any{"handler": "static_response", "status_code": 404}}})
	}
	return &caddy.Config{
		StorageRaw: object(map[string]any{"module": "file_system", "root": state}),
		Admin:      &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(false)}},
		// The verdicts replace Caddy's log, which would repeat the requests' headers.
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "FATAL"}}}},
		AppsRaw: caddy.ModuleMap{
			"http": object(map[string]any{
				"grace_period": "2s",
				"servers": map[string]any{"listen": map[string]any{
					"listen":          []string{net.JoinHostPort(host, port)},
					"automatic_https": map[string]any{"disable": true},
					"protocols":       []string{"h1", "h2c"},
					"routes":          routes,
					"errors":          map[string]any{"routes": []any{asCaddy}},
				}},
			}),
			// On a developer's machine, a burst of large bodies may wait for the sender's retry.
			"verify_webhook": object(map[string]any{
				"max_buffered": max(maxCopied, 3*maxBody),
				"inbox":        map[string]any{"inbox": "bolt", "path": filepath.Join(state, "inbox.db")}, // none: not the gateway's
			}),
			// The http app loads it; by default it cleans the user's storage.
			"tls": object(map[string]any{"disable_storage_check": true, "disable_storage_clean": true}),
		},
	}, nil
}

// app parses --to. It returns nil for none.
func (c *listenRun) app() (*url.URL, error) {
	if c.to == "" {
		return nil, nil
	}
	text := c.to
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Path, "{}") {
		return nil, errors.New("--to: write the app's address, such as http://localhost:3000 or http://localhost:3000/webhooks: the query comes from the request")
	}
	return u, nil
}

// appHandlers returns the handlers behind the gateway: a proxy to the app, or a 200
// response.
func appHandlers(u *url.URL, several bool) []any {
	if u == nil {
		return []any{map[string]any{"handler": "static_response", "status_code": 200}}
	}
	var handlers []any
	if path := u.EscapedPath(); path != "" && path != "/" {
		if several {
			path = strings.TrimRight(path, "/") + "{http.request.uri.path}"
		}
		handlers = append(handlers, map[string]any{"handler": "rewrite", "uri": path})
	}
	host, port := u.Hostname(), u.Port()
	proxy := map[string]any{"handler": "reverse_proxy"}
	request := map[string]any{"delete": []string{tenantHeader}}
	if u.Scheme == "https" {
		if port == "" {
			port = "443"
		}
		proxy["transport"] = map[string]any{"protocol": "http", "tls": map[string]any{}}
		request["set"] = map[string]any{"Host": []string{u.Host}}
	}
	proxy["headers"] = map[string]any{"request": request}
	if port == "" {
		port = "80"
	}
	proxy["upstreams"] = []any{map[string]any{"dial": net.JoinHostPort(host, port)}}
	return append(handlers, proxy)
}

// spell returns the URL of addr for display.
func spell(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "http://localhost:" + port + ", and on all other addresses of this machine,"
	}
	return "http://" + addr
}
