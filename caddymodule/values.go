package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Value is a secret or key as it stands in a configuration: {env.NAME},
// {file./path} (a file, or a directory with one key a file), or the text itself.
// It is resolved when the handler is provisioned, never from a request and never
// twice.
type Value struct {
	// The text or the one placeholder. A placeholder inside a longer text is an error.
	Value string `json:"value"`
	// What logs, metrics and placeholders call the key. Default: its position.
	Label string `json:"label,omitempty"`
}

// UnmarshalJSON reads a string or {"value": …, "label": …}.
func (v *Value) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &v.Value); err == nil {
		return nil
	}
	type plain Value
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // as Caddy does everywhere else
	if err := d.Decode((*plain)(v)); err != nil {
		return fmt.Errorf("secret or public_key: %w: write a string or {\"value\": …, \"label\": …}", err)
	}
	return nil
}

// maxKeyFile bounds what is read of one key file.
const maxKeyFile = 64 << 10

// placeholder matches a whole value that Caddy's own replacer would expand, so
// that one we do not expand is an error and not a guessable literal.
var placeholder = regexp.MustCompile(`^\{(env|file|http|system|time|vars|tls|caddy|args)\.[^{}]*\}$`)

// inner matches a placeholder inside a longer text. In a Caddyfile {host} and
// its like reach us as {http.…}.
var inner = regexp.MustCompile(`\{(env|file|http)\.[^{}]+\}`)

// valueKind says where a value's text comes from.
type valueKind uint8

const (
	literalValue valueKind = iota
	envValue
	fileValue
)

// parseValue tells what kind of value text is. Errors name the variable or the
// path, never a literal.
func parseValue(text string) (kind valueKind, name string, err error) {
	if text == "" {
		return 0, "", errors.New("empty: an unset {$VARIABLE} vanishes before this is read; write {env.VARIABLE} to be told")
	}
	if m := placeholder.FindStringSubmatch(text); m != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(text, "{"+m[1]+"."), "}")
		switch {
		case name == "" || m[1] != "env" && m[1] != "file":
			return 0, "", fmt.Errorf("{%s.…} is not resolved here: write {env.NAME}, {file./path} or the text itself", m[1])
		case m[1] == "env":
			return envValue, name, nil
		}
		return fileValue, name, nil
	}
	if m := inner.FindString(text); m != "" {
		return 0, "", fmt.Errorf("%s stands inside a longer text: give the placeholder alone, and put the rest into the variable or file", m)
	}
	return literalValue, "", nil
}

// readEnv returns an environment variable's value.
func readEnv(name string) (string, error) {
	text := strings.TrimRight(os.Getenv(name), "\r\n")
	if text == "" {
		return "", fmt.Errorf("the environment variable %s is not set or empty: set it before Caddy starts", name)
	}
	return text, nil
}

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

// Resolve returns the text that a value stands for. It is for guest modules
// (stores), whose passwords are written in the same notation as secrets.
func Resolve(value string) (string, error) {
	kind, name, err := parseValue(value)
	if err != nil {
		return "", err
	}
	switch kind {
	case envValue:
		return readEnv(name)
	case fileValue:
		return readKeyFile(name)
	}
	return value, nil
}
