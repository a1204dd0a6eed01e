package tenants

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

func init() {
	caddy.RegisterModule(new(File))
	caddy.RegisterModule(new(HTTP))
}

// variable is the part of a path or address that a tenant's name replaces.
const variable = "{tenant}"

// File reads the keys of each tenant from files: /run/keys/{tenant} is the file of the
// tenant's name in /run/keys, with one key a line, or a folder with one key a file. A
// file is opened below the folder before {tenant} only, through no link that leads out
// of it. It is looked at again after two seconds, and at once if a delivery does not
// match; a change counts once the file is a second old or two reads are equal, because
// a writer may be halfway through, and a file that has gone at the second look, because
// it may be replaced.
type File struct {
	// Paths of shared secrets. Each has {tenant} in one element.
	Secret []string `json:"secret,omitempty"`
	// Paths of public keys.
	PublicKey []string `json:"public_key,omitempty"`

	folders  []*folder
	patterns []pattern
	now      func() time.Time
}

// CaddyModule returns the Caddy module information.
func (*File) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".file", New: func() caddy.Module { return new(File) }}
}

// Provision checks the paths, and warns of a folder that every user of the machine may
// write. It opens nothing.
func (f *File) Provision(ctx caddy.Context) error {
	if len(f.Secret)+len(f.PublicKey) == 0 {
		return errors.New("tenants: file: no path: write secret or public_key, such as /run/keys/{tenant}")
	}
	f.folders, f.now = nil, time.Now
	for kind, paths := range [][]string{verifier.Secret: f.Secret, verifier.PublicKey: f.PublicKey} {
		for _, path := range paths {
			if err := CheckPath(path); err != nil {
				return fmt.Errorf("tenants: file: %w", err)
			}
			before, _, _ := strings.Cut(path, variable)
			dir := before[:strings.LastIndexByte(before, '/')+1]
			f.folders = append(f.folders, &folder{kind: verifier.KeyKind(kind), dir: filepath.Clean(orDot(dir)), below: strings.TrimPrefix(path, dir)})
		}
	}
	f.patterns = f.parse()
	if err := f.CheckPaths(); err != nil {
		return fmt.Errorf("tenants: file: %w", err)
	}
	for _, d := range f.folders { // a tenant's own files are looked at when they are read
		keys.WarnOfFolder(ctx.Logger(f), []string{verifier.Secret: "secret", verifier.PublicKey: "public_key"}[d.kind]+" {file."+d.dir+"/"+d.below+"}", d.dir)
	}
	return nil
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// Terms implements Source.
func (*File) Terms() Terms {
	return Terms{Fresh: 2 * time.Second, Stale: math.MaxInt64, Unknown: 2 * time.Second, Again: 100 * time.Millisecond}
}

// A stamped file is one of a tenant's files as it was when it was read.
type stamped struct {
	label string // "": the tenant's only one
	path  string // below the folder
	of    *folder
	stamp
}

// A stamp tells whether a file has changed. It holds no FileInfo, of which ten thousand
// tenants would keep the garbage collector busy.
type stamp struct {
	file    identity
	size    int64
	written int64 // in nanoseconds, as changed
	changed int64 // when content, times or name changed, which no tool sets; 0: unknown
}

func stampOf(info fs.FileInfo) stamp {
	return stamp{file: identityOf(info), size: info.Size(), written: info.ModTime().UnixNano(), changed: changeTime(info)}
}

func (s stamp) equals(other stamp) bool {
	return s.file.equals(other.file) && s.size == other.size && s.written == other.written && s.changed == other.changed
}

func (s stamped) unchanged(other stamped) bool {
	return s.label == other.label && s.path == other.path && s.of == other.of && s.equals(other.stamp)
}

// fileState is the state of a tenant's files between two looks.
type fileState struct {
	files   []stamped
	read    []verifier.Key // by the last read, in use or not
	settled bool           // no writer is halfway through
	at      time.Time      // of that read
}

// rereads is the age from which a read is repeated that the stamps say too little of.
const rereads = time.Second

// lasts reports whether files with the same stamps are the same: a tool that sets times
// shows in the time of change alone, unless that is unknown or the read followed at once.
func (s *fileState) lasts(now time.Time) bool {
	age := now.Sub(s.at)
	return s.settled && (age >= 0 && age < rereads || !slices.ContainsFunc(s.files, func(f stamped) bool {
		return f.changed == 0 || s.at.UnixNano()-f.changed < int64(settles)
	}))
}

// A fileFound is what is found, with its State and room for the one file and key that most
// tenants have: one object for the garbage collector, not four.
type fileFound struct {
	Found
	fileState
	oneFile [1]stamped
	oneKey  [1]verifier.Key
}

// settles is the age from which a file counts as complete.
const settles = time.Second

// Find implements Source.
func (f *File) Find(_ context.Context, name string, had *Found) (*Found, error) {
	now := f.now()
	last := new(fileState)
	if had != nil {
		last = had.State.(*fileState)
	}
	lasts := last.lasts(now)
	if lasts && f.unchanged(last.files, now) {
		return had, nil
	}
	files, skipped, err := f.stat(name, now)
	if err != nil {
		return nil, err
	}
	same := slices.EqualFunc(files, last.files, stamped.unchanged)
	if same && lasts {
		return had, nil
	}
	read, err := read(files, now)
	if err != nil {
		return nil, err
	}
	next := new(fileFound)
	next.files, next.read = append(next.oneFile[:0], files...), append(next.oneKey[:0], read...)
	next.at = now
	written := slices.ContainsFunc(files, func(s stamped) bool { return now.UnixNano()-s.written < int64(settles) })
	twice := same && slices.Equal(read, last.read)
	next.settled = twice || !written && !last.lacks(files)
	next.Found = Found{Keys: next.read, Texts: true, Skipped: skipped, Exposed: exposed(files, now), Soon: !next.settled, State: &next.fileState}
	if had != nil && written && !twice {
		next.Keys = had.Keys
	}
	return &next.Found, nil
}

// lacks reports whether one of the files of the last look is not among files: it may be
// replaced now, by a tool that removes it first, as git does.
func (s *fileState) lacks(files []stamped) bool {
	return slices.ContainsFunc(s.files, func(old stamped) bool {
		return !slices.ContainsFunc(files, func(f stamped) bool {
			return f.path == old.path && f.of.dir == old.of.dir && f.of.kind == old.of.kind
		})
	})
}

// unchanged reports whether a tenant still has the one file that it had, where no other
// can be: the look of nearly every tenant, and cheap.
func (f *File) unchanged(last []stamped, now time.Time) bool {
	if len(f.folders) != 1 || len(last) != 1 || last[0].label != "" {
		return false
	}
	folder, err := f.folders[0].open(now)
	return err == nil && last[0].of == f.folders[0] && folder.has(last[0])
}

// finds reports whether a file is what its path leads to.
func (o opened) finds(s stamped) bool {
	info, err := o.Stat(s.path)
	return err == nil && stampOf(info).equals(s.stamp)
}

// stat finds a tenant's files, and those that are skipped.
func (f *File) stat(name string, now time.Time) (files []stamped, skipped []string, err error) {
	var missing error
	for _, d := range f.folders {
		root, err := d.open(now)
		if err != nil {
			return nil, nil, unusable{err}
		}
		found, leftovers, err := d.files(root, strings.Replace(d.below, variable, name, 1))
		if d.leaves(name) {
			found, leftovers, err = nil, nil, errLeftover
		}
		if err != nil && errors.Is(classify(err), ErrDown) {
			return nil, nil, classify(err)
		}
		if err != nil {
			missing = classify(err)
			continue
		}
		files, skipped = append(files, found...), append(skipped, leftovers...)
	}
	if len(files) == 0 {
		return nil, nil, missing
	}
	return files, skipped, nil
}

// classify tells a file that a tenant cannot have from one that cannot be read now.
func classify(err error) error {
	number, isErrno := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, ErrDown) || errors.Is(err, ErrUnknown):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return ErrUnknown
	case !isErrno, number == syscall.ENOTDIR, number == syscall.ELOOP, number == syscall.ENAMETOOLONG: // a link out of the folder, above all
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return unusable{err}
}

// read returns the texts of files, in their order.
func read(files []stamped, now time.Time) (all []verifier.Key, err error) {
	for _, s := range files {
		text, err := s.text(now)
		if err != nil && !errors.Is(err, ErrDown) { // also a file that has gone: it was there just now
			err = unusable{err}
		}
		if err != nil {
			return nil, err
		}
		if text = strings.Trim(text, "\r\n"); text == "" {
			return nil, unusable{fmt.Errorf("%s: the file is empty", s.path)}
		}
		if err := keys.CheckRendered(text); err != nil {
			return nil, unusable{fmt.Errorf("%s: %w", s.path, err)}
		}
		all = append(all, verifier.Key{Label: s.label, Text: text, Kind: s.of.kind})
	}
	return all, nil
}

func (s stamped) text(now time.Time) (string, error) {
	root, err := s.of.open(now)
	if err != nil {
		return "", err
	}
	file, err := root.Open(s.path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxBytes {
		return "", unusable{fmt.Errorf("%s: larger than %d bytes", s.path, maxBytes)}
	}
	return string(data), nil
}

// Interface guards
var (
	_ Source            = (*File)(nil)
	_ caddy.Provisioner = (*File)(nil)
)
