package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/caddyserver/xcaddy"
	"golang.org/x/mod/modfile"
)

// config is xcaddy.toml.
type config struct {
	Caddy   string   `toml:"caddy"`
	Output  string   `toml:"output"`
	Expect  []string `toml:"expect"`
	Plugins []plugin `toml:"plugin"`
}

// plugin is a Go package to compile in: a published version, or a folder that
// replaces its Go module.
type plugin struct {
	Package string `toml:"package"`
	Version string `toml:"version"`
	Replace string `toml:"replace"`
}

const defaultOutput = "build/caddy"

// readConfig reads and checks the file at path. The paths in the result are absolute.
func readConfig(path string) (*config, error) {
	c := &config{Output: defaultOutput}
	meta, err := toml.DecodeFile(path, c)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: run this inside a checkout, or name the file with -config", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %q: known are caddy, output, expect, and package, version, replace in a [[plugin]]",
			path, unknown[0].String())
	}
	if err := c.check(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// check finds missing and contradictory settings, and makes paths absolute, relative
// to dir.
func (c *config) check(dir string) error {
	if c.Caddy == "" {
		return errors.New(`caddy is missing: name the version, for example caddy = "v2.11.9"`)
	}
	if c.Output == "" {
		return errors.New("output is empty: name a file, or leave the line out for " + defaultOutput)
	}
	if len(c.Plugins) == 0 {
		return errors.New("no [[plugin]]: a Caddy without plugins is on caddyserver.com/download")
	}
	c.Output = absolute(dir, c.Output)

	listed := map[string]bool{}
	for i := range c.Plugins {
		p := &c.Plugins[i]
		if p.Package == "" {
			return fmt.Errorf("[[plugin]] number %d has no package: give it the import path", i+1)
		}
		if listed[p.Package] {
			return fmt.Errorf("plugin %s is listed twice: keep one of them", p.Package)
		}
		listed[p.Package] = true
		if p.Replace == "" {
			continue
		}
		if p.Version != "" {
			return fmt.Errorf("plugin %s has both version and replace: the folder has no version, keep one of them", p.Package)
		}
		p.Replace = absolute(dir, p.Replace)
	}
	return nil
}

// builder converts the configuration for xcaddy.
func (c *config) builder() (xcaddy.Builder, error) {
	b := xcaddy.Builder{CaddyVersion: c.Caddy}
	folders := map[string]string{} // Go module to the folder that replaces it
	for _, p := range c.Plugins {
		if p.Replace == "" {
			continue
		}
		module, err := modulePath(p.Replace)
		if err != nil {
			return b, fmt.Errorf("plugin %s: %w", p.Package, err)
		}
		if !within(p.Package, module) {
			return b, fmt.Errorf("plugin %s: the folder %s holds the Go module %s: correct package or replace",
				p.Package, p.Replace, module)
		}
		if other, ok := folders[module]; ok && other != p.Replace {
			return b, fmt.Errorf("plugin %s: the Go module %s is replaced by %s and by %s: keep one of them",
				p.Package, module, other, p.Replace)
		}
		if _, ok := folders[module]; !ok {
			b.Replacements = append(b.Replacements, xcaddy.NewReplace(module, p.Replace))
		}
		folders[module] = p.Replace
	}
	for _, p := range c.Plugins {
		d := xcaddy.Dependency{PackagePath: p.Package, Version: p.Version}
		for module := range folders {
			if !within(p.Package, module) {
				continue
			}
			if p.Version != "" {
				return b, fmt.Errorf("plugin %s: its Go module %s is replaced by %s, so version has no effect: take it out",
					p.Package, module, folders[module])
			}
			// xcaddy runs "go get" for the module itself, not for packages below it.
			// Without a version that queries the module proxy, which fails for an
			// unpublished module.
			if p.Package == module {
				d.Version = placeholderVersion(module)
			}
		}
		b.Plugins = append(b.Plugins, d)
	}
	return b, nil
}

func modulePath(folder string) (string, error) {
	file := filepath.Join(folder, "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("replace must name a folder with a go.mod: %w", err)
	}
	module := modfile.ModulePath(text)
	if module == "" {
		return "", fmt.Errorf("%s has no module line", file)
	}
	return module, nil
}

var majorSuffix = regexp.MustCompile(`/(v[2-9]|v[1-9][0-9]+)$`)

// placeholderVersion is the required version of a replaced module. Its major version
// must match the path's suffix.
func placeholderVersion(module string) string {
	if m := majorSuffix.FindStringSubmatch(module); m != nil {
		return m[1] + ".0.0"
	}
	return "v0.0.0"
}

func within(pkg, module string) bool {
	return pkg == module || strings.HasPrefix(pkg, module+"/")
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
