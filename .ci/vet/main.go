// Command vet is go vet for another system, without a compiler: it reads the types of
// all packages from their source, which takes a fraction of the time of compiling
// Caddy and the standard library for that system first.
//
//	GOOS=windows build/ci-vet ./...
//
// It is a separate Go module, which keeps its packages out of the gateway's
// dependencies.
package main

import (
	"golang.org/x/tools/go/analysis/multichecker"
	"golang.org/x/tools/go/analysis/suite/vet"
)

func main() { multichecker.Main(vet.Suite...) }
