//go:build unix

package keys

import "golang.org/x/sys/unix"

// mountedReadOnly is replaced by tests.
var mountedReadOnly = func(path string) bool { return unix.Access(path, unix.W_OK) == unix.EROFS }
