package attempt

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestACourseSaysWhoAnswered: the first status that somebody writes, or that the attempt
// was broken off. A handler that takes it has its own word.
func TestACourseSaysWhoAnswered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server   http.HandlerFunc
		answered bool
		status   int
	}{
		"nobody":      {func(http.ResponseWriter, *http.Request) {}, false, 0},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103) }, false, 0},
		"a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			w.WriteHeader(200)
		}, true, 403},
		"a body":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no")) }, true, 200},
		"it breaks off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, 0},
	} {
		d := Record(arrived(t), http.MethodPost, "/hooks", nil)
		result, course := Follow(t.Context(), c.server, &inbox.Attempt{Delivery: &d})
		if course == nil || !result.Unreached {
			t.Fatalf("%s: %+v, course %v", name, result, course)
		}
		if status, _, answered := course.Answered(); status != c.status || answered != c.answered {
			t.Errorf("%s: answered %t with %d", name, answered, status)
		}
	}
	d := Record(arrived(t), http.MethodPost, "/hooks", nil)
	_, course := Follow(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Take(r.Context()).Ends(inbox.Result{Status: 200})
		w.WriteHeader(403)
	}), &inbox.Attempt{Delivery: &d})
	if course != nil {
		t.Error("an attempt that its handler took has a course")
	}
}

// TestAForkMatchesNothing, and tells an attempt which matchers kept it out.
func TestAForkMatchesNothing(t *testing.T) {
	t.Parallel()
	path, method := &caddyhttp.MatchPath{"/elsewhere"}, &caddyhttp.MatchMethod{http.MethodPost}
	route := caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{method, path}}}
	fork := ForkAt(&route)
	if ForkAt(&route) != fork || ForkOf(&route) != fork || len(route.MatcherSets) != 2 || len(fork.Matchers()) != 2 {
		t.Fatalf("%+v", route.MatcherSets)
	}
	if ForkAt(new(caddyhttp.Route)) != nil {
		t.Error("a route for all requests has a fork")
	}
	ask := func(_ http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), Unread(), nil)
		if yes, err := route.MatcherSets.AnyMatchWithError(r); yes || err != nil {
			t.Errorf("it matches: %t, %v", yes, err)
		}
	}
	ask(nil, arrived(t)) // no attempt
	d := Record(arrived(t), http.MethodPost, "/hooks", nil)
	_, course := Follow(t.Context(), http.HandlerFunc(ask), &inbox.Attempt{Delivery: &d})
	if against, passed := course.Passed(fork); !passed || len(against) != 1 || against[0] != path {
		t.Errorf("passed %t for %v", passed, against)
	}
	if _, passed := course.Passed(path); passed {
		t.Error("it has passed what it has not seen")
	}
}
