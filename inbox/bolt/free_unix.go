//go:build linux || darwin

package bolt

import (
	"math"
	"syscall"
)

// freeBytes is what is left for this process on the file system of dir.
func freeBytes(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return math.MaxInt64 // writing will tell
	}
	return int64(min(st.Bavail*uint64(st.Bsize), math.MaxInt64))
}
