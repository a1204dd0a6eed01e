package caddymodule

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
)

// TestStatus: all counters, for each name once.
func TestStatus(t *testing.T) {
	dir := t.TempDir()
	write(t, "n9Wd4kTq2", dir, "keys", "current")
	write(t, "rotated-out", dir, "keys", "old")
	named := func(config, name string) string { return strings.Replace(config, `"acme"`, `"`+name+`"`, 1) }
	config := named(strings.Replace(once(), topsecret, `"secret":["{file.`+filepath.ToSlash(dir)+`/keys}"]`, 1), "status-a")
	g := watched(t, `{"max_buffered":90000}`, config, named(once(), "status-b"), named(timed(`"observe":true`), "status-b"))
	forge := func(n int, h *Handler) {
		for range n {
			serve(t, forged("{}"), accepting, h)
		}
	}
	serve(t, post(), accepting, g.handlers[0])
	serve(t, post(), accepting, g.handlers[0])
	forge(3, g.handlers[0])
	forge(1, g.handlers[1])
	forge(2, g.handlers[2])
	if err := os.RemoveAll(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	if err := g.handlers[0].keys.Refresh(); err != nil {
		t.Fatal(err)
	}
	s := get[adminapi.Status](t, adminapi.StatusPath)
	if s.Store != (adminapi.Store{Kind: "memory", Entries: 1}) || s.BufferedBytes != 0 || s.MaxBuffered != 90000 || s.Kept != 6 || s.KeptBytes == 0 || s.Since.IsZero() {
		t.Errorf("in all: %+v", s)
	}
	if len(s.Handlers) != 2 || s.Handlers[0].Name != "status-a" || s.Handlers[1].Name != "status-b" {
		t.Fatalf("handlers %+v", s.Handlers)
	}
	a, b := s.Handlers[0], s.Handlers[1]
	if a.Delivered != 1 || a.Duplicates != 1 || a.Rejected["signature_mismatch"] != 3 || len(a.Rejected) != 1 || len(a.Observed) != 0 || a.Observe {
		t.Errorf("status-a counts %+v", a)
	}
	if a.LastDelivered == nil || !a.LastDelivered.Equal(clock) {
		t.Errorf("last delivered %v", a.LastDelivered)
	}
	if len(a.Keys) != 2 || a.Keys[0].Label != "current" || a.Keys[0].LastUsed == nil || a.Keys[1].Label != "old" || a.Keys[1].LastUsed != nil {
		t.Errorf("keys %+v", a.Keys)
	}
	if len(a.KeyProblems) != 1 || !strings.Contains(a.KeyProblems[0], "no such file") {
		t.Errorf("key problems %q", a.KeyProblems)
	}
	if b.Rejected["signature_mismatch"] != 1 || b.Observed["signature_mismatch"] != 2 || !b.Observe || b.LastDelivered != nil || len(b.Keys) != 1 || len(b.KeyProblems) != 0 {
		t.Errorf("status-b counts %+v", b)
	}
	if one := get[adminapi.Status](t, adminapi.StatusPath+"?name=status-b"); len(one.Handlers) != 1 || one.Handlers[0].Name != "status-b" {
		t.Errorf("of one name: %+v", one.Handlers)
	}
	if a.Hour != nil {
		t.Error("the last hour is in an answer that was not asked for it")
	}
	// The clock of these handlers is not this machine's: their hour is long over.
	metrics.Of("status-a").Count(metrics.Failed, "timeout", time.Now())
	hour := get[adminapi.Status](t, adminapi.StatusPath+"?hour=1&name=status-a").Handlers[0].Hour
	if failed := hour["failed"]; len(hour) != 1 || len(failed) != 60 || failed[58]+failed[59] != 1 {
		t.Errorf("last hour %v", hour)
	}
}

// TestStatusForPrograms: a time that never was is null, and empty lists are lists.
func TestStatusForPrograms(t *testing.T) {
	watched(t, "", strings.Replace(timed(), `"acme"`, `"status-c"`, 1))
	w, err := ask(http.MethodGet, adminapi.StatusPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"last_delivered":null`, `"keys":[{"label":"1","last_used":null}]`, `"key_problems":[]`, `"rejected":{}`, `"observed":{}`, `"kind":"memory","degraded":false`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in %s", want, w.Body)
		}
	}
}

// TestAdminRefuses: each path names its methods.
func TestAdminRefuses(t *testing.T) {
	g := watched(t, "", timed())
	serve(t, forged("{}"), accepting, g.handlers...)
	id := newestID()
	for path, method := range map[string]string{
		adminapi.StatusPath: "GET", adminapi.RejectionsPath: "GET", adminapi.RejectionsPath + "/" + id: "GET", adminapi.DeliveriesPath + "/" + theKey.String(): "DELETE",
		adminapi.DeliveriesPath: "GET, DELETE",
	} {
		for _, other := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if slices.Contains(strings.Split(method, ", "), other) {
				continue
			}
			w, err := ask(other, path)
			if caddyStatus(err) != http.StatusMethodNotAllowed || w.Header().Get("Allow") != method {
				t.Errorf("%s %s: %v, Allow %q; want 405 and %s", other, path, err, w.Header().Get("Allow"), method)
			}
		}
	}
	for _, path := range []string{adminapi.StatusPath + "?name=nobody", adminapi.RejectionsPath + "?name=nobody", adminapi.DeliveriesPath + "?name=nobody", adminapi.RejectionsPath + "/000000000000", adminapi.RejectionsPath + "/", adminapi.RejectionsPath + "/" + id + "/"} {
		_, err := ask(http.MethodGet, path)
		if caddyStatus(err) != http.StatusNotFound || strings.Contains(err.Error(), "nobody") {
			t.Errorf("%s: %v, want 404", path, err)
		}
		if strings.Contains(path, "name=") && !strings.HasSuffix(err.Error(), "acme") {
			t.Errorf("%s: %v, want the names that there are", path, err)
		}
	}
}

// TestNothingRuns: without a configuration there is nothing to show.
func TestNothingRuns(t *testing.T) {
	if app := current(); app != nil {
		t.Fatalf("another test's app still runs")
	}
	for _, path := range []string{adminapi.StatusPath, adminapi.RejectionsPath, adminapi.DeliveriesPath, adminapi.DeliveriesPath + "?follow=1"} {
		if _, err := ask(http.MethodGet, path); caddyStatus(err) != http.StatusNotFound {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestRolledBack: a configuration that starts and is stopped again leaves the
// previous one in force.
func TestRolledBack(t *testing.T) {
	old := mustProvision(t, "", timed())
	old.start(t)
	failed := mustProvision(t, "", timed())
	if err := failed.app.Start(); err != nil {
		t.Fatal(err)
	}
	if current() != failed.app {
		t.Error("the newest is not in force")
	}
	if err := failed.app.shut(); err != nil {
		t.Fatal(err)
	}
	if current() != old.app {
		t.Error("the one before is not in force")
	}
}
