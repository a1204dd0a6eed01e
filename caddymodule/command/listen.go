package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
)

// listenCommand is "caddy webhook listen".
func listenCommand() *cobra.Command {
	c := new(listenRun)
	cmd := &cobra.Command{
		Use:   "listen SCHEME --secret <value>...",
		Short: "Runs a gateway for one sender and shows each verdict",
		Long: `
A real gateway on one port, on any path: what it lets through here it lets
through in production. Prints what becomes of each request, and where a usual
mistake explains a refusal, a hint. Genuine deliveries are passed on to --to, or
answered 200 without it. Ends on Ctrl-C.

--save writes each request to a file of its own that "caddy webhook verify"
reads. They hold what your senders send: keep them as you keep that.

No TLS, no admin endpoint, and nothing is kept: put a tunnel in front where the
sender is elsewhere. With :9000 everybody on the network can reach it, with
127.0.0.1:9000 this machine alone.
` + schemeHelp,
		Example: `  caddy webhook listen stripe --secret '{env.STRIPE_SECRET}'
  caddy webhook listen stripe --secret '{env.STRIPE_SECRET}' --addr 127.0.0.1:9000 --to http://localhost:3000 --save deliveries
  caddy webhook listen --config Caddyfile --name billing`,
		RunE: c.run,
	}
	c.scheme.register(cmd, false)
	flags := cmd.Flags()
	flags.StringVar(&c.addr, "addr", ":9000", "The `address` to listen on")
	flags.StringVar(&c.to, "to", "", "The app's `URL`, to which genuine deliveries go (default: they are answered 200)")
	flags.StringVar(&c.save, "save", "", "A `folder` to write each request to")
	_ = cmd.MarkFlagDirname("save") // it fails only for a flag that does not exist
	_ = cmd.RegisterFlagCompletionFunc("addr", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	return cmd
}

type listenRun struct {
	scheme         schemeFlags
	addr, to, save string
}

func (c *listenRun) run(cmd *cobra.Command, args []string) error {
	s, args, err := c.scheme.resolve(args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return errors.New("one SCHEME and no more: listen serves one sender")
	}
	config, err := c.gateway(s.handler)
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
	out := cmd.OutOrStdout()
	p := &reporter{
		recorder: newRecorder(s.MaxBody), subject: s, out: out, colour: mayColour(out), folder: c.save, alone: c.to == "",
	}
	if err := checkFree(c.addr); err != nil {
		return err
	}
	if err := caddy.Run(config); err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on %s for %s; Ctrl-C ends it\n", spell(c.addr), s.Name)
	p.run(ctx)
	err = caddy.Stop()
	p.rest(ctx)
	return err
}

// checkFree returns an error if something listens at addr. Caddy itself would share
// the port with another Caddy of the user's, and each would get some of the requests.
func checkFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot %w: choose another address with --addr", err)
	}
	return l.Close()
}

// gateway is the configuration: one handler on one port, nothing kept on disk.
func (c *listenRun) gateway(h *caddymodule.Handler) (*caddy.Config, error) {
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil || port == "" || port == "0" {
		return nil, errors.New("--addr: write a port, such as :9000, or an address with one, 127.0.0.1:9000")
	}
	app, err := c.app()
	if err != nil {
		return nil, err
	}
	object := func(v any) json.RawMessage { return caddyconfig.JSON(v, nil) }
	routes := []any{map[string]any{"handle": []any{
		map[string]any{"handler": strings.TrimPrefix(recorderID, "http.handlers.")},
		caddyconfig.JSONModuleObject(h, "handler", "verify_webhook", nil),
		app,
	}}}
	return &caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(false)}},
		// The verdicts are the log. Caddy's own would repeat the requests' headers.
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
			// The http app brings it; unasked it tidies the user's storage.
			"tls": object(map[string]any{"disable_storage_check": true, "disable_storage_clean": true}),
		},
	}, nil
}

// app is the handler behind the gateway: a proxy to --to, or the answer 200.
func (c *listenRun) app() (any, error) {
	if c.to == "" {
		return map[string]any{"handler": "static_response", "status_code": 200}, nil
	}
	text := c.to
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("--to: write the app's address without a path, such as http://localhost:3000: path and query are those of the request")
	}
	host, port := u.Hostname(), u.Port()
	proxy := map[string]any{"handler": "reverse_proxy"}
	if u.Scheme == "https" {
		if port == "" {
			port = "443"
		}
		proxy["transport"] = map[string]any{"protocol": "http", "tls": map[string]any{}}
		proxy["headers"] = map[string]any{"request": map[string]any{"set": map[string]any{"Host": []string{u.Host}}}}
	}
	if port == "" {
		port = "80"
	}
	proxy["upstreams"] = []any{map[string]any{"dial": net.JoinHostPort(host, port)}}
	return proxy, nil
}

// spell names the URL at which addr can be reached, for a person.
func spell(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "http://localhost:" + port + ", and on every other address of this machine,"
	}
	return "http://" + addr
}
