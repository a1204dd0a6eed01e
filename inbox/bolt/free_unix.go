//go:build linux || darwin

package bolt

import (
	"math"
	"syscall"
)

// freeBytes returns the space available to this process on dir's file system.
func freeBytes(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return math.MaxInt64 // a failed write shows a full disk
	}
	return int64(min(st.Bavail*uint64(st.Bsize), math.MaxInt64))
}
