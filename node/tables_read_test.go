package node

import (
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
