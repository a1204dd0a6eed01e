package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.run(cmd, args); err != nil {
				return finish(cmd, exitUsage, err)
			}
			return nil
		},
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
	s, args, err := c.scheme.resolve(args, false)
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
	w := &witness{
		subject: s, screen: &screen{Writer: out, colour: mayColour(out)},
		folder: c.save, alone: c.to == "", seen: make(chan *sighting, maxSightings),
	}
	w.install()
	if err := free(c.addr); err != nil {
		return err
	}
	if err := caddy.Run(config); err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on %s for %s; Ctrl-C ends it\n", spell(c.addr), s.Name)
	w.report(ctx)
	err = caddy.Stop()
	w.rest(ctx)
	return err
}

// free reports whether nobody listens there. Caddy itself would share the port
// with another of the user's Caddys, and each get some of the requests.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot %w: choose another address with --addr", err)
	}
	return l.Close()
}

// gateway is a configuration with one handler on one port, which keeps nothing.
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
		map[string]any{"handler": witnessName},
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

// app is what stands behind the gateway.
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

// spell says where it listens, for a person.
func spell(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "http://localhost:" + port + ", and on every other address of this machine,"
	}
	return "http://" + addr
}

// A screen is where verdicts are shown.
type screen struct {
	io.Writer
	colour bool
}

// The colours of a verdict (ECMA-48 §8.3.117).
const (
	green  = "32"
	yellow = "33"
	red    = "31"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// mayColour reports whether w is a terminal whose user has nothing against
// colours (https://no-color.org).
func mayColour(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// report shows what the gateway sees, off the requests' way, until ctx ends.
func (w *witness) report(ctx context.Context) {
	for {
		select {
		case e := <-w.seen:
			w.show(ctx, e)
		case <-ctx.Done():
			return
		}
	}
}

// rest shows what has been seen since.
func (w *witness) rest(ctx context.Context) {
	for {
		select {
		case e := <-w.seen:
			w.show(ctx, e)
		default:
			return
		}
	}
}

func (w *witness) show(ctx context.Context, e *sighting) {
	colour, verdict := w.verdict(e)
	fmt.Fprintf(w.screen, "%s %s\n", e.at.Format("15:04:05"), w.screen.paint(colour, verdict))
	if e.judged {
		hint := w.subject.explain(context.WithoutCancel(ctx), requestOf(e.request), e.request.Body, e.at, e.rejection, live)
		if hint = cmp.Or(hint, unexplained(string(e.rejection.Reason))); hint != "" {
			fmt.Fprintf(w.screen, "         hint: %s\n", printable(hint))
		}
	}
	if w.folder == "" {
		return
	}
	path, err := w.write(e)
	if err != nil {
		fmt.Fprintf(w.screen, "         not saved: %v\n", err)
		return
	}
	fmt.Fprintf(w.screen, "         saved: %s\n", path)
}

// write saves a request as a file of the user's alone.
func (w *witness) write(e *sighting) (path string, err error) {
	if e.cut {
		return "", errors.New("the body is larger than max_body")
	}
	path = filepath.Join(w.folder, e.at.UTC().Format("20060102T150405.000000000Z")+"-"+e.word()+".http")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	err = e.request.Write(file, true)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return path, errors.Join(err, os.Chtimes(path, time.Time{}, e.at)) // for --now file
}
