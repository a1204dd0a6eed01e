package command

import (
	"fmt"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/version"
)

// versionCommand is "caddy webhook version".
func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Prints the version of verify_webhook in this program",
		Long: `
Prints the versions of verify_webhook, Caddy and Go that this program was built
with. A build of a checkout has the time and hash of its commit; (devel) has
neither: go run, a build without the git folder, or another module that replaces
this one by a folder. A running gateway says its own in caddy webhook status and
in the metric caddy_verify_webhook_build_info.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("version takes no argument: drop %q", args[0])
			}
			_, server := caddy.Version()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "verify_webhook %s\nCaddy %s\n%s\n", version.Module(), server, runtime.Version())
			return err
		},
	}
}
