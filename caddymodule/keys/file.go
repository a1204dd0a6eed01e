package keys

import (
	"fmt"
	"os"
	"path/filepath"
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

// maxEntries limits a directory of keys, dot files and leftovers included: it is read every second,
// and each forged delivery is compared with all keys.
const maxEntries = 64

// readFiles returns the text of a file, or of each key file of a directory, and which files
// there are skipped.
func readFiles(path string) (all []labelled, skipped []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		text, err := readKeyFile(path)
		if err != nil {
			return nil, nil, err
		}
		return []labelled{{text: text}}, nil, nil
	}
	names, skipped, err := keyFiles(path)
	if err != nil {
		return nil, skipped, err
	}
	for _, name := range names {
		text, err := readKeyFile(filepath.Join(path, name))
		if err != nil {
			return nil, skipped, err
		}
		all = append(all, labelled{label: name, text: text})
	}
	return all, skipped, nil
}

// keyFiles returns the names of a directory's files, sorted, except dot files: Kubernetes
// mounts the keys of a secret as links beside dot-directories. Leftovers are skipped.
func keyFiles(path string) (names, skipped []string, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "."):
		case Leftover(name):
			skipped = append(skipped, name)
		default:
			names = append(names, name)
		}
	}
	switch {
	case len(entries) > maxEntries:
		err = fmt.Errorf("%s: more than %d files in this directory, and each forged delivery is compared with all keys: remove those that the sender no longer uses, and give each customer of your own a tenant", path, maxEntries)
	case len(names) == 0:
		err = fmt.Errorf("%s: no key file in this directory", path)
	}
	return names, skipped, err
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
