package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const (
	configFileFlag = "config-file"
	envPrefix      = "OZMO_"
)

// envName is the variable that sets a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applySettings fills in the flags of a command that the command line left out:
// from the environment, else from the settings file. A variable that is set and
// empty counts as not set. All mistakes are reported together.
func applySettings(cmd *cobra.Command, lookupEnv func(string) (string, bool)) error {
	flags := cmd.Flags()
	var wrong mistakes
	fromEnv := func(f *pflag.Flag) {
		name := envName(f.Name)
		value, ok := lookupEnv(name)
		if f.Changed || !ok || value == "" || !isSetting(f) && f.Name != configFileFlag {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			wrong.addf("variable %s: %s", name, plainSetError(err))
			return
		}
		noteSetting(f)
	}
	flags.VisitAll(fromEnv)
	if file := flags.Lookup(configFileFlag).Value.String(); file != "" {
		settings, err := readSettings(file, knownSettings(cmd.Root()))
		if err != nil {
			if list, ok := errors.AsType[mistakes](err); ok {
				wrong = append(wrong, list...)
			} else {
				wrong.addf("%s", err)
			}
		}
		for _, s := range settings {
			f := flags.Lookup(s.flag)
			if f == nil || f.Changed {
				continue // of another command, or set by something stronger
			}
			if err := s.apply(flags, f); err != nil {
				wrong.addf("%s:%d: %s: %s", file, s.line, s.flag, plainSetError(err))
				continue
			}
			noteSetting(f)
		}
	}
	return wrong.err()
}

const settingNote = "ozmo_setting" // annotation of flags that the command line does not have

func noteSetting(f *pflag.Flag) {
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[settingNote] = nil
}

// onCommandLine reports whether the command line itself has a flag.
func onCommandLine(f *pflag.Flag) bool {
	_, setting := f.Annotations[settingNote]
	return f.Changed && !setting
}

// plainSetError leaves out what pflag says around the reason.
func plainSetError(err error) string {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		why := e.Unwrap()
		if n, ok := errors.AsType[*strconv.NumError](why); ok {
			why = n.Err // without the name of a function
		}
		return fmt.Sprintf("%q is not understood: %v", e.GetValue(), why)
	}
	return err.Error()
}

// isSetting reports whether environment and file may set a flag.
func isSetting(f *pflag.Flag) bool {
	return f.Name != configFileFlag && f.Name != "help" && f.Name != "version"
}

// knownSettings are the flags of all commands: one file may serve them all.
func knownSettings(root *cobra.Command) map[string]bool {
	known := make(map[string]bool)
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if isBuiltIn(cmd) {
			return
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if isSetting(f) {
				known[f.Name] = true
			}
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	return known
}

// setting is one key of a settings file.
type setting struct {
	flag   string
	values []string
	list   bool
	line   int
}

func (s *setting) apply(flags *pflag.FlagSet, f *pflag.Flag) error {
	many, ok := f.Value.(pflag.SliceValue)
	switch {
	case ok:
		if err := many.Replace(s.values); err != nil {
			return err
		}
		f.Changed = true
		return nil
	case s.list:
		return errors.New("takes one value, not a list")
	default:
		return flags.Set(f.Name, s.values[0])
	}
}

// readSettings reads a settings file: a key for each flag, where a table stands
// for the part of the names before a hyphen (log: {level: debug} is log-level).
// Keys that are no flag of any command are mistakes.
func readSettings(file string, known map[string]bool) ([]setting, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil // an empty file sets nothing
		}
		return nil, fmt.Errorf("settings file %s: %w", file, err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("settings file %s: holds more than one YAML document", file)
	}
	r := settingsReader{file: file, known: known, seen: make(map[string]int)}
	top := document.Content[0]
	switch {
	case top.Kind == yaml.MappingNode:
		r.table(top, "")
	case top.Tag != "!!null":
		r.wrong.addf("%s:%d: want a table of settings, like log-level: debug", file, top.Line)
	}
	if r.unknown {
		r.wrong.addf("valid keys: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return r.out, r.wrong.err()
}

type settingsReader struct {
	file    string
	known   map[string]bool
	seen    map[string]int // line of each flag's key
	out     []setting
	wrong   mistakes
	unknown bool
}

func (r *settingsReader) table(n *yaml.Node, prefix string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode && value.Alias.Kind != yaml.MappingNode { // a table might contain itself
			value = value.Alias
		}
		name := prefix + strings.ReplaceAll(key.Value, "_", "-")
		switch {
		case value.Kind == yaml.MappingNode && !r.known[name]:
			r.table(value, name+"-")
			continue
		case !r.known[name]:
			r.unknown = true
			r.wrong.addf("%s:%d: unknown key %q", r.file, key.Line, name)
			continue
		}
		if line, twice := r.seen[name]; twice {
			r.wrong.addf("%s:%d: %s is set before, in line %d", r.file, key.Line, name, line)
			continue
		}
		r.seen[name] = key.Line
		s := setting{flag: name, line: key.Line}
		values := []*yaml.Node{value}
		if s.list = value.Kind == yaml.SequenceNode; s.list {
			values = value.Content
		}
		fine := true
		for _, v := range values {
			if v.Kind == yaml.AliasNode {
				v = v.Alias
			}
			if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
				fine = false
			}
			s.values = append(s.values, v.Value)
		}
		if !fine {
			r.wrong.addf("%s:%d: %s: want a value, or a list of values", r.file, key.Line, name)
			continue
		}
		r.out = append(r.out, s)
	}
}
