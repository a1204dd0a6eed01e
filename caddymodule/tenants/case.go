package tenants

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckCase returns an error if a folder's file system ignores case: two spellings of a
// name would be two tenants with one key, and a captured delivery of one would be new
// for the other. It matters only for names whose case is kept.
func (f *File) CheckCase() error {
	for _, d := range f.folders {
		if foldsCase(d.dir, os.Lstat) {
			return fmt.Errorf("tenants: file: the file system of %s ignores case, so that Acme and acme would be two tenants with one key: remove case_sensitive, or use a file system that distinguishes them", d.dir)
		}
	}
	return nil
}

// foldsCase reports whether the file system shows a folder, or a file in it, under
// another case of its name too.
func foldsCase(dir string, stat func(string) (fs.FileInfo, error)) bool {
	paths := []string{dir}
	for _, name := range someIn(dir) {
		paths = append(paths, filepath.Join(dir, name))
	}
	for _, path := range paths {
		parent, base := filepath.Split(path)
		other := strings.Map(swapCase, base)
		if other == base {
			continue
		}
		a, err := stat(path)
		if err != nil {
			continue
		}
		if b, err := stat(parent + other); err == nil && os.SameFile(a, b) {
			return true
		}
	}
	return false
}

// someIn returns the names of a few files in a folder, which may have a million.
func someIn(dir string) (names []string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	list, err := root.Open(".")
	if err != nil {
		return nil
	}
	defer list.Close()
	entries, _ := list.ReadDir(maxEntries) // as many as there are
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func swapCase(c rune) rune {
	switch {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 'A'
	case c >= 'A' && c <= 'Z':
		return c - 'A' + 'a'
	}
	return c
}
