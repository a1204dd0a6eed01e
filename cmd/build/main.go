// Command build builds the Caddy described by xcaddy.toml: it runs xcaddy and then
// checks that the result contains the expected modules.
//
//	go -C cmd/build run . [-config FILE] [-output FILE]
//
// It is a separate Go module, which keeps xcaddy out of the gateway's dependencies.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

const configName = "xcaddy.toml"

func main() {
	configFlag := flag.String("config", configName, "the `file` to build from, relative to the repository's root")
	outputFlag := flag.String("output", "", "the `file` to write, relative to the repository's root (default: the config's output)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *configFlag, *outputFlag, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, configFile, output string, extra []string) error {
	if len(extra) > 0 {
		return fmt.Errorf("unexpected argument %q: plugins are listed in %s", extra[0], configName)
	}
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	root := findRoot(cwd)
	c, err := readConfig(absolute(root, configFile))
	if err != nil {
		return err
	}
	if output != "" {
		c.Output = absolute(root, output)
	}
	if err := build(ctx, c); err != nil {
		return err
	}
	if err := checkModules(ctx, c); err != nil {
		return err
	}
	fmt.Println(c.Output)
	return nil
}

// findRoot returns the nearest folder at or above dir that holds xcaddy.toml. "go -C
// cmd/build run ." starts in cmd/build and does not know the user's directory, so
// relative paths in flags start from that folder.
func findRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, configName)); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}
