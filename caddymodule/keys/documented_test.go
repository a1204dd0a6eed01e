package keys

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// printed finds secrets in Caddyfiles, shells, JSON and programs.
var printed = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^\s*sender [\w./]+ ([^{\n]+)`),
	regexp.MustCompile(`(?m)^\s*verify_webhook (?:[/@*]\S* )?[\w./]+ ([^{\n]+)`),
	regexp.MustCompile(`(?m)^\s*secret\s+([^{\n]+)`),
	regexp.MustCompile(`(?m)^\s*sign_upstream\s+([^{\n]+)`),
	regexp.MustCompile(`(?m)\b[A-Z_]*SECRET[A-Z_]*=(\S+)`),
	regexp.MustCompile(`--secret[ =](\S+)`),
	regexp.MustCompile(`-hmac (\S+)`),
	regexp.MustCompile(`printf (?:%s|'%s\\n') ([^>|\n]+) >`),
	regexp.MustCompile(`"(?:secret|sign_upstream)":\s*\[?\s*"([^"]+)"`),
	regexp.MustCompile(`(whsec_[\w+/=-]{6,})`),
}

// TestDocumentedSecrets: no secret that README.md, docs/, deploy/ or Caddyfile.example
// print starts without a word.
func TestDocumentedSecrets(t *testing.T) {
	root := filepath.Join("..", "..")
	files := []string{filepath.Join(root, "README.md"), filepath.Join(root, "SECURITY.md"), filepath.Join(root, "Caddyfile.example")}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(root, "deploy"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?s)```.*?\n(.*?)```")
	seen := make(map[string]bool)
	for _, file := range append(files, pages...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts := []string{string(data)}
		if strings.HasSuffix(file, ".md") {
			texts = nil
			for _, m := range fence.FindAllStringSubmatch(string(data), -1) {
				texts = append(texts, m[1])
			}
		}
		for _, text := range texts {
			for _, kind := range printed {
				for _, m := range kind.FindAllStringSubmatch(text, -1) {
					for _, secret := range strings.Fields(m[1]) {
						secret = strings.Trim(secret, `'"`)
						if strings.ContainsAny(secret, "{}$<>…()`") || len(secret) < 6 {
							continue // no secret, or one that is refused
						}
						seen[bareSecret(secret)] = true
						if !isDocumented(secret) && checkLiteral(secret) == nil && checkSecret(secret) == nil && !spokenName.MatchString(secret) {
							t.Errorf("%s prints %s: add it to documented", file, secret)
						}
					}
				}
			}
		}
	}
	for secret := range documented {
		if !seen[secret] {
			t.Errorf("%s is documented no longer: remove it", secret)
		}
		if checkSecret(secret) != nil {
			t.Errorf("%s is an error anyway: remove it", secret)
		}
	}
}
