package manifests

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Unit is what a systemd service says about its process.
type Unit struct {
	Program string // first word of ExecStart
	Command

	User            string
	StopTimeout     time.Duration // from SIGTERM to SIGKILL
	NoRestartOn     []int         // exit codes after which it stays down
	EnvironmentFile string

	keys map[string][]string // "Section.Key" -> values in order
}

// ReadUnit reads a unit and the environment file that stands for the one it names.
func ReadUnit(file, envFile string) (*Unit, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	env, err := ReadEnvFile(envFile)
	if err != nil {
		return nil, err
	}
	u, err := parseUnit(string(data), env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return u, nil
}

// Values are those of a key, like "Service.Restart", as they are in the file.
func (u *Unit) Values(key string) []string { return u.keys[key] }

// Value is the last value of a key, or nothing.
func (u *Unit) Value(key string) string {
	if v := u.keys[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

func parseUnit(text string, envFile map[string]string) (*Unit, error) {
	u := &Unit{keys: make(map[string][]string)}
	if err := u.read(text); err != nil {
		return nil, err
	}
	u.User = u.Value("Service.User")
	u.EnvironmentFile = u.Value("Service.EnvironmentFile")
	u.Env = make(map[string]string)
	for _, line := range u.Values("Service.Environment") {
		words, err := split(line)
		if err != nil {
			return nil, fmt.Errorf("key Environment=%s: %w", line, err)
		}
		for _, word := range words {
			name, value, ok := strings.Cut(word, "=")
			if !ok || name == "" {
				return nil, fmt.Errorf("key Environment=%s: want NAME=VALUE", line)
			}
			if u.Env[name], err = specifiers(value); err != nil {
				return nil, fmt.Errorf("key Environment=%s: %w", line, err)
			}
		}
	}
	if u.EnvironmentFile != "" {
		maps.Copy(u.Env, envFile) // the file wins
	}
	if err := u.command(); err != nil {
		return nil, err
	}
	stop, err := span(u.Value("Service.TimeoutStopSec"))
	if err != nil {
		return nil, fmt.Errorf("TimeoutStopSec: %w", err)
	}
	u.StopTimeout = stop
	for _, line := range u.Values("Service.RestartPreventExitStatus") {
		for word := range strings.FieldsSeq(line) {
			code, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("RestartPreventExitStatus=%s: only numbers are known here", line)
			}
			u.NoRestartOn = append(u.NoRestartOn, code)
		}
	}
	return u, nil
}

// read fills in the keys. An empty value forgets the ones before it, and stays
// itself: for many keys it says "none".
func (u *Unit) read(text string) error {
	section := ""
	for number, line := range slices.All(strings.Split(text, "\n")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok || key == "" || section == "":
			return fmt.Errorf("line %d: want [Section] or Key=value, got %q", number+1, line)
		case strings.HasSuffix(line, `\`):
			return fmt.Errorf("line %d: continued lines are not known here", number+1)
		case value == "":
			u.keys[section+"."+key] = []string{""}
		default:
			u.keys[section+"."+key] = append(u.keys[section+"."+key], value)
		}
	}
	return nil
}

// command is ExecStart as the process gets it.
func (u *Unit) command() error {
	lines := u.Values("Service.ExecStart")
	if len(lines) != 1 {
		return fmt.Errorf("has %d lines of ExecStart, want 1", len(lines))
	}
	words, err := split(lines[0])
	if err != nil {
		return fmt.Errorf("ExecStart: %w", err)
	}
	if len(words) == 0 || !strings.HasPrefix(words[0], "/") {
		return errors.New("ExecStart: want the full path of a program; prefixes are not known here")
	}
	u.Program = words[0]
	for _, word := range words[1:] {
		word, err := specifiers(word)
		if err != nil {
			return fmt.Errorf("ExecStart: %w", err)
		}
		if u.Args, err = u.substitute(u.Args, word); err != nil {
			return fmt.Errorf("ExecStart: %w", err)
		}
	}
	return nil
}

// substitute appends a word of the command line: ${NAME} anywhere is one value,
// $NAME on its own is as many words as there are in the value.
func (u *Unit) substitute(args []string, word string) ([]string, error) {
	if name, ok := strings.CutPrefix(word, "$"); ok && !strings.HasPrefix(name, "{") && !strings.HasPrefix(name, "$") {
		return append(args, strings.Fields(u.Env[name])...), nil
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(word, "$")
		out.WriteString(before)
		if !found {
			return append(args, out.String()), nil
		}
		if rest, ok := strings.CutPrefix(after, "$"); ok { // $$ is a $
			out.WriteByte('$')
			word = rest
			continue
		}
		rest, ok := strings.CutPrefix(after, "{")
		name, rest, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return nil, fmt.Errorf("%q: want ${NAME}", word)
		}
		out.WriteString(u.Env[name])
		word = rest
	}
}

// specifiers replaces those that are used: %S is where state directories are.
func specifiers(s string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		switch {
		case strings.HasPrefix(after, "S"):
			out.WriteString("/var/lib")
		case strings.HasPrefix(after, "%"):
			out.WriteByte('%')
		default:
			return "", fmt.Errorf("the specifier in %q is not known here", "%"+after)
		}
		s = after[1:]
	}
}

// span is a time span of systemd: seconds, or a number with ms, s, min or h.
func span(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(strings.Replace(s, "min", "m", 1))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time span known here", s)
	}
	return d, nil
}

// split cuts a line into words; quotes keep one together.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord := false
	for _, r := range line {
		switch {
		case r == '\\':
			return nil, errors.New("backslashes are not known here")
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quotation %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
