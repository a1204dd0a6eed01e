package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// ask sends an operator's request to the admin endpoint.
func ask(method, path string) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	for _, route := range new(adminAPI).Routes() {
		if strings.HasPrefix(path, route.Pattern) {
			return w, route.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		}
	}
	return w, errors.New("no such route")
}

func remove(key string) error {
	_, err := ask(http.MethodDelete, adminapi.DeliveriesPath+"/"+key)
	return err
}

// caddyStatus is Caddy's status for an error of the admin endpoint.
func caddyStatus(err error) int {
	if e, ok := errors.AsType[caddy.APIError](err); ok {
		return e.HTTPStatus
	}
	return 0
}

// TestForget: every open store forgets the delivery.
func TestForget(t *testing.T) {
	memory := running(t, "", once())
	file := running(t, boltAt(filepath.Join(t.TempDir(), "dedupe.db")), once())
	key := theKey.String()
	missing := func(when string) {
		t.Helper()
		if err := remove(key); caddyStatus(err) != http.StatusNotFound {
			t.Errorf("%s: %v", when, err)
		}
	}
	missing("never seen")
	for _, taken := range [][]*gateway{{memory}, {file}, {memory, file}} {
		for _, g := range taken {
			g.send(post(), answering(200)).isForwarded(t)
		}
		w, err := ask(http.MethodDelete, adminapi.DeliveriesPath+"/"+strings.ToUpper(key))
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Forgotten, Note string }
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != 200 || said.Forgotten != key || !strings.Contains(said.Note, "own memory") {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("answered with %v", w.Header())
		}
		missing("forgotten already")
		for _, g := range []*gateway{memory, file} {
			if got := g.state(t); got != "absent" {
				t.Errorf("the delivery is %s", got)
			}
		}
	}
	memory.send(post(), answering(200)).isForwarded(t)
	other := dedupe.NewKey("other").String()
	if err := remove(other); caddyStatus(err) != http.StatusNotFound {
		t.Errorf("another key: %v", err)
	}
	memory.send(post(), answering(200)).isDuplicate(t)
}

// TestForgetInFlight: refused if it is in flight in any store.
func TestForgetInFlight(t *testing.T) {
	memory := running(t, "", once())
	file := running(t, boltAt(filepath.Join(t.TempDir(), "dedupe.db")), once())
	for _, g := range []*gateway{memory, file} {
		g.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
			err := remove(theKey.String())
			if caddyStatus(err) != http.StatusConflict || !strings.Contains(err.Error(), "in flight") {
				t.Errorf("got %v", err)
			}
			w.WriteHeader(200)
			return nil
		}).isForwarded(t)
		g.send(post(), answering(500)).isDuplicate(t)
	}
}

func TestForgetRefused(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodHead, "delete"} {
		if _, err := ask(method, adminapi.DeliveriesPath+"/"+theKey.String()); caddyStatus(err) != http.StatusMethodNotAllowed {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, key := range []string{"", "0", theKey.String()[1:], theKey.String() + "0", theKey.String() + "/", strings.Repeat("x", 32), marker} {
		err := remove(key)
		if caddyStatus(err) != http.StatusBadRequest || strings.Contains(err.Error(), marker) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestForgetStoreDown: if a store did not respond, the operator must not read "no
// such delivery".
func TestForgetStoreDown(t *testing.T) {
	store := &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) {
		return dedupe.NewGate(dedupe.Options{Store: struct{ dedupe.Store }{newBrokenStore()}}), nil
	}}
	if _, err := acquire(store); err != nil {
		t.Fatal(err)
	}
	defer poolIsEmpty(t)
	defer func() {
		if err := release(store); err != nil {
			t.Error(err)
		}
	}()
	if err := remove(theKey.String()); caddyStatus(err) != http.StatusServiceUnavailable {
		t.Errorf("got %v", err)
	}
}

// TestNoteOfForgotten: only a shared store is called one.
func TestNoteOfForgotten(t *testing.T) {
	defer poolIsEmpty(t)
	memory := dedupe.NewMemory(dedupe.MemoryOptions{})
	for store, shared := range map[dedupe.Store]bool{memory: false, struct{ dedupe.Store }{memory}: true} {
		module := &fakeStore{id: "fake", gate: func() (*dedupe.Gate, error) { return dedupe.NewGate(dedupe.Options{Store: store}), nil }}
		if _, err := acquire(module); err != nil {
			t.Fatal(err)
		}
		if note := forgottenWhere(); strings.Contains(note, "shared store") != shared {
			t.Errorf("shared %v: %s", shared, note)
		}
		if err := release(module); err != nil {
			t.Error(err)
		}
	}
}
