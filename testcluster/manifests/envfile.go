package manifests

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// ReadEnvFile reads a file of NAME=VALUE lines as systemd does.
func ReadEnvFile(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	env, err := parseEnvFile(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return env, nil
}

func parseEnvFile(text string) (map[string]string, error) {
	env := make(map[string]string)
	for number, line := range slices.All(strings.Split(text, "\n")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
			return nil, fmt.Errorf("line %d: want NAME=VALUE, got %q", number+1, line)
		}
		if strings.Contains(value, `\`) {
			return nil, fmt.Errorf("line %d: backslashes are not known here", number+1)
		}
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		if strings.ContainsAny(value, `"'`) {
			return nil, fmt.Errorf("line %d: quotes are only known around the whole value", number+1)
		}
		env[name] = value
	}
	return env, nil
}
