package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"
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

--save writes each request to its own file, for "caddy webhook verify". The
files hold your senders' data: protect them as you protect that data.

It has no TLS and no admin endpoint, and keeps no state: put a tunnel in front
for a remote sender. Anyone on the network can reach :9000, only this machine
can reach 127.0.0.1:9000.
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
	flags.BoolVar(&c.json, "json", false, "Print a JSON object a line for each request")
	_ = cmd.MarkFlagDirname("save") // fails only for an unknown flag
	_ = cmd.RegisterFlagCompletionFunc("addr", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	return cmd
}

type listenRun struct {
	scheme         schemeFlags
	addr, to, save string
	json           bool
}

func (c *listenRun) run(cmd *cobra.Command, args []string) error {
	subjects, err := c.scheme.resolveAll(args)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(c.addr, 10, 16); err == nil {
		c.addr = ":" + c.addr
	}
	config, err := c.gateway(subjects)
	if err != nil {
		return err
	}
	if c.save != "" {
		if err := os.MkdirAll(c.save, 0o700); err != nil {
			return fmt.Errorf("--save: %w", err)
		}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var maxBody int64
	var names []string
	for _, s := range subjects {
		maxBody, names = max(maxBody, s.MaxBody), append(names, s.Name)
	}
	out := cmd.OutOrStdout()
	p := &reporter{
		recorder: newRecorder(maxBody, c.scheme.tenant), subjects: subjects, out: out, colour: mayColour(out), json: c.json, folder: c.save, alone: c.to == "",
	}
	if err := checkFree(c.addr); err != nil {
		return err
	}
	if err := caddy.Run(config); err != nil {
		return err
	}
	if c.json {
		out = cmd.ErrOrStderr()
	}
	if len(names) > 1 {
		names = p.paths()
	}
	fmt.Fprintf(out, "listening on %s for %s; press Ctrl-C to stop\n", spell(c.addr), strings.Join(names, ", "))
	p.run(ctx)
	err = caddy.Stop()
	p.rest(ctx)
	return err
}

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

// gateway returns the configuration: handlers on one port, nothing on disk.
func (c *listenRun) gateway(subjects []*subject) (*caddy.Config, error) {
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil || port == "" || port == "0" {
		return nil, errors.New("--addr: write a port, such as 9000, or an address and port, such as 127.0.0.1:9000")
	}
	app, err := c.app(len(subjects) > 1)
	if err != nil {
		return nil, err
	}
	object := func(v any) json.RawMessage { return caddyconfig.JSON(v, nil) }
	routes := []any{map[string]any{"handle": []any{map[string]any{"handler": strings.TrimPrefix(recorderID, "http.handlers.")}}}}
	for _, s := range subjects {
		s.nameTenant()
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
		Admin: &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(false)}},
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
				}},
			}),
			// The http app loads it; by default it cleans the user's storage.
			"tls": object(map[string]any{"disable_storage_check": true, "disable_storage_clean": true}),
		},
	}, nil
}

// app returns the handlers behind the gateway: a proxy to --to, or a 200 response.
func (c *listenRun) app(several bool) ([]any, error) {
	if c.to == "" {
		return []any{map[string]any{"handler": "static_response", "status_code": 200}}, nil
	}
	text := c.to
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Path, "{}") {
		return nil, errors.New("--to: write the app's address, such as http://localhost:3000 or http://localhost:3000/webhooks: the query comes from the request")
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
	return append(handlers, proxy), nil
}

// spell returns the URL of addr for display.
func spell(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "http://localhost:" + port + ", and on all other addresses of this machine,"
	}
	return "http://" + addr
}
