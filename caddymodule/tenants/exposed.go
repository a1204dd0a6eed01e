package tenants

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// exposed returns which of a tenant's files, and of its folders above them, every user of
// the machine may write.
func exposed(files []stamped, now time.Time) (paths []string) {
	for _, s := range files {
		root, err := s.of.open(now)
		if err != nil {
			continue
		}
		for i := range len(s.path) + 1 {
			if i < len(s.path) && s.path[i] != '/' {
				continue
			}
			part := s.path[:i]
			info, err := root.Stat(part)
			if shown := filepath.Join(s.of.dir, part); err == nil && !slices.Contains(paths, shown) && keys.WritableByAll(shown, info) {
				paths = append(paths, shown)
			}
		}
	}
	return paths
}
