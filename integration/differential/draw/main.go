// Command draw asks the SDKs about random deliveries and writes their verdicts
// to ../testdata. The script ../generate installs the SDKs and starts it.
//
// Every subject gets the same treatment: genuine deliveries of all kinds of
// bodies, signed by the SDK where it can sign and by package verifier where that
// can, and after them each alteration that the provider's scheme gives cause to,
// of one of the genuine ones. The SDK judges all of them. Where our own verdict
// is another, differences.go must say why; otherwise nothing is written.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

func main() {
	log.SetFlags(0)
	javascript := flag.String("javascript", "", "folder of serve.mjs with its node_modules")
	gosdks := flag.String("gosdks", "", "compiled test binary of ../gosdks")
	module := flag.String("module", "", "folder of ../gosdks, for its go.mod")
	out := flag.String("out", "", "folder to write the fixtures to")
	seed := flag.Uint64("seed", 5, "of the random choices")
	only := flag.String("only", "", "the one SDK to ask, for a try; default all")
	flag.Parse()
	if err := run(*javascript, *gosdks, *module, *out, *only, *seed); err != nil {
		log.Fatal(err)
	}
}

func run(javascript, gosdks, module, out, only string, seed uint64) error {
	npm, err := start(javascript, nil, "node", "serve.mjs")
	if err != nil {
		return err
	}
	defer npm.stop()
	golang, err := start(module, []string{"DIFFERENTIAL_SERVE=1"}, gosdks, "-test.run=^TestServe$", "-test.timeout=0")
	if err != nil {
		return err
	}
	defer golang.stop()
	var fixtures []*differential.Fixture
	var unexplained []error
	for i := range subjects {
		s := &subjects[i]
		if only != "" && s.sdk != only {
			continue
		}
		s.oracle = npm
		if s.golang() {
			s.oracle = golang
		}
		f, err := s.fixture(&fixtures)
		if err != nil {
			return fmt.Errorf("%s: %w", s.sdk, err)
		}
		r, problems, err := s.run(seed)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", s.sdk, s.provider, err)
		}
		f.Runs = append(f.Runs, *r)
		unexplained = append(unexplained, problems...)
	}
	if len(unexplained) > 0 {
		return fmt.Errorf("unexplained: say why in differences.go, or correct one of the two sides:\n%w", errors.Join(unexplained...))
	}
	if only == "" { // otherwise the others' fixtures stay
		if err := removeFixtures(out); err != nil {
			return err
		}
	}
	return write(out, fixtures)
}

// fixture returns the SDK's fixture, a new one at its first provider.
func (s *subject) fixture(all *[]*differential.Fixture) (*differential.Fixture, error) {
	for _, f := range *all {
		if f.SDK == s.sdk {
			return f, nil
		}
	}
	a, err := s.oracle.ask(s, "version", nil)
	if err != nil {
		return nil, err
	}
	if a.Version == "" {
		return nil, errors.New("its version is not known")
	}
	f := &differential.Fixture{SDK: s.sdk, Version: a.Version}
	*all = append(*all, f)
	return f, nil
}

// run draws deliveries and has them judged.
func (s *subject) run(seed uint64) (*differential.Run, []error, error) {
	a, err := s.oracle.ask(s, "version", nil)
	if err != nil {
		return nil, nil, err
	}
	r := &differential.Run{Provider: s.provider, Calls: a.Calls}
	h := fnv.New64a()
	h.Write([]byte(s.sdk + " " + s.provider))
	d, err := newDrawer(s, rand.New(rand.NewPCG(seed, h.Sum64())))
	if err != nil {
		return nil, nil, err
	}
	genuine, err := d.genuine()
	if err != nil {
		return nil, nil, err
	}
	r.Deliveries = append(genuine, d.altered(genuine)...)
	var problems []error
	for i := range r.Deliveries {
		delivery := &r.Deliveries[i]
		if problem, err := s.judge(delivery); err != nil {
			return nil, nil, err
		} else if problem != nil {
			problems = append(problems, problem)
		}
	}
	return r, problems, nil
}

// judge notes the SDK's verdict and, if ours is another, the reason.
func (s *subject) judge(d *differential.Delivery) (problem, err error) {
	a, err := s.oracle.ask(s, "verify", d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	d.Expect = differential.Refused
	if a.Accepted {
		d.Expect = differential.Genuine
	}
	problem = d.Check(s.provider)
	if problem == nil {
		return nil, nil
	}
	if d.Differs = difference(s, d); d.Differs != "" {
		return nil, nil
	}
	return fmt.Errorf("%s, %s, %s (signed by %s): %w (the SDK's words: %q)", s.sdk, s.provider, d.Name, d.SignedBy, problem, a.Why), nil
}

// removeFixtures removes those of an earlier run: some SDKs may be gone.
func removeFixtures(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// write writes the fixtures and prints the table of README.md.
func write(dir string, fixtures []*differential.Fixture) error {
	slices.SortFunc(fixtures, func(a, b *differential.Fixture) int { return cmp.Compare(a.SDK, b.SDK) })
	fmt.Println("| SDK | Version | Provider | Signs | Deliveries | Refused | Differs |\n|---|---|---|---|---|---|---|")
	for _, f := range fixtures {
		if err := os.WriteFile(filepath.Join(dir, fileName(f.SDK)), encode(f), 0o644); err != nil {
			return err
		}
		for _, r := range f.Runs {
			fmt.Println(row(f, &r))
		}
	}
	return nil
}

// encode writes a delivery a line, so that a difference shows which one changed.
func encode(f *differential.Fixture) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	put := func(v any) {
		if err := e.Encode(v); err != nil {
			panic(err) // strings, numbers and maps of them
		}
		b.Truncate(b.Len() - 1) // Encode ends the line
	}
	fmt.Fprintf(&b, "{\n\"sdk\": %q, \"version\": %q,\n\"runs\": [", f.SDK, f.Version)
	for i, r := range f.Runs {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n{\"provider\": %q, \"calls\": %q, \"deliveries\": [\n", r.Provider, r.Calls)
		for j := range r.Deliveries {
			if j > 0 {
				b.WriteString(",\n")
			}
			put(&r.Deliveries[j])
		}
		b.WriteString("\n]}")
	}
	b.WriteString("\n]}\n")
	return b.Bytes()
}

func fileName(sdk string) string {
	return strings.NewReplacer("github.com/", "go-", "code.gitea.io/", "go-", "@", "", "/", "-").Replace(sdk) + ".json"
}

// row is a line of the table in README.md.
func row(f *differential.Fixture, r *differential.Run) string {
	signs, refused, differs := "", 0, 0
	for _, d := range r.Deliveries {
		if d.SignedBy == differential.BySDK {
			signs = "yes"
		}
		if d.Expect == differential.Refused {
			refused++
		}
		if d.Differs != "" {
			differs++
		}
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %d | %d | %d |", f.SDK, f.Version, r.Provider, signs, len(r.Deliveries), refused, differs)
}
