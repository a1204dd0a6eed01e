package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// testSet is a Set with its log and its count of failures.
type testSet struct {
	*Set
	logs     *observer.ObservedLogs
	failures int
}

func mustCompile(scheme verifier.Scheme) *verifier.Rules {
	rules, err := verifier.Compile(scheme)
	if err != nil {
		panic(err)
	}
	return rules
}

func newTestSet(scheme verifier.Scheme) *testSet {
	core, logs := observer.New(zapcore.DebugLevel)
	r := &testSet{logs: logs}
	if scheme.Signature == nil {
		scheme.Signature = &verifier.Signature{Header: verifier.StringList{"X-Signature"}}
	}
	r.Set, _ = gather(Config{Rules: mustCompile(scheme), Logger: zap.New(core), Failed: func() { r.failures++ }}) // of nothing yet: it cannot fail
	return r
}

func (r *testSet) mustAdd(t *testing.T, option string, use use, detail string, v Value) {
	t.Helper()
	if err := r.add(option, use, detail, v); err != nil {
		t.Fatal(err)
	}
}

func (r *testSet) mustRefresh(t *testing.T) {
	t.Helper()
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
}

// messages returns the log since the last call.
func (r *testSet) messages() []string {
	var all []string
	for _, e := range r.logs.TakeAll() {
		all = append(all, e.Level.String()+" "+e.Message)
	}
	return all
}

