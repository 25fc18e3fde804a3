package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	modulePath   = "github.com/ozmo-dev/ozmo"
	devchainName = "devchain"
)

// errNoDevchain means that the simulated chain is not on this machine.
var errNoDevchain = errors.New("the demo's simulated chain is a program of its own, devchain, which was not found")

// devchainFinder finds the program that simulates a chain. It is never linked
// into ozmo: it is a whole Ethereum node.
type devchainFinder struct {
	executable func() (string, error)
	lookPath   func(string) (string, error)
	workDir    func() (string, error)
	cacheDir   func() (string, error)
	build      func(ctx context.Context, checkout, output string) error
	say        func(format string, args ...any) // what takes long
}

func newDevchainFinder(progress io.Writer) devchainFinder {
	return devchainFinder{
		executable: os.Executable,
		lookPath:   exec.LookPath,
		workDir:    os.Getwd,
		cacheDir:   os.UserCacheDir,
		build:      buildDevchain,
		say:        func(format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) },
	}
}

// find looks beside the running program, then in PATH, then builds it from the
// source checkout that the working directory lies in.
func (f devchainFinder) find(ctx context.Context) (string, error) {
	if self, err := f.executable(); err == nil {
		if target, err := filepath.EvalSymlinks(self); err == nil {
			self = target
		}
		if beside := filepath.Join(filepath.Dir(self), devchainName); isExecutable(beside) {
			return beside, nil
		}
	}
	if path, err := f.lookPath(devchainName); err == nil {
		return path, nil
	}
	dir, err := f.workDir()
	if err != nil {
		return "", err
	}
	checkout, ok := findCheckout(dir)
	if !ok {
		return "", fmt.Errorf(`%w beside this program, nor in PATH
  get it with:   go install %s/cmd/%s@latest
  or run the demo in a checkout of the sources, or build both there:   make build`, errNoDevchain, modulePath, devchainName)
	}
	if _, err := f.lookPath("go"); err != nil {
		return "", fmt.Errorf(`%w beside this program, nor in PATH; it could be built from %s, but there is no go command
  install Go (https://go.dev/dl), then run the demo again`, errNoDevchain, checkout)
	}
	cache, err := f.cacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to build devchain in: %w", err)
	}
	output := filepath.Join(cache, "ozmo", devchainName)
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return "", fmt.Errorf("no place to build devchain in: %w", err)
	}
	f.say("building the simulated chain from %s into %s (the first time takes a minute or two)", checkout, output)
	if err := f.build(ctx, checkout, output); err != nil {
		return "", err
	}
	return output, nil
}

// buildDevchain builds as `make build` does, so that both share their caches
// and no C compiler is needed.
func buildDevchain(ctx context.Context, checkout, output string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", output, "./cmd/devchain")
	cmd.Dir = checkout
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("build devchain in %s: %w\n%s", checkout, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// findCheckout walks up to the root of this module's sources.
func findCheckout(dir string) (string, bool) {
	for {
		if moduleOf(filepath.Join(dir, "go.mod")) == modulePath {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// moduleOf is the module that a go.mod file declares, or nothing.
func moduleOf(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "module" {
			return strings.Trim(words[1], `"`)
		}
	}
	return ""
}
