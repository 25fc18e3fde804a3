package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// result is what a command line gave.
type result struct {
	code           int
	stdout, stderr string
}

// ozmo runs a command line inside the test.
func ozmo(t *testing.T, args ...string) result {
	t.Helper()
	return ozmoContext(t.Context(), args...)
}

func ozmoContext(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// want checks the exit code and that the outputs contain texts.
func (r result) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		t.Fatalf("exit code %d, want %d\nstdout, want %q in it:\n%s\nstderr, want %q in it:\n%s", r.code, code, stdout, r.stdout, stderr, r.stderr)
	}
}

// write puts files into a new folder and returns it. Contents that are no text
// are written as JSON.
func write(t *testing.T, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		data, ok := content.(string)
		if !ok {
			b, err := json.Marshal(content)
			if err != nil {
				t.Fatal(err)
			}
			data = string(b)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		t.Run(strings.Join(path, "_"), func(t *testing.T) {
			r := ozmo(t, append(path, "--help")...)
			r.want(t, exitOK, "Examples:", "")
			if cmd.Short == "" || !strings.Contains(cmd.Example, "ozmo") {
				t.Errorf("short %q, example %q", cmd.Short, cmd.Example)
			}
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit((&app{}).root())
}

func TestUsage(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"nothing", nil, exitOK, "Look after a cluster:\n  node        See", ""},
		{"help", []string{"help", "config", "check"}, exitOK, "--strict", ""},
		{"unknown command", []string{"configg"}, exitUsage, "", "ozmo: unknown command \"configg\""},
		{"unknown flag", []string{"version", "--bogus"}, exitUsage, "", "ozmo: unknown flag: --bogus\nRun 'ozmo version --help'"},
		{"flag value", []string{"version", "--output", "xml"}, exitUsage, "", "want text or json"},
		{"log level", []string{"--log-level", "loud", "version"}, exitUsage, "", "want debug, info, warn or error"},
		{"extra argument", []string{"version", "now"}, exitUsage, "", "ozmo: unknown command \"now\" for \"ozmo version\""},
		{"group alone", []string{"config"}, exitUsage, "", "ozmo: ozmo config needs a command: check\n"},
		{"group, misspelt", []string{"config", "chek"}, exitUsage, "", "there is no command \"chek\" in ozmo config; did you mean check?"},
		{"group, nonsense", []string{"monitor", "frobnicate"}, exitUsage, "", "there is no command \"frobnicate\" in ozmo monitor, only: list, get, create, apply, delete, test, replay"},
		{"missing argument", []string{"config", "check"}, exitUsage, "", "ozmo config check needs DIR, got 0 arguments"},
		{"completion", []string{"completion", "bash"}, exitOK, "__start_ozmo", ""},
		{"completion of words", []string{"__complete", "version", "--output", ""}, exitOK, "text\njson\n:4\n", ""},
		{"--version", []string{"--version"}, exitOK, "ozmo ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ozmo(t, tt.args...)
			r.want(t, tt.code, tt.stdout, tt.stderr)
			if tt.code != exitOK && r.stdout != "" {
				t.Errorf("a mistake was answered on standard output: %s", r.stdout)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	ozmo(t, "version").want(t, exitOK, "ozmo "+buildVersion()+" ", "")
	var b build
	if err := json.Unmarshal([]byte(ozmo(t, "version", "-o", "json").stdout), &b); err != nil {
		t.Fatal(err)
	}
	if b != describeBuild() || b.Version == "" || b.Go == "" || !strings.Contains(b.Platform, "/") {
		t.Errorf("got %+v", b)
	}
}

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, "warn", "json")
	log.Info("not this")
	log.Warn("this", "network", "eth")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, b.String())
	}
	if line["msg"] != "this" || line["network"] != "eth" {
		t.Errorf("got %v", line)
	}
	b.Reset()
	newLogger(&b, "debug", "text").Debug("that")
	if !strings.Contains(b.String(), "level=DEBUG msg=that") {
		t.Errorf("got %q", b.String())
	}
}
