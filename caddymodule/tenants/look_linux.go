package tenants

import (
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// An identity tells one file from all others.
type identity struct{ dev, ino uint64 }

func identityOf(info fs.FileInfo) identity {
	is := info.Sys().(*syscall.Stat_t)
	return identity{uint64(is.Dev), is.Ino} // of 32 bits on MIPS
}

func (a identity) equals(b identity) bool { return a == b }

func changeTime(info fs.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Ctim.Nano() }

// has is finds in fewer system calls: one for a file in the folder itself, otherwise
// three. Root.Stat follows links by itself, to a file of a Kubernetes Secret in a dozen.
func (o opened) has(s stamped) bool {
	defer runtime.KeepAlive(o.self)
	folder := int(o.self.Fd())
	var is unix.Stat_t
	var err error
	if !strings.Contains(s.path, "/") {
		err = unix.Fstatat(folder, s.path, &is, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && is.Mode&unix.S_IFMT != unix.S_IFREG {
		err = statBeneath(folder, s.path, &is)
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // Linux before 5.6, or forbidden in a container
		return o.finds(s)
	}
	return err == nil && s.stamp == stamp{file: identity{uint64(is.Dev), is.Ino}, size: is.Size, written: is.Mtim.Nano(), changed: is.Ctim.Nano()}
}

// statBeneath follows links, none of them out of the folder.
func statBeneath(folder int, path string, is *unix.Stat_t) error {
	file, err := unix.Openat2(folder, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	defer unix.Close(file)
	return unix.Fstat(file, is)
}
