package node

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// Scripts of the tables are stored under the paths that documents write, so that
// what refers to them is valid like any document of the API.
func TestScriptsOfTablesAreStored(t *testing.T) {
	monitor := func(path string) []byte {
		return []byte(`{"name": "m", "paused": false, "networks": ["net"], "addresses": [], "match_conditions": {"functions": [], "events": [], "transactions": []},
			"trigger_conditions": [{"script_path": "` + path + `", "language": "Python", "timeout_ms": 1000}], "triggers": ["run"]}`)
	}
	trigger := []byte(`{"name": "Run", "trigger_type": "script", "config": {"script_path": "scripts/run.sh", "language": "Bash", "timeout_ms": 1000}}`)
	shared := map[string]*spec.Network{"net": {Slug: "net", Type: spec.EVM}}
	rows := func() *postgres.Rows {
		return &postgres.Rows{
			Slug: "acme", Active: true,
			Monitors: []postgres.Row{{ID: "m", Active: true, Network: true, Config: monitor("./filters/large.py"), Scripts: []string{"1"}}},
			Triggers: []postgres.Row{{ID: "run", Active: true, Config: trigger}},
			Scripts:  map[string]postgres.Script{"1": {Name: "large", Content: "print(1)"}, "2": {Name: "run", Content: "echo"}, "3": {Name: "unused", Content: "x"}},
		}
	}
	f, scripts, problems := readRows(rows(), shared)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]spec.StoredScript{
		"filters/large.py": {Language: "Python", Content: "print(1)"},
		"scripts/run.sh":   {Language: "Bash", Content: "echo"},
	}
	got := map[string]spec.StoredScript{}
	for id, s := range scripts {
		got[id] = *s
		if err := spec.CheckScriptID(id, s).Err(); err != nil {
			t.Error(err)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("stored are %v, want %v", got, want)
	}
	stored := spec.NewReferences(nil, shared, []string{"run"}).WithStored(slices.Collect(maps.Keys(scripts)))
	if err := spec.CheckTrigger(f.Triggers["run"], stored).Err(); err != nil {
		t.Error(err)
	}
	for _, path := range f.Monitors["m"].Scripts() {
		if _, ok := stored.Uses(path); !ok {
			t.Errorf("%s is not stored", path)
		}
	}

	for name, tc := range map[string]struct {
		change func(*postgres.Rows)
		want   string
	}{
		"missing": {func(r *postgres.Rows) { delete(r.Scripts, "2") }, "scripts/run.sh"},
		"empty":   {func(r *postgres.Rows) { r.Scripts["1"] = postgres.Script{Name: "large"} }, "has 0 bytes"},
		"too long": {func(r *postgres.Rows) {
			r.Scripts["1"] = postgres.Script{Content: strings.Repeat("x", spec.MaxScript+1)}
		}, "has 65537 bytes"},
		"two under one path": {func(r *postgres.Rows) {
			r.Monitors = append(r.Monitors, postgres.Row{ID: "n", Active: true, Network: true, Config: monitor("filters/large.py"), Scripts: []string{"3"}})
		}, "filters/large.py"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rows()
			tc.change(r)
			if _, _, problems := readRows(r, shared); problems.Err() == nil || !strings.Contains(problems.Err().Error(), tc.want) {
				t.Errorf("refused with %v, want %q", problems.Err(), tc.want)
			}
		})
	}
}

// A row of triggers holds one, or a table of them as a file does: either finds its
// scripts, and is silent as a whole.
func TestTriggersOfTablesInBothForms(t *testing.T) {
	script := func(path string) string {
		return `{"name": "Run ` + path + `", "trigger_type": "script", "config": {"script_path": "` + path + `", "language": "Bash", "timeout_ms": 1000}}`
	}
	hook := `{"name": "Hook", "trigger_type": "webhook", "config": {"url": {"type": "plain", "value": "https://example.com/"}, "message": {"title": "t", "body": "b"}}}`
	scripts := map[string]postgres.Script{"1": {Name: "unlike its path", Content: "the row's"}, "2": {Name: "b.sh", Content: "by name"}, "3": {Name: "c", Content: "by name, c"}}
	shared := map[string]*spec.Network{"net": {Slug: "net", Type: spec.EVM}}
	for name, tc := range map[string]struct {
		config string
		ids    []string
		want   map[string]string
		fails  string
	}{
		"one":                    {config: script("a.sh"), ids: []string{"run"}, want: map[string]string{"a.sh": "the row's"}},
		"table of one":           {config: `{"run": ` + script("a.sh") + `}`, ids: []string{"run"}, want: map[string]string{"a.sh": "the row's"}},
		"table of another id":    {config: `{"other": ` + script("a.sh") + `}`, ids: []string{"other"}, want: map[string]string{"a.sh": "the row's"}},
		"the only script of two": {config: `{"run": ` + hook + `, "other": ` + script("a.sh") + `}`, ids: []string{"other", "run"}, want: map[string]string{"a.sh": "the row's"}},
		"the row's id is first": {
			config: `{"aaa": ` + script("b.sh") + `, "run": ` + script("a.sh") + `, "zzz": ` + script("x/c.sh") + `}`, ids: []string{"aaa", "run", "zzz"},
			want: map[string]string{"a.sh": "the row's", "b.sh": "by name", "x/c.sh": "by name, c"},
		},
		"by name, where several could be meant": {config: `{"m": ` + script("b.sh") + `, "n": ` + script("c.sh") + `}`, ids: []string{"m", "n"}, want: map[string]string{"b.sh": "by name", "c.sh": "by name, c"}},
		"not to be told":                        {config: `{"m": ` + script("a.sh") + `, "n": ` + script("c.sh") + `}`, fails: "a.sh"},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(active bool) (*spec.Folder, map[string]*spec.StoredScript, spec.Problems) {
				told, _ := json.Marshal(tc.ids) // of texts
				return readRows(&postgres.Rows{
					Slug: "acme", Active: true, Scripts: scripts,
					Triggers: []postgres.Row{{ID: "run", Active: active, Config: []byte(tc.config), Scripts: []string{"1"}}},
					Monitors: []postgres.Row{{ID: "m", Active: true, Network: true, Config: []byte(`{"name": "m", "paused": false, "networks": ["net"], "addresses": [],
						"match_conditions": {"functions": [], "events": [], "transactions": []}, "trigger_conditions": [], "triggers": ` + string(told) + `}`)}},
				}, shared)
			}
			f, stored, problems := read(true)
			if tc.fails != "" {
				if err := problems.Err(); err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("refused with %v", err)
				}
				return
			}
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for id, s := range stored {
				got[id] = s.Content
			}
			if ids := slices.Sorted(maps.Keys(f.Triggers)); !maps.Equal(got, tc.want) || !slices.Equal(ids, tc.ids) || !slices.Equal(f.Monitors["m"].Triggers, tc.ids) {
				t.Errorf("triggers %v with scripts %v; the monitor tells %v", ids, got, f.Monitors["m"].Triggers)
			}
			if f, _, _ := read(false); len(f.Monitors["m"].Triggers) != 0 {
				t.Errorf("of a row that is not active, the monitor tells %v", f.Monitors["m"].Triggers)
			}
		})
	}
}
