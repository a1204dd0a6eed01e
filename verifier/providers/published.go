package providers

import (
	"encoding/json"
	"io/fs"
	"regexp"
)

// vectorSecret matches the member of a vector in the embedded files, which are
// formatted alike.
var vectorSecret = regexp.MustCompile(`"secret": ("(?:[^"\\]|\\.)*")`)

// PublishedSecrets returns the secrets of the catalogue's vectors, most of which are
// from senders' documentation and tests, and those of its examples: anyone can sign
// with them. It reads the files without compiling them.
func PublishedSecrets() ([]string, error) {
	secrets := []string{exampleText, exampleHex, "example:" + exampleText}
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, m := range vectorSecret.FindAllSubmatch(data, -1) {
			var secret string
			if err := json.Unmarshal(m[1], &secret); err != nil {
				return nil, err
			}
			secrets = append(secrets, secret)
		}
	}
	return secrets, nil
}
