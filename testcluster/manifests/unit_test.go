package manifests

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const unitFile = `# a comment
[Unit]
Description=a program

[Service]
User=me
Environment=DATA=%S/me "TEXT=two words" RATE=5%%
Environment=NODE=x
EnvironmentFile=/etc/me.env
ExecStart=/usr/bin/me run --data=${DATA} --text=${TEXT} $MORE "a b" '' price=$$5
SystemCallFilter=@a
SystemCallFilter=~@b
CapabilityBoundingSet=CAP_X
CapabilityBoundingSet=
TimeoutStopSec=1min
RestartPreventExitStatus=78 3
; another comment
`

func TestUnit(t *testing.T) {
	u, err := parseUnit(unitFile, map[string]string{"NODE": "a", "MORE": "--x --y"})
	if err != nil {
		t.Fatal(err)
	}
	want := Command{
		Args: []string{"run", "--data=/var/lib/me", "--text=two words", "--x", "--y", "a b", "", "price=$5"},
		Env:  map[string]string{"DATA": "/var/lib/me", "TEXT": "two words", "RATE": "5%", "NODE": "a", "MORE": "--x --y"},
	}
	if d := cmp.Diff(want, u.Command); d != "" {
		t.Error(d)
	}
	if u.Program != "/usr/bin/me" || u.User != "me" || u.StopTimeout != time.Minute || u.EnvironmentFile != "/etc/me.env" {
		t.Errorf("%+v", u)
	}
	if !slices.Equal(u.NoRestartOn, []int{78, 3}) {
		t.Errorf("no restart on %v", u.NoRestartOn)
	}
	if got := u.Values("Service.SystemCallFilter"); !slices.Equal(got, []string{"@a", "~@b"}) {
		t.Errorf("filter %q", got)
	}
	if got := u.Values("Service.CapabilityBoundingSet"); !slices.Equal(got, []string{""}) {
		t.Errorf("an empty value does not forget those before it: %q", got)
	}
	if u.Value("Unit.Nothing") != "" || u.Value("Service.Description") != "" {
		t.Error("a key is found that is not there, or in another section")
	}
}

func TestUnitMistakes(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"no section", "[Unit]", "", "line 3"},
		{"no key", "User=me", "User", "line 6"},
		{"continued", "User=me", `User=me \`, "continued"},
		{"no ExecStart", "ExecStart=", "ExecStop=", "0 lines of ExecStart"},
		{"two of them", "User=me", "ExecStart=/bin/true", "2 lines of ExecStart"},
		{"relative", "ExecStart=/usr/bin/me", "ExecStart=me", "full path"},
		{"prefix", "ExecStart=/usr", "ExecStart=-/usr", "full path"},
		{"specifier", "%S", "%i", "%i"},
		{"quotation", `"a b"`, `"a b`, "not closed"},
		{"backslash", `"a b"`, `a\x20b`, "backslash"},
		{"variable", "${DATA}", "${DATA", "${NAME}"},
		{"environment", "NODE=x", "NODE", "NAME=VALUE"},
		{"time", "1min", "soon", "soon"},
		{"exit status", "78 3", "SIGKILL", "SIGKILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(unitFile, tt.old, tt.new, 1)
			if text == unitFile {
				t.Fatalf("%q is not in the text", tt.old)
			}
			_, err := parseUnit(text, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %s", err, tt.want)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"45": 45 * time.Second, "45s": 45 * time.Second, "100ms": 100 * time.Millisecond, "2min": 2 * time.Minute, "1h": time.Hour,
	} {
		if got, err := span(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1s", "1 week"} {
		if got, err := span(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestEnvFile(t *testing.T) {
	got, err := parseEnvFile("# comment\n; comment\n\nA=1\n B = two words \nC=\"quoted # text\"\nD=\nE='x=y'\nA=2\n")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "2", "B": "two words", "C": "quoted # text", "D": "", "E": "x=y"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, text := range []string{"A", "=1", "export A=1", `A=a\b`, `A=a"b"`, `A="b`} {
		if got, err := parseEnvFile("X=1\n" + text); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzUnit(f *testing.F) {
	f.Add(unitFile, "A=1")
	f.Add("[Service]\nExecStart=/x ${A} $B $$ %%", "B='1 2'")
	f.Fuzz(func(t *testing.T, unit, env string) {
		vars, err := parseEnvFile(env)
		if err != nil {
			vars = nil
		}
		u, err := parseUnit(unit, vars)
		if err == nil && !strings.HasPrefix(u.Program, "/") {
			t.Errorf("program %q", u.Program)
		}
	})
}
