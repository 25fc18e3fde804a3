package spec

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// plainFolder is a folder without problems.
func plainFolder() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	return fstest.MapFS{
		"networks/ethereum_mainnet.json": file(withoutRecovery),
		"monitors/transfers.json":        file(plainMonitor),
		"triggers/hooks.JSON":            file(`{"to_webhook": ` + sampleTrigger + `}`),
		"triggers/readme.md":             file("not a document"),
		"networks/old/a.json":            file("not a direct child"),
		"monitors/dir.json/x":            file("inside a folder"),
	}
}

var withoutRecovery = sampleNetwork[:strings.Index(sampleNetwork, `,
	"recovery_config"`)] + "}"

func set(fsys fstest.MapFS, name, text string) fstest.MapFS {
	fsys[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	return fsys
}

// move puts a folder under a directory.
func move(fsys fstest.MapFS, dir string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, f := range fsys {
		out[dir+"/"+name] = f
	}
	return out
}

func TestReadFolder(t *testing.T) {
	f, ps := ReadFolder(plainFolder())
	wantProblems(t, ps)
	if f.Networks["ethereum_mainnet"] == nil || f.Monitors["Large transfers"] == nil || f.Triggers["to_webhook"] == nil {
		t.Errorf("got %v", f.Files)
	}
	want := map[string]string{
		"network/ethereum_mainnet": "networks/ethereum_mainnet.json",
		"monitor/Large transfers":  "monitors/transfers.json",
		"trigger/to_webhook":       "triggers/hooks.JSON",
	}
	if !maps.Equal(f.Files, want) {
		t.Errorf("files = %v", f.Files)
	}
}

func TestReadFolderProblems(t *testing.T) {
	fsys := plainFolder()
	set(fsys, "networks/copy.json", edit(t, withoutRecovery, `"name": "Ethereum"`, `"name": " ETHEREUM"`))
	set(fsys, "networks/broken.json", "{")
	set(fsys, "networks/stem.json", edit(t, edit(t, withoutRecovery, `"ethereum_mainnet"`, `"by_slug"`), `"name": "Ethereum"`, `"name": "Other"`))
	set(fsys, "triggers/more.json", `{"to_webhook": `+sampleEmail+`, "bad": {}, "same": `+edit(t, sampleEmail, `"Mail"`, `" WEBHOOK "`)+`}`)
	set(fsys, "monitors/refs.json", edit(t, edit(t, edit(t, plainMonitor, `"Large transfers"`, `"Refs"`),
		`"networks": ["ethereum_mainnet"]`, `"networks": ["ethereum_manet", "broken", "stem"]`), `["to_webhook"]`, `["to_webhok", "bad"]`))
	set(fsys, "monitors/same.json", edit(t, plainMonitor, `"Large transfers"`, `"large TRANSFERS "`))
	f, ps := ReadFolder(fsys)
	wantProblems(
		t, ps,
		`monitors/refs.json: networks[0]: refers to the network "ethereum_manet", which is not defined; did you mean "ethereum_mainnet"?`,
		`warning: monitors/refs.json: networks[2]: refers to the network "Other" by its file name; write its slug "by_slug" instead`,
		`monitors/refs.json: triggers[0]: refers to the trigger "to_webhok", which is not defined; did you mean "to_webhook"?`,
		`monitors/transfers.json: name: found "Large transfers", which is the name of the monitor in monitors/same.json`,
		`networks/broken.json: is not valid JSON: unexpected end of JSON input at line 1, column 1`,
		`networks/ethereum_mainnet.json: name: found "Ethereum", which is the name of the network in networks/copy.json`,
		`networks/ethereum_mainnet.json: slug: found "ethereum_mainnet", which is the slug of the network in networks/copy.json`,
		`triggers/more.json: bad.config: is missing, expected an object`,
		`triggers/more.json: bad.name: is missing, expected a string`,
		`triggers/more.json: bad.trigger_type: is missing, expected a string`,
		`triggers/more.json: same.name: found " WEBHOOK ", which is the name of another trigger in triggers/hooks.JSON`,
		`triggers/more.json: to_webhook: is an id that triggers/hooks.JSON uses too: ids are unique over all files`,
	)
	if f.Monitors["Refs"] != nil {
		t.Error("a monitor with bad references was kept")
	}
}

func TestReadFolderMissing(t *testing.T) {
	_, ps := ReadFolder(fstest.MapFS{})
	wantProblems(
		t, ps,
		"monitors: does not exist, expected a folder (it may be empty)",
		"networks: does not exist, expected a folder (it may be empty)",
		"triggers: does not exist, expected a folder (it may be empty)",
	)
	_, ps = ReadFolder(fstest.MapFS{}, WithTenantFolder())
	wantProblems(t, ps, "monitors: does not exist, expected a folder (it may be empty)")
}

// A network may be referred to by file name, as in the peer; the monitor then
// holds the slug.
func TestReferenceByStem(t *testing.T) {
	fsys := plainFolder()
	fsys["networks/eth.json"] = fsys["networks/ethereum_mainnet.json"]
	delete(fsys, "networks/ethereum_mainnet.json")
	f, ps := ReadFolder(fsys)
	wantProblems(t, ps)
	set(fsys, "monitors/transfers.json", edit(t, plainMonitor, `"ethereum_mainnet"`, `"eth"`))
	g, ps := ReadFolder(fsys)
	if len(ps) != 1 || ps[0].Severity != SeverityWarning {
		t.Errorf("problems: %v", ps)
	}
	if changes := Diff(f, g); len(changes) != 0 {
		t.Errorf("the references mean the same, but %v", changes)
	}
}

func TestScripts(t *testing.T) {
	fsys := plainFolder()
	condition := func(p, language string) string {
		return `"trigger_conditions": [{"script_path": "` + p + `", "language": "` + language + `", "timeout_ms": 1}]`
	}
	for _, tc := range []struct{ path, language, file, want string }{
		{"filters/x.py", "Python", "filters/x.py", ""},
		{"./config/filters/x.py", "Python", "filters/x.py", ""},
		{"config/filters/../filters/x.py", "Python", "filters/x.py", ""},
		{"filters/open.sh", "Bash", "filters/open.sh", `warning: monitors/transfers.json: trigger_conditions[0].script_path: "filters/open.sh" can be changed by others…`},
		{"filters/x.py", "Bash", "", `monitors/transfers.json: trigger_conditions[0].script_path: found "filters/x.py", expected a file that ends in .sh…`},
		{"filters/gone.py", "Python", "", `monitors/transfers.json: trigger_conditions[0].script_path: found "filters/gone.py", which does not exist in the folder`},
		{"../x.py", "Python", "", `monitors/transfers.json: trigger_conditions[0].script_path: found "../x.py", which is outside the folder…`},
		{"filters/dir.py", "Python", "", `monitors/transfers.json: trigger_conditions[0].script_path: found "filters/dir.py", which is not a file`},
		{"", "Python", "", `monitors/transfers.json: trigger_conditions[0].script_path: is empty, expected the path of a script`},
	} {
		set(fsys, "filters/x.py", "print('false')")
		set(fsys, "filters/dir.py/x", "")
		fsys["filters/open.sh"] = &fstest.MapFile{Mode: 0o664}
		set(fsys, "monitors/transfers.json", edit(t, plainMonitor, `"trigger_conditions": []`, condition(tc.path, tc.language)))
		f, ps := ReadFolder(fsys)
		var want []string
		if tc.file != "" {
			want = append(want, `notice: monitors/transfers.json: trigger_conditions: …`)
		}
		if tc.want != "" {
			want = append(want, tc.want)
		}
		wantProblems(t, ps, want...)
		if f.Scripts[tc.path] != tc.file {
			t.Errorf("%s: file %q, want %q", tc.path, f.Scripts[tc.path], tc.file)
		}
	}
}

func TestNotices(t *testing.T) {
	fsys := plainFolder()
	set(fsys, "networks/ethereum_mainnet.json", edit(t, sampleNetwork, `"store_blocks": null`, `"store_blocks": true`))
	set(fsys, "networks/solana.json", strings.NewReplacer(`"EVM"`, `"Solana"`, "ethereum_mainnet", "solana", "Ethereum", "Sol").Replace(withoutRecovery))
	set(fsys, "triggers/run.json", `{"run": `+edit(t, sampleScript, "./config/triggers/scripts/run.py", "filters/run.py")+`}`)
	set(fsys, "filters/run.py", "pass")
	_, ps := ReadFolder(fsys)
	wantProblems(
		t, ps,
		`notice: networks/ethereum_mainnet.json: recovery_config: has no effect…`,
		`notice: networks/ethereum_mainnet.json: store_blocks: has no effect…`,
		`notice: networks/solana.json: network solana: Solana is not supported yet: its monitors are kept but not run`,
		`notice: triggers/run.json: run.trigger_type: script is not supported yet: the trigger is kept but sends nothing`,
	)
}

func TestReadTreePlain(t *testing.T) {
	tree, ps := ReadTree(plainFolder())
	wantProblems(t, ps)
	f := tree.Tenants[DefaultTenant]
	if len(tree.Tenants) != 1 || len(f.Monitors) != 1 || len(f.Networks) != 0 || tree.Networks["ethereum_mainnet"] == nil {
		t.Errorf("got %+v", tree)
	}
	_, ps = ReadTree(fstest.MapFS{})
	if len(ps.Errors()) != 3 {
		t.Errorf("problems of an empty directory: %v", ps)
	}
}

func TestReadTreeTenants(t *testing.T) {
	fsys := plainFolder()
	maps.Copy(fsys, move(plainFolder(), "tenants/acme")) // with a private network of the same slug
	private := edit(t, withoutRecovery, `"ethereum_mainnet"`, `"own"`)
	maps.Copy(fsys, move(fstest.MapFS{
		"monitors/a.json": {Data: []byte(plainMonitor)}, // refers to the shared network
		"triggers/a.json": {Data: []byte(`{"to_webhook": ` + sampleTrigger + `}`)},
		"networks/own.json": {Data: []byte(edit(t, private, `"store_blocks": null`,
			`"watch": "ethereum_mainnet"`))},
	}, "tenants/b-2"))
	maps.Copy(fsys, move(fstest.MapFS{"monitors/x.txt": {}}, "tenants/c"))
	set(fsys, "tenants/.data/monitors/x.json", "ignored")
	set(fsys, "tenants/readme.md", "ignored")
	tree, ps := ReadTree(fsys)
	wantProblems(t, ps)
	if got := slices.Sorted(maps.Keys(tree.Tenants)); !slices.Equal(got, []string{"acme", "b-2", "c", "default"}) {
		t.Errorf("tenants = %v", got)
	}
	if b := tree.Tenants["b-2"]; b.Networks["own"].Watch != "ethereum_mainnet" || b.Files["network/own"] != "tenants/b-2/networks/own.json" {
		t.Errorf("b-2 = %v", b.Files)
	}
}

func TestReadTreeProblems(t *testing.T) {
	fsys := plainFolder()
	maps.Copy(fsys, move(plainFolder(), "tenants/default"))
	maps.Copy(fsys, move(plainFolder(), "tenants/Bad"))
	watch := func(slug, other, extra string) string {
		return edit(t, edit(t, withoutRecovery, `"slug": "ethereum_mainnet"`, `"slug": "`+slug+`"`),
			`"name": "Ethereum"`, `"name": "`+slug+`", "watch": "`+other+`"`+extra)
	}
	maps.Copy(fsys, move(fstest.MapFS{
		"monitors/x.txt":  {},
		"networks/1.json": {Data: []byte(watch("w1", "ethereum_mainet", ""))},
		"networks/2.json": {Data: []byte(watch("w2", "w1", ""))},
		"networks/3.json": {Data: []byte(strings.Replace(watch("w3", "ethereum_mainnet", ""), `"chain_id": 1`, `"chain_id": 2`, 1))},
		"networks/4.json": {Data: []byte(strings.Replace(watch("w4", "ethereum_mainnet", ""), `"EVM"`, `"Solana"`, 1))},
	}, "tenants/c"))
	set(fsys, "networks/w.json", watch("shared_w", "ethereum_mainnet", ""))
	_, ps := ReadTree(fsys)
	wantProblems(
		t, ps.Errors(),
		`networks/w.json: watch: is only for private networks of a tenant`,
		`tenants/Bad: is no name for a tenant: expected 1 to 63 lower-case letters, digits, underscores or hyphens`,
		`tenants/c/networks/1.json: watch: refers to the shared network "ethereum_mainet", which is not defined; did you mean "ethereum_mainnet"?`,
		`tenants/c/networks/2.json: watch: refers to the network "w1", which is not a shared one`,
		`tenants/c/networks/3.json: watch: refers to the network "ethereum_mainnet", which has the chain_id 1, not 2`,
		`tenants/c/networks/4.json: watch: refers to the network "ethereum_mainnet", which is of type EVM, not Solana`,
		`tenants/default: is the tenant of monitors/ at the root: move those into this folder, or rename it`,
	)
}

func TestDiff(t *testing.T) {
	before, _ := ReadFolder(plainFolder())
	fsys := plainFolder()
	set(fsys, "monitors/transfers.json", edit(t, plainMonitor, `"paused": false`, `"paused": true`))
	set(fsys, "triggers/mail.json", `{"mail": `+sampleEmail+`}`)
	set(fsys, "networks/other.json", strings.NewReplacer("ethereum_mainnet", "other", "Ethereum", "Other").Replace(withoutRecovery))
	after, ps := ReadFolder(fsys)
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	want := []Change{{KindNetwork, "other", Added}, {KindTrigger, "mail", Added}, {KindMonitor, "Large transfers", Changed}}
	if got := Diff(before, after); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	want = []Change{{KindNetwork, "other", Removed}, {KindTrigger, "mail", Removed}, {KindMonitor, "Large transfers", Changed}}
	if got := Diff(after, before); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := Diff(nil, before); len(got) != 3 || got[0].Op != Added {
		t.Errorf("from nothing: %v", got)
	}
	if got := Diff(before, nil); len(got) != 3 || got[0].Op != Removed {
		t.Errorf("to nothing: %v", got)
	}
	if got := Diff(before, before); got != nil {
		t.Errorf("the same: %v", got)
	}
}

func TestReadCheckpoints(t *testing.T) {
	got, ps := ReadCheckpoints(fstest.MapFS{
		"eth_last_block.txt": {Data: []byte("19000000\n")},
		"eth_missed_blocks.json": {Data: []byte(`[
			{"block_number": 9, "first_missed_at": 1, "retry_count": 0, "status": "Pending", "last_attempt_at": null, "last_error": null},
			{"block_number": 7, "status": "Failed"}, {"block_number": 8, "status": "Recovered"}, {"block_number": 9, "status": "Recovering"}]`)},
		"old_missed_blocks.txt":      {Data: []byte("5\n\nx\n3\n")},
		"torn_last_block.txt":        {Data: nil},
		"bad_missed_blocks.json":     {Data: []byte(`[{"block_number": -1}]`)},
		"eth_blocks_1700000000.json": {Data: []byte("[]")},
	})
	if len(got) != 2 || got["eth"].LastBlock != 19000000 || !slices.Equal(got["eth"].Missed, []uint64{7, 9}) ||
		!slices.Equal(got["old"].Missed, []uint64{3, 5}) {
		t.Errorf("got %v", got)
	}
	wantProblems(
		t, ps,
		`bad_missed_blocks.json: [0].block_number: found -1, expected a whole number of at least 0`,
		`warning: old_missed_blocks.txt: lines skipped because they are no block numbers: 1`,
		`torn_last_block.txt: found "", expected a block number…`,
	)
}

func TestDidYouMean(t *testing.T) {
	for _, tc := range []struct{ word, want string }{
		{"confirmation_block", "confirmation_blocks"},
		{"ConfirmationBlocks", "confirmation_blocks"},
		{"confirmation-blocks", "confirmation_blocks"},
		{"slugg", "slug"},
		{"colour", ""},
		{"", ""},
	} {
		want := ""
		if tc.want != "" {
			want = `; did you mean "` + tc.want + `"?`
		}
		if got := didYouMean(tc.word, []string{"slug", "confirmation_blocks", "name"}); got != want {
			t.Errorf("%q: got %q, want %q", tc.word, got, want)
		}
	}
}

func TestReferencesOfOneMonitor(t *testing.T) {
	shared := map[string]*Network{"ethereum_mainnet": mustNetwork(t, withoutRecovery)}
	private := map[string]*Network{"solana": mustNetwork(t, edit(t, withoutRecovery, `"EVM"`, `"Solana"`))}
	private["solana"].Slug = "solana"
	refs := NewReferences(private, shared, []string{"to_webhook"})
	for _, tc := range []struct {
		from, to string
		want     []string
	}{
		{`"paused": false`, `"paused": true`, nil},
		{`"networks": ["ethereum_mainnet"]`, `"networks": ["solana"]`, []string{
			`warning: addresses[0].contract_spec: is a contract of EVM, which none of the monitor's networks is: it has no effect`,
		}},
		{sampleABI, `null`, []string{`warning: addresses: holds no contract_spec: …`}},
		{`[{"address": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "contract_spec": ` + sampleABI + `}]`, `[]`, []string{
			`warning: addresses: is empty: on EVM networks the monitor never matches`,
		}},
		{`"transfer(address,uint256)"`, `"transfer"`, []string{`match_conditions.functions[0].signature: found "transfer", expected a name and a parameter list…`}},
	} {
		m := mustMonitor(t, edit(t, plainMonitor, tc.from, tc.to))
		wantProblems(t, CheckReferences(m, refs), tc.want...)
	}

	fsys := plainFolder()
	delete(fsys, "networks/ethereum_mainnet.json")
	_, ps := ReadFolder(fsys, WithTenantFolder(), WithSharedNetworks(shared))
	wantProblems(t, ps)
	if _, ps = ReadFolder(fsys, WithTenantFolder()); ps.Err() == nil {
		t.Error("without shared networks the reference leads nowhere")
	}
}

// The recommended max_past_blocks of an uneven schedule depends on the moment.
func TestWithTime(t *testing.T) {
	doc := edit(t, edit(t, withoutRecovery, `0 */1 * * * *`, `0 0 0 1 JAN,DEC *`), `"max_past_blocks": 18`, `"max_past_blocks": 300000`)
	_, ps := ParseNetwork([]byte(doc), WithTime(at("Wed 2024-11-20 00:00:00"))) // a month between the firings
	wantProblems(t, ps)
	_, ps = ParseNetwork([]byte(doc), WithTime(at("Sun 2024-12-15 00:00:00"))) // eleven months
	wantProblems(t, ps, `warning: max_past_blocks: found 300000, which is less than the recommended 2404813 …`)
}

func TestShorten(t *testing.T) {
	if got := shorten(strings.Repeat("é", 31)); got != strings.Repeat("é", 30)+"…" {
		t.Errorf("got %s", got)
	}
	if got := shorten("x" + strings.Repeat("é", 31)); got != "x"+strings.Repeat("é", 29)+"…" {
		t.Errorf("a character was cut: %s", got)
	}
}
