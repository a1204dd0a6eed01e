//go:build !linux

package tenants

// has is finds.
func (o opened) has(s stamped) bool { return o.finds(s) }
