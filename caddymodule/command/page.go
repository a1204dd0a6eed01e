package command

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
)

// pageCommand is "caddy webhook page".
func pageCommand() *cobra.Command {
	var admin adminFlags
	var addr string
	var show bool
	cmd := &cobra.Command{
		Use:   "page [--addr <address>] [--open] [--address <admin>]...",
		Short: "Shows a running gateway in the browser",
		Long: `
Prints the address of a page for the browser: the handlers with their last hour and
the use of their keys, the newest deliveries as they end, the rejected requests grouped
by what explains them, and what the inbox holds, to replay, discard or pause. It shows
what the other commands print, with the same redaction.

The page is served until Ctrl-C, to this machine only; whoever has its address can
replay and discard. For a gateway on another machine, forward its admin endpoint:

	ssh -N -L 2019:localhost:2019 gateway.example.com

With several --address, one page shows several gateways.

Exit status: 0 after Ctrl-C, or 2 if no gateway answers or the address is in use.`,
		Example: `  caddy webhook page --open
  caddy webhook page --addr 127.0.0.1:8090
  caddy webhook page --address 127.0.0.1:2019 --address 127.0.0.1:2020`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("page takes no argument: see %s --help", cmd.CommandPath())
			}
			gateways, err := reachable(&admin)
			if err != nil {
				return err
			}
			listener, err := listenHere("--addr", addr)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return servePage(ctx, cmd, listener, page.New(listener.Addr(), gateways), show)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "The loopback `address` of the page; port 0 is any that is free")
	cmd.Flags().BoolVar(&show, "open", false, "Open the page in the browser")
	admin.registerInstances(cmd)
	_ = cmd.RegisterFlagCompletionFunc("addr", cobra.NoFileCompletions)
	return cmd
}

// reachable returns the gateways at the addresses, at least one of which must answer.
func reachable(admin *adminFlags) ([]page.Gateway, error) {
	instances, err := admin.instances()
	if err != nil {
		return nil, err
	}
	var gateways []page.Gateway
	var failures []error
	for _, f := range instances {
		g := page.Gateway{Address: f.address, Ask: func(method, target string, header http.Header) (*http.Response, error) {
			resp, err := f.request(method, target, header)
			if e, ok := errors.AsType[*adminError](err); ok {
				return nil, &page.StatusError{Status: e.status, Text: e.text}
			}
			return resp, err
		}}
		if resp, err := g.Ask(http.MethodGet, adminapi.StatusPath, nil); err != nil {
			failures = append(failures, err)
		} else {
			_ = resp.Body.Close()
		}
		gateways = append(gateways, g)
	}
	if len(failures) == len(gateways) {
		return nil, failures[0]
	}
	return gateways, nil
}

// listenHere listens on the loopback address of a page, which a flag has chosen.
func listenHere(flag, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.New(flag + ": write an address and port, such as 127.0.0.1:8090")
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, errors.New(flag + ": the page is for this machine only: write a loopback address such as 127.0.0.1:8090, and reach it from elsewhere through ssh -L")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("cannot %w: choose another address with %s", err, flag)
	}
	return listener, nil
}

// servePage serves until ctx ends.
func servePage(ctx context.Context, cmd *cobra.Command, listener net.Listener, p *page.Server, show bool) error {
	server, ended := serveHere(ctx, listener, p)
	fmt.Fprintf(cmd.OutOrStdout(), "%s\nShows the gateway until Ctrl-C. Whoever has this address can replay and discard.\n", p.URL())
	defer showPage(cmd, p.URL(), show)()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		_ = server.Close() // streams never end by themselves
		return nil
	}
}

// serveHere serves a page on a listener. ended tells why it no longer does.
func serveHere(ctx context.Context, listener net.Listener, page http.Handler) (server *http.Server, ended <-chan error) {
	server = &http.Server{Handler: page, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	end := make(chan error, 1)
	go func() { end <- server.Serve(listener) }()
	return server, end
}

// showPage opens an address in the browser if it should. The function that it returns
// tidies up.
func showPage(cmd *cobra.Command, address string, show bool) func() {
	if !show {
		return func() {}
	}
	remove, err := openBrowser(address)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "cannot open a browser: %v\n", err)
		return func() {}
	}
	return remove
}

// openBrowser opens a file that leads to an address, because everybody on a machine can read the
// arguments of its programs, and the address has a token.
func openBrowser(address string) (remove func(), err error) {
	dir, err := os.MkdirTemp("", "webhook-page-") // for this user only
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	file := filepath.Join(dir, "open.html")
	text := fmt.Sprintf("<!doctype html><meta name=\"referrer\" content=\"no-referrer\"><meta http-equiv=\"refresh\" content=\"0;url=%s\">\n", html.EscapeString(address))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		remove()
		return nil, err
	}
	opener := map[string][]string{"darwin": {"open", file}, "windows": {"rundll32", "url.dll,FileProtocolHandler", file}}[runtime.GOOS]
	if opener == nil {
		opener = []string{"xdg-open", file}
	}
	browser := exec.Command(opener[0], opener[1:]...)
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	if err := browser.Start(); err != nil {
		remove()
		return nil, err
	}
	go func() { _ = browser.Wait() }()
	return remove, nil
}
