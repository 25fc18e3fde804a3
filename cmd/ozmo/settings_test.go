package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// settingsCommand is a small program with one flag of each kind.
func settingsCommand(ran func(cmd *cobra.Command)) *cobra.Command {
	root := &cobra.Command{Use: "ozmo", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().String(configFileFlag, "", "")
	root.PersistentFlags().Var(newChoice("info", "debug", "info"), "log-level", "")
	do := &cobra.Command{Use: "do", RunE: func(cmd *cobra.Command, _ []string) error { ran(cmd); return nil }}
	do.Flags().Int("size", 1, "")
	do.Flags().Duration("wait", 0, "")
	do.Flags().StringSlice("names", []string{"default"}, "")
	do.Flags().StringArray("file", nil, "")
	do.Flags().Bool("fast", false, "")
	other := &cobra.Command{Use: "other", Run: func(*cobra.Command, []string) {}}
	other.Flags().String("cache-dir", "", "")
	root.AddCommand(do, other)
	return root
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name string
		args string
		env  map[string]string
		yaml string
		want string // the values, or the error
	}{
		{"nothing", "", nil, "", "info 1 0s [default] [] false"},
		{"file", "", nil, "log-level: debug\nsize: 3\nwait: 2s\nnames: [a, b]\nfast: true", "debug 3 2s [a,b] [] true"},
		{"tables and underscores", "", nil, "log:\n  level: debug\ncache_dir: /x", "debug 1 0s [default] [] false"},
		{"a list of one", "", nil, "names: a\nfile: [x, 'y,z']", `info 1 0s [a] [x,"y,z"] false`},
		{"alias", "", nil, "size: &n 4\nnames: [*n, b]", "info 4 0s [4,b] [] false"},
		{"environment over file", "", map[string]string{"OZMO_SIZE": "4", "OZMO_NAMES": "x,y"}, "size: 3\nnames: [a]", "info 4 0s [x,y] [] false"},
		{"empty variable", "", map[string]string{"OZMO_SIZE": ""}, "size: 3", "info 3 0s [default] [] false"},
		{"command line over all", "--size 5 --names q", map[string]string{"OZMO_SIZE": "4", "OZMO_NAMES": "x"}, "size: 3\nnames: [a]", "info 5 0s [q] [] false"},
		{"another command's key", "", nil, "cache-dir: /x", "info 1 0s [default] [] false"},
		{"empty file", "", nil, "# nothing\n", "info 1 0s [default] [] false"},

		{"unknown key", "", nil, "size: 3\nsise: 4", `settings.yaml:2: unknown key "sise"|valid keys: cache-dir, fast, file, log-level, names, size, wait`},
		{"unknown key in a table", "", nil, "log:\n  lvl: debug", `:2: unknown key "log-lvl"`},
		{"the file's own flag", "", nil, "config-file: other.yaml", `unknown key "config-file"`},
		{"help", "", nil, "help: true", `unknown key "help"`},
		{"bad value", "", nil, "size: many", `settings.yaml:1: size: "many" is not understood`},
		{"bad word", "", nil, "log-level: loud", `log-level: "loud" is not understood: want debug or info`},
		{"bad variable", "", map[string]string{"OZMO_WAIT": "soon"}, "", `variable OZMO_WAIT: "soon" is not understood`},
		{"all at once", "", map[string]string{"OZMO_WAIT": "soon"}, "size: many\nsise: 1", `OZMO_WAIT|unknown key "sise"`},
		{"list for one value", "", nil, "size: [1, 2]", "size: takes one value, not a list"},
		{"table for a value", "", nil, "size: {a: 1}", "size: want a value, or a list of values"},
		{"nothing for a value", "", nil, "size:", "size: want a value, or a list of values"},
		{"twice", "", nil, "log-level: debug\nlog:\n  level: info", ":3: log-level is set before, in line 1"},
		{"no table", "", nil, "- size", "want a table of settings"},
		{"no YAML", "", nil, "size: [", "settings file"},
		{"two documents", "", nil, "size: 1\n---\nsize: 2", "more than one YAML document"},
		{"contains itself", "", nil, "a: &a\n  b: *a", "unknown key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			root := settingsCommand(func(cmd *cobra.Command) {
				var values []string
				for _, name := range []string{"log-level", "size", "wait", "names", "file", "fast"} {
					values = append(values, cmd.Flag(name).Value.String())
				}
				got = strings.Join(values, " ")
			})
			root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
				return applySettings(cmd, func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
			}
			dir := write(t, map[string]any{"settings.yaml": tt.yaml})
			root.SetArgs(slices.Concat([]string{"do", "--config-file", filepath.Join(dir, "settings.yaml")}, strings.Fields(tt.args)))
			if err := root.Execute(); err != nil {
				got = err.Error()
			}
			for part := range strings.SplitSeq(tt.want, "|") {
				if !strings.Contains(got, part) {
					t.Errorf("got %q, want %q", got, part)
				}
			}
		})
	}
}

// TestSettingsOfTheProgram checks the layers through the whole program.
func TestSettingsOfTheProgram(t *testing.T) {
	dir := write(t, map[string]any{"ozmo.yaml": "output: json\nlog: {level: warn}\n", "bad.yaml": "colour: red\n"})
	t.Setenv("OZMO_CONFIG_FILE", filepath.Join(dir, "ozmo.yaml"))
	ozmo(t, "version").want(t, exitOK, `"version": `, "")
	ozmo(t, "version", "--output", "text").want(t, exitOK, "ozmo ", "")
	t.Setenv("OZMO_OUTPUT", "text")
	ozmo(t, "version").want(t, exitOK, "ozmo ", "")
	t.Setenv("OZMO_CONFIG_FILE", filepath.Join(dir, "bad.yaml"))
	ozmo(t, "version").want(t, exitUsage, "", `unknown key "colour"`)
	ozmo(t, "completion", "zsh").want(t, exitOK, "#compdef ozmo", "") // works whatever the settings are
	t.Setenv("OZMO_CONFIG_FILE", filepath.Join(dir, "none.yaml"))
	ozmo(t, "version").want(t, exitUsage, "", "no such file")
}

func FuzzReadSettings(f *testing.F) {
	f.Add("log:\n  level: debug\nnames: [a, &b b, *b]\n")
	f.Add("a: &a\n  b: *a\n")
	f.Add("---\n...\n? {a: b}\n: 1\n<<: {size: 2}\n")
	f.Fuzz(func(t *testing.T, text string) {
		known := map[string]bool{"log-level": true, "names": true, "size": true}
		settings, _ := readSettings(filepath.Join(write(t, map[string]any{"s.yaml": text}), "s.yaml"), known)
		for _, s := range settings {
			if !known[s.flag] || !s.list && len(s.values) != 1 || s.line < 1 {
				t.Errorf("got %+v", s)
			}
		}
	})
}
