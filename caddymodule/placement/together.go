package placement

import (
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Together returns groups of blocks in front of one app: those with the same address in
// them, and those of one site. A block may be in several groups.
func Together(app *caddyhttp.App) map[string]map[Block]bool {
	groups := make(map[string]map[Block]bool)
	for name, server := range app.Servers {
		for _, at := range placeOf(name, server).blocks {
			for _, key := range append(at.addresses, "site "+name+" "+strings.Join(at.hosts, " ")) {
				if groups[key] == nil {
					groups[key] = make(map[Block]bool)
				}
				groups[key][at.block] = true
			}
		}
	}
	return groups
}
