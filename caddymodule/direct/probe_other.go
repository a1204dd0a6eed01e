//go:build !unix

package direct

// canProbe is false where an idle connection cannot be looked at without waiting: all
// requests take Caddy's own transport.
const canProbe = false

func (c *conn) untouched() bool { return false }
