package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/configfile"
)

// maxKeyFile limits a key file, in bytes.
const maxKeyFile = 64 << 10

// labelled is a text and where a source has it.
type labelled struct {
	label string // name of the file in a directory; "" otherwise
	text  string
	line  int // from 1, if the text has several
	even  int // their number, if they are of equal length and could be one wrapped text
}

// maxEntries limits a directory of keys, dot files included: it is read every second,
// and each forged delivery is compared with all keys.
const maxEntries = 64

// readFiles returns the text of a file, or of each file of a directory sorted by
// name, except dot files: Kubernetes mounts the keys of a secret as links beside
// dot-directories.
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
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("%s: more than %d files in this directory, and each forged delivery is compared with all keys: remove those that the sender no longer uses, and give each customer of your own a tenant", path, maxEntries)
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
		return nil, fmt.Errorf("%s: no key file in this directory", path)
	}
	return all, nil
}

func readKeyFile(path string) (string, error) {
	data, err := configfile.Read(path)
	if err != nil {
		return "", err
	}
	if len(data) > maxKeyFile {
		return "", fmt.Errorf("%s: %d bytes: write one key per file, at most %d bytes", path, len(data), maxKeyFile)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s: the file is empty", path)
	}
	if err := CheckRendered(text); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// exposure says whether other users may read or write a key file or directory; "" if
// not, or if the system does not tell. dangerous means that they can add a key.
func exposure(path string) (problem string, dangerous bool) {
	if runtime.GOOS == "windows" { // modes mean nothing there
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
		case info.Mode().Perm()&0o002 != 0: // in a directory, sticky or not, they can add a file
			return path + " is writable by every user of this machine: chmod o-w", true
		case problem == "" && !info.IsDir() && info.Mode().Perm()&0o004 != 0:
			problem = path + " is readable by every user of this machine: chmod o-r"
		}
	}
	return problem, false
}
