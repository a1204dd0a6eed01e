package tenants

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A folder is one configured path.
type folder struct {
	kind  verifier.KeyKind
	dir   string // above the element with {tenant}
	below string // the rest

	mu      sync.Mutex
	is      opened
	info    fs.FileInfo // of it
	checked time.Time
}

// An opened folder finds files by their path below it, through no link that leads out.
type opened struct {
	*os.Root
	self *os.File // for what a Root cannot do
}

// rootLasts is how long an open folder is used before its path is looked at again: a
// deployment may replace it.
const rootLasts = time.Second

// open returns the folder. One that was replaced stays open until nothing uses it.
func (f *folder) open(now time.Time) (opened, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if age := now.Sub(f.checked); f.is.Root != nil && age >= 0 && age < rootLasts {
		return f.is, nil
	}
	info, err := os.Stat(f.dir)
	if err != nil {
		return opened{}, err
	}
	if f.is.Root == nil || !os.SameFile(info, f.info) {
		root, err := os.OpenRoot(f.dir)
		if err != nil {
			return opened{}, err
		}
		self, err := root.Open(".")
		if err != nil {
			return opened{}, err
		}
		f.is, f.info = opened{root, self}, info
	}
	f.checked = now
	return f.is, nil
}

// files returns the file at a path, or those of the folder there but for dot files, and
// which there are skipped as leftovers.
func (d *folder) files(root opened, path string) (files []stamped, skipped []string, err error) {
	info, err := root.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Mode().IsRegular() {
		return []stamped{{path: path, of: d, stamp: stampOf(info)}}, nil, nil
	}
	if !info.IsDir() {
		return nil, nil, fmt.Errorf("%w: %s: not a regular file", ErrUnknown, path)
	}
	dir, err := root.Open(path)
	if err != nil { // the folder is being changed
		return nil, nil, unusable{err}
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, unusable{err}
	}
	if len(entries) > maxEntries {
		return nil, nil, unusable{fmt.Errorf("%s: more than %d files in this folder", path, maxEntries)}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		below := path + "/" + e.Name()
		if keys.Leftover(e.Name()) {
			skipped = append(skipped, below)
			continue
		}
		if info, err = root.Stat(below); err != nil { // as above
			return nil, nil, unusable{err}
		}
		if !info.Mode().IsRegular() {
			return nil, nil, unusable{fmt.Errorf("%s: not a regular file", below)}
		}
		files = append(files, stamped{label: e.Name(), path: below, of: d, stamp: stampOf(info)})
	}
	if len(files) > keys.MaxTenantKeys {
		return nil, nil, unusable{fmt.Errorf("%s: more than %d key files in this folder", path, keys.MaxTenantKeys)}
	}
	if len(files) == 0 {
		err = fmt.Errorf("%w: %s: no key file in this folder", ErrUnknown, path)
		if len(skipped) > 0 {
			err = fmt.Errorf("%w: only files named like backups, such as %s", err, skipped[0])
		}
		return nil, nil, err
	}
	slices.Sort(skipped)
	slices.SortFunc(files, func(a, b stamped) int { return strings.Compare(a.label, b.label) })
	return files, skipped, nil
}

const (
	maxEntries = 64       // of a tenant's folder, dot files and leftovers included
	maxBytes   = 64 << 10 // of each file, and of an answer
)
