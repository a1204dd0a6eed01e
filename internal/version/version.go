// Package version says which version of this module a program was built with.
package version

import "runtime/debug"

const module = "github.com/verify-webhook/caddy-verify-webhook"

// Module returns the version of this module as the go command recorded it, such as
// v1.2.0, and (devel) for a build of a checkout that records none.
func Module() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return devel
	}
	return of(info)
}

const devel = "(devel)"

func of(info *debug.BuildInfo) string {
	found := &info.Main
	for _, dep := range info.Deps {
		if dep.Path == module {
			found = dep
		}
	}
	if found.Replace != nil {
		found = found.Replace // a folder has no version
	}
	if found.Version == "" || found == &info.Main && found.Path != module {
		return devel
	}
	return found.Version
}
