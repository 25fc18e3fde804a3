package files

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/client"
	_ "github.com/ozmo-dev/ozmo/worker/match/evm" // compiles monitors
)

const (
	monitorText = `{"name":"Large","networks":["mine"],"paused":false,"addresses":[],"match_conditions":{"functions":[],"events":[],"transactions":[{"status":"Any","expression":"value > 1"}]},"trigger_conditions":[],"triggers":["hook"]}`
	networkText = `{"network_type":"EVM","slug":"mine","name":"Mine","rpc_urls":[{"type_":"rpc","url":{"type":"plain","value":"https://rpc.example/s3cret"},"weight":100}],"chain_id":1,"block_time_ms":12000,"confirmation_blocks":1,"cron_schedule":"0 * * * * *"}`
	triggerText = `{"name":"Hook","trigger_type":"webhook","config":{"url":{"type":"plain","value":"https://hooks.example/s3cret"},"headers":{"A":"s3cret"},"message":{"title":"t","body":"b"}}}`
)

func parse(t testing.TB, networks, monitors, triggers map[string]string) *Documents {
	t.Helper()
	raw := func(m map[string]string) map[string]json.RawMessage {
		out := map[string]json.RawMessage{}
		for id, text := range m {
			out[id] = json.RawMessage(text)
		}
		return out
	}
	d, err := Parse(client.Configuration{Networks: raw(networks), Monitors: raw(monitors), Triggers: raw(triggers)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func some(t testing.TB) *Documents {
	return parse(t, map[string]string{"mine": networkText}, map[string]string{"m": monitorText}, map[string]string{"hook": triggerText})
}

func TestCompare(t *testing.T) {
	there := some(t)
	there.Triggers["old"] = there.Triggers["hook"]
	there.Scripts["a.py"] = client.Script{Language: "Python", Content: "one\ntwo\nthree"}
	here := parse(t, map[string]string{"mine": strings.Replace(networkText, `"chain_id":1`, `"chain_id":2`, 1)},
		map[string]string{"m": strings.Replace(strings.Replace(monitorText, "value > 1", "value > 2", 1), `["hook"]`, `["hook","b.c"]`, 1), "n": monitorText},
		map[string]string{"hook": strings.Replace(triggerText, `"value":"https://hooks.example/s3cret"`, `"value":"https://hooks.example/0ther"`, 1)})
	here.Scripts["a.py"] = client.Script{Language: "Python", Content: "one\nTWO\nthree"}
	got, err := Compare(here, there, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []Difference{
		{KindNetwork, "mine", Updated, []Field{{"chain_id", "1", "2"}}},
		{KindTrigger, "old", Deleted, nil},
		{KindMonitor, "m", Updated, []Field{
			{"match_conditions.transactions[0].expression", `"value > 1"`, `"value > 2"`}, {"triggers[1]", "", `"b.c"`},
		}},
		{KindMonitor, "n", Created, nil},
		{KindScript, "a.py", Updated, []Field{{"content, line 2", `"two"`, `"TWO"`}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	kept, err := Compare(here, there, false)
	if err != nil || len(kept) != len(got)-1 {
		t.Errorf("without pruning: %+v, %v", kept, err)
	}
	text, err := json.Marshal(got)
	if err != nil || strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "0ther") {
		t.Errorf("a secret is shown: %s, %v", text, err)
	}
}

// A secret that is another kind of one is told; what it is, is not.
func TestCompareSecrets(t *testing.T) {
	here, there := some(t), some(t)
	here.Triggers["hook"].Webhook.URL = spec.Secret{Type: spec.SecretStored, Value: "name"}
	got, err := Compare(here, there, true)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	want := []Field{{"config.url.type", `"sealed"`, `"stored"`}, {"config.url.value", `""`, `"name"`}}
	if diff := cmp.Diff(want, got[0].Fields); diff != "" {
		t.Error(diff)
	}
}

// Fields of two values name every place that differs, and nothing for equal ones.
func TestFieldsProperty(t *testing.T) {
	var value *rapid.Generator[any]
	value = rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			return rapid.MapOfN(rapid.StringMatching(`[a-c.]{0,2}`), rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3).Draw(t, "object")
		case 1:
			return rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3).Draw(t, "array")
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return nil
		}
		return rapid.StringMatching(`[xy]{0,2}`).Draw(t, "text")
	})
	object := rapid.MapOfN(rapid.StringMatching(`[a-c]`), rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := object.Draw(t, "a"), object.Draw(t, "b")
		var one, two, none []Field
		fields("", widen(a), widen(a), &none)
		if len(none) != 0 {
			t.Fatalf("equal values differ: %+v", none)
		}
		fields("", widen(a), widen(b), &one)
		fields("", widen(b), widen(a), &two)
		if len(one) != len(two) {
			t.Fatalf("%+v one way, %+v the other", one, two)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if (len(one) == 0) != (string(x) == string(y)) {
			t.Fatalf("%s and %s: %+v", x, y, one)
		}
		places := map[string]bool{}
		for _, f := range one {
			if places[f.Path] {
				t.Fatalf("%s is told twice", f.Path)
			}
			places[f.Path] = true
		}
	})
}

func widen(m map[string]any) any { return m }

func TestAlign(t *testing.T) {
	named := func(name string) string { return strings.Replace(monitorText, "Large", name, 1) }
	there := parse(t, nil, map[string]string{"usdc": named("USDC"), "Name": named("Name"), "a/b": named("Before"), "gone": named("Gone")}, nil)
	here := parse(t, nil, map[string]string{"USDC": named("USDC"), "Name": named("Name"), "After": named("After"), "New": named("New")}, nil)
	here.files = map[string]string{"monitor/USDC": "monitors/x.json", "monitor/After": "monitors/a-b.json", "monitor/New": "monitors/new.json"}
	here.Align(there)
	if got := slices.Sorted(maps.Keys(here.Monitors)); !slices.Equal(got, []string{"Name", "New", "a/b", "usdc"}) {
		t.Errorf("got %v", got)
	}
	if here.File(spec.KindMonitor, "a/b") != "monitors/a-b.json" {
		t.Errorf("files %v", here.files)
	}
	before := maps.Clone(here.Monitors)
	here.Align(there)
	if !maps.Equal(before, here.Monitors) {
		t.Error("aligned twice, it is something else")
	}
}

func TestFileNames(t *testing.T) {
	got := fileNames(map[string]int{"a b": 1, "a-b": 1, "A-B": 1, "": 1, "../x": 1, strings.Repeat("y", 300): 1, "ö": 1})
	want := map[string]string{
		"": "document", "../x": "x", "A-B": "A-B", "a b": "a-b-2", "a-b": "a-b-3", strings.Repeat("y", 300): strings.Repeat("y", 100), "ö": "document-2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is written as a folder and read again is the same.
func TestRenderAndRead(t *testing.T) {
	d := some(t)
	d.Monitors["m"].TriggerConditions = []spec.TriggerCondition{{Language: "Python", ScriptPath: "filters/a.py", TimeoutMS: 5}}
	d.Scripts["filters/a.py"] = client.Script{Language: "Python", Content: "print()\n"}
	for _, s := range d.secrets() {
		*s = spec.Secret{Type: spec.SecretSealed, Value: "mark"}
	}
	r, err := Render(d, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(r.Files)); !slices.Equal(got, []string{"filters/a.py", "monitors/m.json", "networks/mine.json", "triggers/hook.json"}) {
		t.Fatalf("files %v", got)
	}
	dir := t.TempDir()
	for name, data := range r.Files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	back, problems, err := f.Tenant(t.Context(), "acme")
	if err != nil || problems.Err() != nil {
		t.Fatal(err, problems.Err())
	}
	back.Align(d)
	differences, err := Compare(back, d, true)
	if err != nil || len(differences) != 0 {
		t.Errorf("%+v, %v", differences, err)
	}
	if got := back.Triggers["hook"].Webhook.URL; got != (spec.Secret{Type: spec.SecretSealed, Value: "mark"}) {
		t.Error("a secret is not kept")
	}

	d.Scripts["../a.py"] = client.Script{}
	if _, err := Render(d, ""); err == nil || !strings.Contains(err.Error(), `script "../a.py" cannot be a file`) {
		t.Errorf("got %v", err)
	}
}

func TestRenderVariables(t *testing.T) {
	d := some(t)
	for _, s := range d.secrets() {
		*s = spec.Secret{Type: spec.SecretSealed, Value: "mark"}
	}
	d.Triggers["HOOK"] = d.Triggers["hook"]
	r, err := Render(d, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ACME_NETWORK_MINE", "ACME_TRIGGER_HOOK_1", "ACME_TRIGGER_HOOK_2"}; !slices.Equal(r.Variables, want) {
		t.Errorf("got %v", r.Variables)
	}
	if text := string(r.Files["triggers/hook-2.json"]); !strings.Contains(text, `"value": "ACME_TRIGGER_HOOK_1"`) || strings.Contains(text, "mark") {
		t.Errorf("got %s", text)
	}
}

func TestParseEnv(t *testing.T) {
	got, err := ParseEnv("# a remark\n\nA=1\nexport B = \"two words\" # b\nC='x # y'\nD=a=b # d\nE=\nF=\"open\r\n")
	want := map[string]string{"A": "1", "B": "two words", "C": "x # y", "D": "a=b", "E": "", "F": `"open`}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	_, err = ParseEnv("A=1\ns3cret\n=s3cret\n")
	if err == nil || err.Error() != "line 2: want NAME=VALUE\nline 3: want NAME=VALUE" {
		t.Errorf("got %v", err)
	}
}

func FuzzParseEnv(f *testing.F) {
	f.Add("A=1\nexport B=\"x\" # y\n")
	f.Add("='")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseEnv(text)
		for name := range got {
			if name == "" || strings.ContainsAny(name, "=\n \"'") {
				t.Errorf("name %q, %v", name, err)
			}
		}
	})
}

// Any file is read, or it is said what is wrong with it, without its secrets.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		monitorText, networkText, `{"hook":` + triggerText + `}`, `{"networks":{"mine":` + networkText + `},"monitors":{"a.b":` + monitorText + `},"scripts":{"a.py":{}}}`,
		"name: x\nmatch_conditions: {}\n---\na: &a [*a]\n", "{", "- 1", "", "\xff", "? [1]\n: 2",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, problems, err := Read(t.Context(), "file", data, ".", func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		if problems.Err() == nil {
			if d.Count() == 0 && !d.Whole && len(problems) == 0 {
				t.Fatal("there is nothing in it, and nothing wrong with it")
			}
			if _, err := d.Configuration(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A trigger may stand alone in a file, as the API shows it: it goes by its name.
func TestTriggerAlone(t *testing.T) {
	read := func(text string) *File {
		t.Helper()
		f, problems, err := Read(t.Context(), "x", []byte(text), t.TempDir(), nil)
		if err != nil || problems.Err() != nil {
			t.Fatal(err, problems)
		}
		return f
	}
	f := read(triggerText)
	if f.Triggers["Hook"] == nil || f.Count() != 1 || f.Whole || f.OwnID(KindTrigger, "Hook") {
		t.Fatalf("%+v", f.Documents)
	}
	if f.Align(some(t)); f.Triggers["hook"] == nil || len(f.Triggers) != 1 {
		t.Errorf("not the trigger of that name: %v", sortedKeys(f.Triggers))
	}
	f = read(triggerText)
	if f.Align(newDocuments()); f.Triggers["Hook"] == nil {
		t.Errorf("%v", sortedKeys(f.Triggers))
	}
	both := some(t)
	both.Triggers["Hook"] = both.Triggers["hook"]
	if f = read(triggerText); f.Triggers["Hook"] == nil {
		t.Fatal("gone")
	}
	if f.Align(both); f.Triggers["Hook"] == nil || len(f.Triggers) != 1 {
		t.Errorf("the id goes before the name: %v", sortedKeys(f.Triggers))
	}

	f = read(`{"hook":` + triggerText + `,"trigger_type":` + strings.Replace(triggerText, "Hook", "Odd", 1) + `}`)
	if f.Triggers["hook"] == nil || f.Triggers["trigger_type"] == nil || !f.OwnID(KindTrigger, "hook") {
		t.Errorf("%+v", f.Documents)
	}
	if yaml := read("name: Y\ntrigger_type: slack\nconfig:\n  slack_url: {type: plain, value: 'https://hooks.slack.com/x'}\n  message: {title: t, body: b}\n"); yaml.Triggers["Y"] == nil {
		t.Errorf("%+v", yaml.Documents)
	}
	_, problems, err := Read(t.Context(), "x.json", []byte(`{"name":"X","trigger_type":"webhok","config":{}}`), t.TempDir(), nil)
	if err != nil || problems.Err() == nil || problems[0].Path != "trigger_type" {
		t.Errorf("%v: %v", err, problems)
	}
}
