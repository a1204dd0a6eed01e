// Package version says which version of this module a program was built with.
package version

import "runtime/debug"

const module = "github.com/verify-webhook/caddy-verify-webhook"

// stated is the version for a build that has no git folder, such as that of the Dockerfile:
// go build -ldflags "-X …/internal/version.stated=v1.2.0".
var stated string

// Module returns the version of this module as the go command recorded it: v1.2.0, or
// v0.0.0-20261129192322-564d74fb2d69 for the commit of a checkout, with +dirty if files
// have changed. It returns (devel) if none is recorded: the program was started with go
// run, built without a git folder, or with this module replaced by a folder.
func Module() string {
	if stated != "" {
		return stated
	}
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
