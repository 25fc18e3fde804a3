package manifests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Command is how a program is started.
type Command struct {
	Args []string          // without the program's name
	Env  map[string]string // what the file sets; nothing is inherited
}

// EnvName is the variable that sets a flag of ozmo.
func EnvName(flag string) string {
	return "OZMO_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Get is the value of a flag: of the last argument --flag=value, else of its
// variable. As for ozmo, an empty variable counts as not set.
func (c *Command) Get(flag string) (string, bool) {
	if i := c.arg(flag); i >= 0 {
		return c.Args[i][len("--"+flag+"="):], true
	}
	value := c.Env[EnvName(flag)]
	return value, value != ""
}

// Set gives a flag another value where it is set now, among the arguments or in
// the environment. A flag that is not set is an error: the test that wants to
// change it believes something about the file that is not so.
func (c *Command) Set(flag, value string) error {
	if i := c.arg(flag); i >= 0 {
		c.Args[i] = "--" + flag + "=" + value
		return nil
	}
	if _, ok := c.Get(flag); !ok {
		return fmt.Errorf("neither an argument --%s=… nor the variable %s is set", flag, EnvName(flag))
	}
	c.Env[EnvName(flag)] = value
	return nil
}

func (c *Command) arg(flag string) int {
	found := -1
	for i, a := range c.Args {
		if strings.HasPrefix(a, "--"+flag+"=") {
			found = i
		}
	}
	return found
}

// Flags are the names of the flags that are set, in both ways, sorted.
func (c *Command) Flags() []string {
	var out []string
	for _, a := range c.Args {
		if name, ok := strings.CutPrefix(a, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			out = append(out, name)
		}
	}
	for name := range c.Env {
		if name, ok := strings.CutPrefix(name, "OZMO_"); ok {
			out = append(out, strings.ToLower(strings.ReplaceAll(name, "_", "-")))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Environ is the environment as os/exec takes it, sorted.
func (c *Command) Environ() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		out = append(out, name+"="+c.Env[name])
	}
	return out
}