func sign(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// keyOf returns the label of the key that matches a delivery signed with secret, or
// "".
func (r *testSet) keyOf(t *testing.T, secret string) string {
	t.Helper()
	s := r.Snapshot()
	if s == nil {
		t.Fatal("there is no key")
	}
	j, err := s.Verifier.Judge(&verifier.Request{Header: map[string][]string{"X-Signature": {sign(secret, "body")}}}, []byte("body"), time.Unix(0, 0))
	if err != nil {
		return ""
	}
	return j.Verdict.Key
}

const (
	keyUnusable = "error cannot use key file"
	keyUsable   = "info key file is usable again"
	keyChanged  = "info keys changed and are in use"
)

func TestRefresh(t *testing.T) {
	dir := t.TempDir()
	path := write(t, "one\n", dir, "key")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	r.mustRefresh(t)
	first := r.current.Load()

	step := func(name, good, bad string, swapped bool, failures int, logs ...string) {
		t.Helper()
		before := r.current.Load()
		r.mustRefresh(t)
		r.failures = 0
		r.mustRefresh(t)
		if r.keyOf(t, good) == "" || bad != "" && r.keyOf(t, bad) != "" {
			t.Errorf("%s: the key in use is not %s", name, good)
		}
		if (r.current.Load() != before) != swapped {
			t.Errorf("%s: the verifier was swapped: %t, want %t", name, !swapped, swapped)
		}
		if got := r.messages(); !slices.Equal(got, logs) {
			t.Errorf("%s: logged %q, want %q", name, got, logs)
		}
		if r.failures != failures {
			t.Errorf("%s: %d failures counted, want %d", name, r.failures, failures)
		}
	}
	step("unchanged", "one", "two", false, 0)
	write(t, "two\n", path)
	step("changed", "two", "one", true, 0, keyChanged)
	write(t, "\n", path)
	step("empty", "two", "one", false, 1, keyUnusable)
	step("still empty", "two", "one", false, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("removed: another problem", "two", "one", false, 1, keyUnusable)
	write(t, "two", path)
	step("as before", "two", "one", false, 0, keyUsable)
	write(t, strings.Repeat("x", maxKeyFile+1), path)
	step("too large", "two", "one", false, 1, keyUnusable)
	write(t, "three", path)
	step("another key", "three", "two", true, 0, keyUsable, keyChanged)

	// Secret mounts swap a link.
	write(t, "four", dir, "v2", "key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("v2", "key"), path); err != nil {
		t.Skip(err)
	}
	step("link", "four", "three", true, 0, keyChanged)
	write(t, "five", dir, "v3", "key")
	if err := os.Symlink(filepath.Join("v3", "key"), path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	step("link swapped", "five", "four", true, 0, keyChanged)

	// A delivery in flight keeps its first verifier.
	r2 := &testSet{Set: &Set{}}
	r2.current.Store(first)
	if r2.keyOf(t, "one") == "" {
		t.Error("the first verifier was changed by later keys")
	}
}

// TestRefreshUndecodable: a text that is not a key of the scheme is treated like a
// missing one.
func TestRefreshUndecodable(t *testing.T) {
	path := write(t, "6f6e65", t.TempDir(), "key")
	r := newTestSet(verifier.Scheme{SecretEncoding: "hex"})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	r.mustRefresh(t)
	write(t, marker, path)
	r.mustRefresh(t)
	r.mustRefresh(t)
	if r.keyOf(t, "one") == "" {
		t.Error("the last good key is gone")
	}
	logged := r.logs.TakeAll()
	if len(logged) != 1 || r.failures != 1 {
		t.Fatalf("%d entries, %d failures, want one of each", len(logged), r.failures)
	}
	fields := logged[0].ContextMap()
	if fields["option"] != "secret {file."+path+"}" || fields["consequence"] != "the last usable key stays in use" {
		t.Errorf("logged %v", fields)
	}
	for k, v := range fields {
		if s, ok := v.(string); ok && strings.Contains(s, marker) {
			t.Errorf("the log holds the key's text in %s", k)
		}
	}
}

func TestMissingAtStart(t *testing.T) {
	dir := t.TempDir()
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + filepath.Join(dir, "key") + "}"})
	r.mustRefresh(t)
	if r.current.Load() != nil || r.failures != 1 {
		t.Fatalf("a verifier without a key, or not one failure but %d", r.failures)
	}
	if got := r.messages(); !slices.Equal(got, []string{keyUnusable}) {
		t.Errorf("logged %q", got)
	}
	write(t, "one", dir, "key")
	r.mustRefresh(t)
	r.mustRefresh(t)
	if r.keyOf(t, "one") != "1" {
		t.Error("the key is not in use")
	}
	if got := r.messages(); !slices.Equal(got, []string{keyUsable}) {
		t.Errorf("logged %q", got)
	}
}

// TestMissingPart: every delivery needs the file of a required header or param, but
// not each of several secrets.
func TestMissingPart(t *testing.T) {
	dir := t.TempDir()
	missing := Value{Value: "{file." + filepath.Join(dir, "missing") + "}"}
	withParam := verifier.Scheme{Message: verifier.StringList{"{param:hook}{body}"}, Params: map[string]string{"hook": missing.Value}}
	for name, tc := range map[string]struct {
		scheme verifier.Scheme
		use    use
		detail string
		usable bool // before the file exists
	}{
		"secret": {verifier.Scheme{}, useSecret, "", true},
		"header": {verifier.Scheme{}, useHeader, "X-Team", false},
		"param":  {withParam, useParam, "hook", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestSet(tc.scheme)
			r.mustAdd(t, name, tc.use, tc.detail, missing)
			r.mustAdd(t, "secret", useSecret, "", Value{Value: "one"})
			r.mustRefresh(t)
			if got := r.current.Load() != nil; got != tc.usable {
				t.Errorf("usable without the file: %t, want %t", got, tc.usable)
			}
			path := write(t, "text", dir, "missing")
			defer os.Remove(path)
			r.mustRefresh(t)
			r.mustRefresh(t)
			if r.current.Load() == nil {
				t.Error("not usable with the file")
			}
		})
	}
}

// TestPinnedRoot: a scheme that pins its root needs no key, but the file of a
// configured root replaces the pin even while it is missing.
func TestPinnedRoot(t *testing.T) {
	dir := t.TempDir()
	missing := Value{Value: "{file." + filepath.Join(dir, "missing") + "}"}
	scheme := verifier.Scheme{
		Algorithm: verifier.ECDSAP256SHA256Raw,
		X5C:       &verifier.X5C{Roots: verifier.StringList{strings.Repeat("0", 64)}},
		Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}, Syntax: "jwt"},
		Claims:    map[string]string{"body": "{body|sha256|hex}", "team": "{param:team}"},
		Params:    map[string]string{"team": missing.Value},
	}
	r := newTestSet(scheme)
	r.mustRefresh(t)
	if r.current.Load() != nil {
		t.Error("usable without the file of a param")
	}
	write(t, "a", dir, "missing")
	r.mustRefresh(t)
	r.mustRefresh(t)
	if got := r.Labels(); !slices.Equal(got, []string{verifier.LabelPinned}) {
		t.Errorf("labels %q", got)
	}

	scheme.Params = map[string]string{"team": "a"}
	r = newTestSet(scheme)
	r.mustAdd(t, "public_key", usePublicKey, "", Value{Value: "{file." + filepath.Join(dir, "root.pem") + "}"})
	r.mustRefresh(t)
	if r.current.Load() != nil {
		t.Error("the pinned root is in use in place of the configured one")
	}
}

