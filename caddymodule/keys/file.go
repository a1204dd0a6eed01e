package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxKeyFile bounds what is read of one key file.
const maxKeyFile = 64 << 10

// labelled is one text and the name of the file in a directory that holds it.
type labelled struct{ label, text string }

// readFiles returns the text of a file, or of every file of a directory that
// does not begin with a dot, in the order of their names. A Kubernetes secret
// mounts its keys as links beside dot-directories.
func readFiles(path string) ([]labelled, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		text, err := readKeyFile(path)
		if err != nil {
			return nil, err
		}
		return []labelled{{text: text}}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var all []labelled
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := readKeyFile(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, labelled{label: e.Name(), text: text})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: the directory holds no key file", path)
	}
	return all, nil
}

func readKeyFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", path)
	}
	if info.Size() > maxKeyFile {
		return "", fmt.Errorf("%s: %d bytes: a key file holds one key, at most %d bytes", path, info.Size(), maxKeyFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s: the file is empty", path)
	}
	return text, nil
}

// exposure says who else may read or write a key file or a directory of key files,
// "" if no other user may or the system does not tell. dangerous means that others
// can put a key of their own there.
func exposure(path string) (problem string, dangerous bool) {
	if runtime.GOOS == "windows" { // all files have the same mode there
		return "", false
	}
	paths := []string{path}
	if entries, err := os.ReadDir(path); err == nil {
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				paths = append(paths, filepath.Join(path, e.Name()))
			}
		}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			continue
		case info.Mode().Perm()&0o002 != 0: // in a directory they may add a file, sticky or not
			return path + " can be written by every user of this machine: chmod o-w", true
		case problem == "" && !info.IsDir() && info.Mode().Perm()&0o004 != 0:
			problem = path + " can be read by every user of this machine: chmod o-r"
		}
	}
	return problem, false
}
