package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryPagesDelivery runs the command of every sender's page, as a shell would: the
// delivery that it shows is genuine.
func TestEveryPagesDelivery(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "providers", "[a-z0-9]*.md"))
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, command, found := strings.Cut(string(text), "```sh\n")
		if !found {
			t.Errorf("%s has no delivery", page)
			continue
		}
		command, _, _ = strings.Cut(command, "\n```\n")
		dir := t.TempDir()
		if first, rest, _ := strings.Cut(command, "\n"); strings.Contains(first, " > /tmp/") { // the secret, in a file
			words := shellWords(first)
			path := filepath.Join(dir, filepath.Base(words[4]))
			if err := os.WriteFile(path, []byte(words[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			command = strings.Replace(rest, words[4], path, 1)
		}
		words := shellWords(command)
		if len(words) < 6 || words[0] != "printf" || strings.Join(words[3:6], " ") != "| caddy webhook" {
			t.Errorf("%s: %q", page, words)
			continue
		}
		body := words[2]
		if words[1] == "%b" {
			body = strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n").Replace(body)
		}
		if out, errs, code := webhook(t, body, words[6:]...); code != exitOK {
			t.Errorf("%s: exit %d: %s%s", page, code, out, errs)
		}
		run++
	}
	if run < 300 {
		t.Errorf("%d pages", run)
	}
}

// shellWords splits a command as a shell does, with single quotes and backslashes.
func shellWords(command string) (words []string) {
	var word strings.Builder
	quoted, escaped, begun := false, false, false
	for _, r := range command {
		switch {
		case escaped:
			if escaped = false; r != '\n' {
				word.WriteRune(r)
				begun = true
			}
		case r == '\'':
			quoted, begun = !quoted, true
		case quoted:
			word.WriteRune(r)
		case r == '\\':
			escaped = true
		case r == ' ' || r == '\n':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}
