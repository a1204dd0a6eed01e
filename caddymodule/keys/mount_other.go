//go:build !unix

package keys

var mountedReadOnly = func(string) bool { return false }
