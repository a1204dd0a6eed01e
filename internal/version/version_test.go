package version

import (
	"runtime/debug"
	"testing"
)

// TestOf: the module is the program's own, or one that it requires, as xcaddy builds it.
func TestOf(t *testing.T) {
	program := debug.Module{Path: "caddy", Version: "v9.9.9"}
	for want, info := range map[string]*debug.BuildInfo{
		"v1.2.0":  {Main: program, Deps: []*debug.Module{{Path: "example.com/other", Version: "v3.0.0"}, {Path: module, Version: "v1.2.0"}}},
		"v1.3.0":  {Main: debug.Module{Path: module, Version: "v1.3.0"}},
		"v1.4.0":  {Main: program, Deps: []*debug.Module{{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.4.0"}}}},
		"(devel)": {Main: program, Deps: []*debug.Module{{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "../checkout"}}}},
	} {
		if got := of(info); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	stated = "v1.5.0"
	t.Cleanup(func() { stated = "" })
	if got := Module(); got != "v1.5.0" {
		t.Errorf("stated at the build: %s", got)
	}
	if got := of(&debug.BuildInfo{Main: program}); got != "(devel)" {
		t.Errorf("without the module: %s", got)
	}
}
