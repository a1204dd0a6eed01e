package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// backups are names of files that editors and package managers, file managers and transfers
// leave, and folders of keys do not use.
var backups = []string{
	"current~", "current.~1~", "#current#", "current.bak", "current.BAK", "current.bak2", "current.backup", "current.orig", "current.old", "current.old.1", "current.old-2026-11-30",
	"current.save", "current.save.1", "current.swp", "current.swo", "current.tmp", "current.temp", "current.rpmsave", "current.rpmnew", "current.rpmorig", "current.pacsave", "current.pacnew",
	"current.apk-new", "current.dpkg-old", "current.dpkg-dist", "current.dpkg-new", "current.dpkg-tmp", "current.ucf-old", "current.ucf-dist", "key.pem.bak", "a.b~",
	"current.back", "current.bck", "current.bk", "current.bkp", "current.original", "current.kate-swp", "current.rej", "current.lock", "current.cfgsaved", "current.augsave", "current.augnew",
	"current.part", "current.partial", "current.filepart", "current.crdownload", "sedAbCdEf", "sed0Xy12z", "current.disabled", "current.revoked", "current.revoked-2026-11-30",
	"Copy of current", "Copy 2 of current", "current - Copy", "current - Copy (2).pem", "current copy", "current copy 2.pem", "current(1)", "current (1)", "current (1).pem", "current (copy)", "current (another copy)", "current (3rd copy)",
}

func TestLeftover(t *testing.T) {
	for _, name := range backups {
		if !Leftover(name) {
			t.Errorf("%s is a key", name)
		}
	}
	for _, name := range []string{
		"current", "previous", "old", "bak", "orig", "save", "tmp", "1", "2026-11-30", "current.new", "current.pem", "key.txt", "current.1", "backup", "old.pem", "a.old.pem",
		"current-old", "current_bak", "a.older", "a.saved", "a.bakery", "a.gold", "#1", "a#", "~a", "acme.dpkg", "rpmsave", "shop.example.com", "save.example.com", "Tmp",
		"sedgewick", "sedona123", "sedAbCdEfg", "copy", "photocopy", "copy of", "my copyright", "hardcopy.pem", "part", "a.party", "part.pem", "key.partner", "revoked", "a-revoked", "lock", "a.locks", "shop.download", "current.prev", "(1)", "key (new)", "a.backend", "disabled.pem", "customer.deleted", "checkout.session.expired", "shipment.removed",
	} {
		if Leftover(name) {
			t.Errorf("%s is no key", name)
		}
	}
}

// TestLeftoversOfARotation: a key that was replaced verifies nothing from the backup beside
// its file. One warning names the file, as does the status until it is removed.
func TestLeftoversOfARotation(t *testing.T) {
	for _, name := range backups {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "keys")
			write(t, "the-stolen-secret", dir, "current")
			r := newTestSet(verifier.Scheme{})
			r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + dir + "}"})
			r.mustRefresh(t)
			write(t, "the-stolen-secret", dir, name)
			write(t, "the-second-secret", dir, "current")
			for range 3 {
				r.mustRefresh(t)
			}
			if stolen, second := r.keyOf(t, "the-stolen-secret"), r.keyOf(t, "the-second-secret"); stolen != "" || second != "current" {
				t.Errorf("the replaced key verifies as %q, the new one as %q", stolen, second)
			}
			logged := r.logs.FilterMessage(LeftoverUnused).All()
			if len(logged) != 1 || logged[0].ContextMap()["option"] != "secret {file."+dir+"}" || !slices.Equal(logged[0].ContextMap()["files"].([]any), []any{name}) {
				t.Errorf("logged %v", logged)
			}
			if problems := r.Problems(); len(problems) != 1 || !strings.Contains(problems[0], dir) || !strings.Contains(problems[0], name) {
				t.Errorf("the status says %q", problems)
			}
			if all := fmt.Sprint(r.logs.All(), r.Problems()); strings.Contains(all, "stolen") || r.failures > 0 {
				t.Errorf("%d failures, %s", r.failures, all)
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			r.mustRefresh(t)
			if problems := r.Problems(); len(problems) > 0 {
				t.Errorf("removed: the status says %q", problems)
			}
		})
	}
}

// TestNothingButLeftovers: a folder without another file is empty.
func TestNothingButLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	write(t, "the-first-secret", dir, "current")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + dir + "}"})
	r.mustRefresh(t)
	r.messages()
	if err := os.Rename(filepath.Join(dir, "current"), filepath.Join(dir, "current.old")); err != nil {
		t.Fatal(err)
	}
	r.mustRefresh(t)
	r.mustRefresh(t)
	if got, want := r.messages(), []string{"warn " + LeftoverUnused, keyUnusable}; !slices.Equal(got, want) || r.keyOf(t, "the-first-secret") != "current" {
		t.Errorf("logged %q, want %q, and the last key in use", got, want)
	}
	if problems := r.Problems(); len(problems) != 2 || !strings.Contains(problems[0], "no key file") {
		t.Errorf("the status says %q", problems)
	}
}
