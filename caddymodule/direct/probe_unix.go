//go:build unix

package direct

import "syscall"

const canProbe = true

// untouched reports whether the app has left an idle connection as it was. Whatever can
// be read from it, an end or bytes, makes it useless: nothing was asked.
func (c *conn) untouched() bool {
	if c.raw == nil {
		return false
	}
	quiet := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	})
	return err == nil && quiet
}
