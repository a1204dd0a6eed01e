package tenants

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// CheckPath refuses a path without exactly one {tenant}, or with another placeholder.
func CheckPath(path string) error {
	rest := strings.Replace(path, variable, "", 1)
	switch {
	case rest == path:
		return errors.New("the path has no {tenant}, so every tenant would have the same key: write {file./run/keys/{tenant}}, or remove tenant")
	case strings.ContainsAny(rest, "{}\x00"):
		return errors.New("the path has more than one {tenant}, or another placeholder: write {file./run/keys/{tenant}}")
	case slices.Contains(strings.Split(path, "/"), ".."):
		return errors.New("the path has an element ..: write where it leads")
	}
	if err := keys.Literal(rest, false); err != nil {
		return fmt.Errorf("the path beside {tenant}: %w", err)
	}
	return nil
}

// Holds reports whether a tenant's secret may be in the file or folder of these elements.
// It opens nothing.
func (f *File) Holds(path []string) bool {
	return slices.ContainsFunc(f.secrets(), func(own pattern) bool { return holds(own.elements, path) })
}

// IsFolder reports whether these are the elements of the folder that has the files of all
// tenants' secrets.
func (f *File) IsFolder(path []string) bool {
	return slices.ContainsFunc(f.secrets(), func(own pattern) bool {
		last := len(own.elements) - 1
		return own.elements[last].named && slices.EqualFunc(own.elements[:last], path, func(e element, text string) bool { return e.text == text })
	})
}

func (f *File) secrets() []pattern { return f.parsed()[:len(f.Secret)] }

// Elements returns the elements of a path, from the root.
func Elements(path string) []string {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return strings.Split(filepath.ToSlash(path), "/")
}

// holds compares a path that contains {tenant} with another, which may be that of the
// folder of such files, or of a file where a tenant has a folder.
func holds(own []element, other []string) bool {
	if d := len(other) - len(own); d < -1 || d > 1 {
		return false
	}
	for i := range min(len(own), len(other)) {
		if own[i].text == other[i] {
			continue
		}
		if _, isName := own[i].nameIn(other[i]); !own[i].named || !isName {
			return false
		}
	}
	return true
}

// CheckPaths refuses two paths where one file is that of a tenant in one of them and of
// another tenant in the other: /run/keys/{tenant} has a tenant acme.old whose key is the
// older one of acme in /run/keys/{tenant}.old.
func (f *File) CheckPaths() error {
	if p, q, found := f.Mixes(f); found {
		return fmt.Errorf("the file of a tenant in %s may be that of another tenant in %s: use two folders, neither of which is in the other, such as /run/keys/{tenant} and /run/older-keys/{tenant}", p, q)
	}
	return nil
}

// Mixes returns a path of each where one file may be that of two tenants, of one in each
// path.
func (f *File) Mixes(other *File) (path, others string, found bool) {
	for _, p := range f.parsed() {
		for _, q := range other.parsed() {
			if mixes(p.elements, q.elements) {
				return p.path, q.path, true
			}
		}
	}
	return "", "", false
}

// A pattern is a path, parsed.
type pattern struct {
	path     string
	elements []element
}

// An element is one element of a path. One that is named has {tenant} between before and
// after.
type element struct {
	text, before, after string
	named               bool
}

// parsed returns the paths parsed. The start compares those of each two handlers.
func (f *File) parsed() []pattern {
	if f.patterns != nil {
		return f.patterns
	}
	return f.parse()
}

func (f *File) parse() (patterns []pattern) {
	for _, path := range slices.Concat(f.Secret, f.PublicKey) {
		p := pattern{path: path}
		for _, text := range Elements(path) {
			e := element{text: text}
			e.before, e.after, e.named = strings.Cut(text, variable)
			p.elements = append(p.elements, e)
		}
		patterns = append(patterns, p)
	}
	return patterns
}

// mixes reports whether a file may be that of two tenants, of one in each path. A tenant's
// file may also be a folder of files.
func mixes(p, q []element) bool {
	if len(p) > len(q) {
		p, q = q, p
	}
	if len(q)-len(p) > 1 {
		return false
	}
	ofP, ofQ, ok := "", "", false                // the tenants, if the other path says which
	free := q[len(q)-1].named && len(p) < len(q) // of q, whoever that of p is
	for i := range p {
		switch x, y := p[i], q[i]; {
		case x == y:
		case x.named && y.named:
			if free = x.meets(y); !free {
				return false
			}
		case x.named:
			if ofP, ok = x.nameIn(y.before); !ok {
				return false
			}
		case y.named:
			if ofQ, ok = y.nameIn(x.before); !ok {
				return false
			}
		default:
			return false
		}
	}
	return free || ofP != ofQ
}

// meets reports whether two elements with {tenant} may be one text, with different names.
func (e element) meets(o element) bool {
	if len(e.before) > len(o.before) {
		e.before, o.before = o.before, e.before
	}
	if len(e.after) > len(o.after) {
		e.after, o.after = o.after, e.after
	}
	before, begins := strings.CutPrefix(o.before, e.before)
	after, ends := strings.CutSuffix(o.after, e.after)
	_, ok := Name(before+"a"+after, true) // they are parts of names
	return begins && ends && ok
}

// nameIn returns the tenant's name in an element of a path.
func (e element) nameIn(text string) (name string, ok bool) {
	text, begins := strings.CutPrefix(text, e.before)
	text, ends := strings.CutSuffix(text, e.after)
	if !begins || !ends {
		return "", false
	}
	return Name(text, true)
}

// errLeftover is the error for a name of which no file is a tenant's.
var errLeftover = fmt.Errorf("%w: files named like the backups of editors and package managers (acme.bak, acme.old) are no tenants'", ErrUnknown)

// leaves reports whether the file of this name is one that editors or packages leave
// beside that of a tenant: its key may be one that was rotated away. A tenant's own name
// may end as other leftovers do: john.lock, anna.back.
func (d *folder) leaves(name string) bool {
	if _, after, _ := strings.Cut(d.below, variable); after != "" && after[0] != '/' {
		return false // the file has an ending of its own
	}
	return keys.Backup(name)
}
