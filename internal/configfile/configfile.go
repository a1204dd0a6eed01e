// Package configfile reads the files that a configuration names: keys, certificates,
// provider files. Only regular files are read: a named pipe or a terminal would block
// the start or the reload forever.
package configfile

import (
	"fmt"
	"io"
	"os"
)

// maxSize limits a file, in bytes. The largest are lists of authorities: those of
// operating systems have 250 KB.
const maxSize = 4 << 20

// Read returns the content of the file at path, which may be a link. Errors name the
// path and never hold the content.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1)) // a file of /proc has no size
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxSize)
	}
	return data, nil
}
