package tenants

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestWhatAFileHolds: a tenant's secret may be in a file that another handler names.
func TestWhatAFileHolds(t *testing.T) {
	for _, c := range []struct {
		path, other string
		want        bool
	}{
		{"/run/keys/{tenant}", "/run/keys/acme", true},
		{"/run/keys/{tenant}", "/run/keys//acme/", true},
		{"/run/keys/{tenant}", "/run/keys", true},        // each file of the folder is a key
		{"/run/keys/{tenant}", "/run/keys/acme/1", true}, // where a tenant has a folder
		{"/run/keys/{tenant}", "/run", false},
		{"/run/keys/{tenant}", "/run/keys/acme/a/b", false},
		{"/run/keys/{tenant}", "/run/keys/.acme", false},
		{"/run/keys/{tenant}", "/run/key/acme", false},
		{"/run/keys/{tenant}.pem", "/run/keys/acme.pem", true},
		{"/run/keys/{tenant}.pem", "/run/keys/acme", false},
		{"/run/keys/{tenant}.pem", "/run/keys/.pem", false},
		{"/run/keys/{tenant}/webhook", "/run/keys/acme/webhook", true},
		{"/run/keys/{tenant}/webhook", "/run/keys/acme", true},
		{"/run/keys/{tenant}/webhook", "/run/keys/acme/api", false},
		{"keys/{tenant}", "keys/acme", true},
	} {
		if got := (&File{Secret: []string{c.path}}).Holds(Elements(c.other)); got != c.want {
			t.Errorf("%s holds %s: %t", c.path, c.other, got)
		}
	}
}

// TestPathsThatMixTenants: no file is that of one tenant in one path, and of another tenant
// in another path.
func TestPathsThatMixTenants(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"/k/{tenant}", "/k/{tenant}.old", true},  // acme.old
		{"/k/{tenant}", "/k/./{tenant}-2", true},  // acme-2
		{"/k/{tenant}", "/k/shop-{tenant}", true}, // shop-acme
		{"/k/{tenant}.pem", "/k/{tenant}.old.pem", true},
		{"/k/a-{tenant}", "/k/{tenant}-a", true}, // a-b of b-a is a-b-a
		{"/k/a{tenant}", "/k/ab{tenant}c", true},
		{"/k/{tenant}/key", "/k/{tenant}.old/key", true},
		{"/k/{tenant}/key", "/k/shop/{tenant}", true}, // shop, key
		{"/k/{tenant}", "/k/old/{tenant}", true},      // old has a folder with a key of each
		{"/k/{tenant}", "/k/{tenant}.old/key", true},  // acme.old has a folder
		{"/k/{tenant}", "/k/shop/old-{tenant}", true},
		{"/k/{tenant}.pem", "/k/{tenant}/key", true}, // that of acme.pem is acme's

		{"/k/{tenant}", "/k/{tenant}", false},
		{"/k/{tenant}", "/k/{tenant}/key", false}, // a file of its folder
		{"/k/{tenant}/old", "/k/{tenant}/new", false},
		{"/k/{tenant}", "/old/{tenant}", false},
		{"/k/{tenant}", "/old/{tenant}.old", false},
		{"/k/{tenant}", "/k/.old/{tenant}", false}, // no name begins with a dot
		{"/k/{tenant}", "/k/.{tenant}", false},
		{"/k/{tenant}", "/k/{tenant}~", false},
		{"/k/{tenant}", "/k/old/keys/{tenant}", false}, // two folders further down
		{"/k/{tenant}.pem", "/k/{tenant}.key", false},
		{"/k/shop-{tenant}", "/k/app-{tenant}", false},
		{"/k/{tenant}/shop", "/k/shop/{tenant}", false}, // both are of the tenant shop
		{"k/{tenant}", "/k/{tenant}.old", false},
	} {
		for _, f := range []*File{{Secret: []string{c.p, c.q}}, {Secret: []string{c.q, "/elsewhere/{tenant}", c.p}}, {Secret: []string{c.p}, PublicKey: []string{c.q}}} {
			if err := f.Provision(caddy.Context{}); (err != nil) != c.want {
				t.Errorf("%s and %s: %v", c.p, c.q, err)
			}
		}
	}
}

// TestLeftovers: a backup beside the file of a tenant, with a key that was rotated away, is
// no tenant's.
func TestLeftovers(t *testing.T) {
	names := []string{"acme.old", "acme.bak", "acme.orig", "acme.tmp", "acme.swp", "acme.rpmsave", "acme.rpmnew", "acme.dpkg-old", "acme.dpkg-dist", "acme.ucf-old", "acme.pacsave", "acme.backup", "ACME.Old", "acme.com.bak"}
	others := []string{"acme.com", "old", "bak", "acme-old", "acme.older", "old.acme", "acme.dpkg", "acme.old.com", "john.lock", "anna.back", "acme.part-2", "x.removed"}
	files := make(map[string]string)
	for _, name := range append(names, others...) {
		files[name], files["folders/"+name+"/key"], files["pem/"+name+".pem"] = "key", "key", "key"
	}
	plain, dir := folderOf(t, files, "{tenant}")
	in := func(pattern string) *File {
		f := &File{Secret: []string{filepath.Join(dir, pattern)}}
		if err := f.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, name := range names {
		for _, f := range []*File{plain, in("folders/{tenant}"), in("folders/{tenant}/key")} {
			if got := texts(f.Find(t.Context(), name, nil)); got != "unknown" {
				t.Errorf("%s in %s: %s", name, f.Secret, got)
			}
		}
		if got := texts(in("pem/{tenant}.pem").Find(t.Context(), name, nil)); got != "key" { // that of acme.pem would be acme.pem.old
			t.Errorf("%s.pem: %s", name, got)
		}
	}
	for _, name := range others {
		if got := texts(plain.Find(t.Context(), name, nil)); got != "key" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, err := plain.Find(t.Context(), "acme.old", nil); !strings.Contains(err.Error(), "named like the backups") {
		t.Errorf("the operator reads %v", err)
	}
}