func TestLabels(t *testing.T) {
	dir := t.TempDir()
	write(t, "in-dir-a", dir, "keys", "a")
	write(t, "in-dir-b", dir, "keys", "b")
	late := filepath.Join(dir, "late")
	r := newTestSet(verifier.Scheme{})
	for _, v := range []Value{
		{Value: "{file." + late + "}"},
		{Value: "second"},
		{Value: "third", Label: "old"},
		{Value: "{file." + filepath.Join(dir, "keys") + "}"},
		{Value: "{file." + filepath.Join(dir, "keys") + "}", Label: "new"},
		{Value: "sixth"},
	} {
		r.mustAdd(t, "secret", useSecret, "", v)
	}
	check := func(want map[string]string) {
		t.Helper()
		for secret, label := range want {
			if got := r.keyOf(t, secret); got != label {
				t.Errorf("%s: got label %q, want %q", secret, got, label)
			}
		}
	}
	want := map[string]string{"second": "2", "third": "old", "in-dir-a": "a", "in-dir-b": "b", "sixth": "6"}
	r.mustRefresh(t)
	check(want)
	if got := r.Snapshot().Labels(); !slices.Equal(got, []string{"2", "old", "a", "b", "new/a", "new/b", "6"}) {
		t.Errorf("labels: %q", got)
	}
	// Positions follow the configuration: they do not change when a file appears.
	write(t, "first", late)
	r.mustRefresh(t)
	r.mustRefresh(t)
	want["first"] = "1"
	check(want)
	if got := r.Snapshot().Labels(); !slices.Equal(got, []string{"1", "2", "old", "a", "b", "new/a", "new/b", "6"}) {
		t.Errorf("labels: %q", got)
	}
}

// TestSnapshotWhileReading: a hanging file system must not delay requests.
func TestSnapshotWhileReading(t *testing.T) {
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "one", Label: "current"})
	r.mustRefresh(t)
	r.mu.Lock() // as refresh does while it reads
	defer r.mu.Unlock()
	got := make(chan []string, 1)
	go func() { got <- r.Snapshot().Labels() }()
	select {
	case labels := <-got:
		if !slices.Equal(labels, []string{"current"}) {
			t.Errorf("labels: %q", labels)
		}
	case <-time.After(5 * time.Second):
		t.Error("snapshot waits for the files to be read")
	}
}

// TestVerifierHoldsOneGeneration reads keys while they change: each verifier has both
// old keys or both new ones.
func TestVerifierHoldsOneGeneration(t *testing.T) {
	dir := t.TempDir()
	write(t, "a1", dir, "a")
	write(t, "b1", dir, "b")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + filepath.Join(dir, "a") + "}"})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + filepath.Join(dir, "b") + "}"})
	r.mustRefresh(t)
	write(t, "a2", dir, "a")
	write(t, "b2", dir, "b")
	r.mustRefresh(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Refresh(); err != nil {
			t.Error(err)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		one := &testSet{Set: &Set{}}
		one.current.Store(r.current.Load())
		if (one.keyOf(t, "a1") != "") != (one.keyOf(t, "b1") != "") || (one.keyOf(t, "a1") == "") == (one.keyOf(t, "a2") == "") {
			t.Fatal("a verifier holds an old key and a new one")
		}
	}
	if r.keyOf(t, "a2") == "" || r.keyOf(t, "b2") == "" {
		t.Error("the new keys are not in use")
	}
}
