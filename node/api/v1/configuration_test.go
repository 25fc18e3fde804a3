package v1

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// noDocuments is a configuration without any.
const noDocuments = `{"networks":{},"monitors":{},"triggers":{},"scripts":{}}`

// bundleDoc is a configuration, its members given as "monitors/id", document; an
// empty one as "monitors/" and anything.
func bundleDoc(docs ...string) string {
	all := map[string]map[string]json.RawMessage{}
	for i := 0; i < len(docs); i += 2 {
		member, id, _ := strings.Cut(docs[i], "/")
		if all[member] == nil {
			all[member] = map[string]json.RawMessage{}
		}
		if id != "" {
			all[member][id] = json.RawMessage(docs[i+1])
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func conditionDoc(name, network, script, language string) string {
	return strings.Replace(monitorDoc(name, network, "", "hook"), `"trigger_conditions":[]`,
		fmt.Sprintf(`"trigger_conditions":[{"script_path":%q,"language":%q,"timeout_ms":1000,"arguments":[]}]`, script, language), 1)
}

func changesOf(c Configured) string {
	var out []string
	for _, one := range c.Changes {
		out = append(out, one.Kind+" "+one.ID+" "+one.Change)
	}
	return strings.Join(out, ", ")
}

const configurationPath = "/v1/tenants/acme/configuration"

func TestConfigurationIsPutWhole(t *testing.T) {
	r := newRig(t)
	operator := r.key("", fsm.RoleOperator)
	body := bundleDoc("networks/net", networkDoc("net", "https://acme.example/rpc-key", 1), "triggers/hook", triggerDoc("h", "https://acme.example/hook-key"),
		"monitors/a", monitorDoc("a", "net", "", "hook"), "monitors/b", conditionDoc("b", "net", "./config/scripts/f.py", "Python"),
		"scripts/scripts/f.py", scriptDoc("Python", "print('true')"))

	r.do(operator, "PUT", configurationPath, body).want(404)
	r.do(operator, "PUT", "/v1/tenants/Bad%20Name/configuration?create=true", body).want(422, "path.tenant")
	before := r.View()
	var c Configured
	r.do(operator, "PUT", configurationPath+"?create=true&dry_run=true", body).want(200).decode(&c)
	if r.View() != before || !c.DryRun || !c.Changed || c.Version != 1 || len(c.Changes) != 5 {
		t.Fatalf("%+v", c)
	}
	got := r.do(operator, "PUT", configurationPath+"?create=true", body).want(201).decode(&c)
	if want := "network net created, monitor a created, monitor b created, trigger hook created, script scripts/f.py created"; changesOf(c) != want || c.Version != 1 || !c.Changed {
		t.Fatalf("%s", got.body)
	}
	if len(c.Effect) != 1 || c.Effect[0].Network != "acme/net" || len(c.Warnings) != 2 || c.Warnings[0].Location != "body.monitors.b.trigger_conditions" {
		t.Fatalf("%s", got.body)
	}
	key := r.key("acme", fsm.RoleAdmin)
	shown := r.do(key, "GET", configurationPath, "").want(200, `"version":1`, `"name":"a","networks":["net"]`, `print('true')`)
	for _, secret := range []string{"rpc-key", "hook-key", "token-of"} {
		if strings.Contains(shown.body, secret) {
			t.Errorf("%q is shown: %s", secret, shown.body)
		}
	}
	if tag := shown.header.Get("ETag"); tag == "" || tag != got.header.Get("ETag") {
		t.Errorf("tags %s and %s", tag, got.header.Get("ETag"))
	}
	r.do(key, "GET", configurationPath, "", "If-None-Match: "+shown.header.Get("ETag")).want(304)

	t.Run("what is shown comes back", func(t *testing.T) {
		r.t = t
		before := r.View()
		var c Configured
		r.do(key, "PUT", configurationPath, shown.body).want(200).decode(&c)
		if c.Changed || c.Version != 1 || len(c.Changes) != 0 || c.Unchanged != 5 || r.View() != before {
			t.Errorf("%+v", c)
		}
		var all Configuration
		shown.decode(&all)
		one := r.do(key, "GET", "/v1/tenants/acme/triggers/hook", "").want(200)
		if string(all.Triggers["hook"]) != strings.TrimSpace(one.body) {
			t.Errorf("%s in the whole, %s alone", all.Triggers["hook"], one.body)
		}
	})
	t.Run("merge and replace", func(t *testing.T) {
		r.t = t
		start := r.snapshot()
		var c Configured
		r.do(key, "PUT", configurationPath+"?mode=merge", bundleDoc("monitors/a", monitorDoc("other", "net", "", "hook"), "monitors/c", monitorDoc("c", "net", "", "hook"))).want(200).decode(&c)
		if changesOf(c) != "monitor a updated, monitor c created" || c.Unchanged != 4 || c.Version != 2 {
			t.Errorf("%+v", c)
		}
		// A network that changes reaches the monitors that stay.
		deeper := strings.Replace(networkDoc("net", "https://x.example/k", 1), `"confirmation_blocks":2`, `"confirmation_blocks":7`, 1)
		r.do(key, "PUT", configurationPath+"?mode=merge", bundleDoc("networks/net", deeper)).want(200).decode(&c)
		tenant, _ := r.View().Tenant("acme")
		for _, id := range []string{"a", "b", "c"} {
			if d, _ := tenant.Current.Manifest.Find(fsm.DocMonitor, id); len(d.Watches) != 1 || d.Watches[0].Depth != 7 {
				t.Errorf("monitor %s watches %+v", id, d.Watches)
			}
		}
		if changesOf(c) != "network net updated" {
			t.Errorf("%+v", c)
		}
		r.do(key, "PUT", configurationPath, noDocuments).want(200).decode(&c)
		if len(c.Changes) != 6 || c.Unchanged != 0 || changesOf(c) != "network net deleted, monitor a deleted, monitor b deleted, monitor c deleted, trigger hook deleted, script scripts/f.py deleted" {
			t.Errorf("%+v", c)
		}
		owner := r.key("acme", fsm.RoleOwner)
		r.do(owner, "GET", "/v1/tenants/acme/audit", "").want(200, `"action":"configuration.put"`, "1 networks deleted, 3 monitors deleted")
		r.restore(start)
	})
	t.Run("conditions", func(t *testing.T) {
		r.t = t
		r.do(key, "PUT", configurationPath, `{}`, `If-Match: "00"`).want(412)
		r.do(key, "PUT", configurationPath+"?dry_run=true", `{}`, `If-Match: "00"`).want(412)
		r.do(key, "PUT", configurationPath, `{}`, "If-None-Match: *").want(412)
		r.do(key, "PUT", configurationPath+"?mode=other", `{}`).want(422, "query.mode")
		r.do(key, "PUT", configurationPath, ``).want(400)
		r.do(key, "PUT", configurationPath, `[]`).want(422)
		r.do(key, "PUT", configurationPath, `{"monitor":{}}`).want(422, "body.monitor")
		r.do(key, "PUT", configurationPath, `{"monitors":{"a":{},"a":{}}}`).want(422, "given twice")
	})
}

// All that is wrong is told at once, and nothing is changed.
func TestConfigurationProblems(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.must(&fsm.SetQuota{Tenant: "acme", Quota: fsm.Quota{Monitors: 4, TriggersPerMonitor: 1}})
	key := r.key("acme", fsm.RoleAdmin)
	before := r.View()
	body := bundleDoc(
		"networks/net", networkDoc("net", "https://x.example/k", 9),
		"networks/bad", `{"slug":"bad"}`,
		"networks/other", networkDoc("another", "https://x.example/k", 1),
		"monitors/a", monitorDoc("a", "bad", "", "hook"),
		"monitors/b.c", monitorDoc("b", "nett", "", "hok"),
		"monitors/d", monitorDoc("d", "net", "valu > 1", "hook", "hook"),
		"monitors/e", conditionDoc("e", "net", "scripts/gone.py", "Python"),
		"monitors/f", conditionDoc("f", "net", "run.js", "JavaScript"),
		"triggers/hook", triggerDoc("h", "https://x.example/h"),
		"triggers/kept", `{"name":"k","trigger_type":"webhook","config":{"url":{"type":"sealed","value":"00"},"payload_mode":"raw"}}`,
		"triggers/script", `{"name":"x","trigger_type":"script","config":{"language":"Bash","script_path":"no.sh","arguments":[],"timeout_ms":1000}}`,
		"scripts/run.js", scriptDoc("Python", "x"), "scripts/./x.py", scriptDoc("Python", "x"), "scripts/y.py", scriptDoc("Python", strings.Repeat("y", 64<<10+1)),
	)
	got := r.do(key, "PUT", configurationPath, body).want(422,
		`"location":"body.networks.bad.network_type"`, `"location":"body.networks.other.slug"`,
		`"location":"body.monitors[\"b.c\"].networks[0]"`, `did you mean \"net\"`, `"location":"body.monitors[\"b.c\"].triggers[0]"`, `did you mean \"hook\"`,
		`"location":"body.monitors.d.match_conditions.events[0].expression"`, `"location":"body.monitors.d.triggers"`,
		`"location":"body.monitors.e.trigger_conditions[0].script_path"`,
		`"location":"body.triggers.kept"`, `"location":"body.triggers.script.config.script_path"`,
		`"location":"body.scripts[\"run.js\"]"`, `"location":"body.scripts[\"./x.py\"]"`, `"location":"body.scripts[\"y.py\"].content"`,
		"chain_id cannot change from 1 to 9", "5 monitors, allowed are 4",
	)
	if strings.Contains(got.body, "monitors.a") {
		t.Errorf("what is wrong with a network is told again of its monitors: %s", got.body)
	}
	if r.View() != before {
		t.Error("something was proposed")
	}
	// What the state alone refuses is a conflict.
	full := []string{"triggers/", "", "scripts/", "", "networks/net", networkDoc("net", "https://x.example/k", 1)}
	for i := range 5 {
		full = append(full, fmt.Sprint("monitors/", i), monitorDoc("m", "net", ""))
	}
	for _, query := range []string{"", "?dry_run=true"} {
		r.do(key, "PUT", configurationPath+query, bundleDoc(full...)).want(409, "5 monitors, allowed are 4")
		r.do(key, "PUT", configurationPath+query, bundleDoc("monitors/", "", "triggers/", "", "scripts/", "", "networks/net", networkDoc("net", "https://x.example/k", 9))).want(409, "chain_id cannot change from 1 to 9")
	}
	large := strings.Repeat("x", maxBody) // more than a document alone may have
	r.do(key, "PUT", configurationPath, `{"`+large+`":1}`).want(422)
	if r.View() != before {
		t.Error("something was proposed")
	}
}

// What a body says nothing of is not deleted without a word.
func TestConfigurationForgets(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	operator := r.key("", fsm.RoleOperator)
	before := r.View()
	put := func(path, body string, status int, texts ...string) answer {
		t.Helper()
		return r.do(operator, "PUT", path, body).want(status, texts...)
	}
	for _, query := range []string{"", "?dry_run=true"} {
		for _, body := range []string{`{}`, `{"version":7}`, `{"networks":null,"monitors":null}`} {
			put(configurationPath+query, body, 422, `"location":"body"`, `{\"networks\":{},\"monitors\":{},\"triggers\":{},\"scripts\":{}} deletes everything`)
		}
		got := put(configurationPath+query, `{"networks":{},"monitors":{}}`, 422, `"location":"body.triggers"`, `give {\"scripts\":{}} to delete them`)
		if strings.Contains(got.body, "body.monitors") {
			t.Errorf("what is given is said to be left out: %s", got.body)
		}
	}
	put("/v1/tenants/bolt/configuration?create=true", `{}`, 422)
	put(configurationPath+"?mode=merge", `{}`, 200, `"changed":false`)
	if r.View() != before {
		t.Error("something was changed")
	}
	// Where there is none of a kind, nothing need be said of it.
	put("/v1/tenants/bolt/configuration?create=true", bundleDoc("triggers/hook", triggerDoc("h", "https://x.example/h")), 201)
	put("/v1/tenants/bolt/configuration", bundleDoc("triggers/other", triggerDoc("h", "https://x.example/h")), 200, `"created"`, `"deleted"`)
	put(configurationPath, noDocuments, 200, `"changed":true`)
}

func TestSharedConfiguration(t *testing.T) {
	r := newRig(t)
	operator := r.key("", fsm.RoleOperator)
	put := func(query, body string, status int, texts ...string) (c Configured) {
		t.Helper()
		got := r.do(operator, "PUT", "/v1/configuration"+query, body).want(status, texts...)
		if status < 300 {
			got.decode(&c)
		}
		return c
	}
	r.do(operator, "GET", "/v1/configuration", "").want(200, `"networks":{}`)
	two := bundleDoc("networks/one", networkDoc("one", "https://x.example/secret", 1), "networks/two", networkDoc("two", "https://x.example/secret", 2))
	if c := put("", two, 200); changesOf(c) != "network one created, network two created" || c.Version != 1 {
		t.Errorf("%+v", c)
	}
	shown := r.do(operator, "GET", "/v1/configuration", "").want(200, `"one":{`, `"two":{`)
	if strings.Contains(shown.body, "secret\"") || strings.Contains(shown.body, "monitors") {
		t.Errorf("%s", shown.body)
	}
	if c := put("", shown.body, 200); c.Changed {
		t.Errorf("%+v", c)
	}
	r.tenant("acme")
	r.do(operator, "PUT", "/v1/tenants/acme/monitors/m", monitorDoc("m", "one", "")).want(201)
	put("", `{}`, 422, `{\"networks\":{}} deletes everything`)
	put("", `{"networks":{}}`, 409, `tenant \"acme\"`, `\"one\"`)
	put("", bundleDoc("monitors/m", monitorDoc("m", "one", "")), 422, "only networks are shared")
	if c := put("", bundleDoc("networks/one", networkDoc("one", "https://x.example/secret", 1)), 200); changesOf(c) != "network two deleted" {
		t.Errorf("%+v", c)
	}
}

// Two that change the same configuration at once do not undo one another: the later
// is checked again against what the earlier has left.
func TestConfigurationMeanwhile(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	tag := r.do(key, "GET", configurationPath, "").header.Get("ETag")
	meanwhile := func() {
		tenant, _ := r.View().Tenant("acme")
		m := fsm.Manifest{Docs: slices.DeleteFunc(slices.Clone(tenant.Current.Manifest.Docs), func(d fsm.Doc) bool { return d.Kind != fsm.DocNetwork })}
		if _, err := r.apply(&fsm.SetTenantVersion{Tenant: "acme", Expect: tenant.Current.Number, Manifest: m, Source: fsm.SourceAPI}); err != nil {
			t.Error(err)
		}
	}
	merged := bundleDoc("monitors/x", monitorDoc("x", "net", "", "hook"))
	r.before = meanwhile
	r.do(key, "PUT", configurationPath+"?mode=merge", merged).want(422, "body.monitors.x.triggers[0]")
	r.do(key, "PUT", configurationPath+"?mode=merge", merged, "If-Match: "+tag).want(412)
}

func TestStoredScripts(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	path := "/v1/tenants/acme/scripts/"
	put := func(id, doc string, status int, texts ...string) answer {
		t.Helper()
		return r.do(key, "PUT", path+id, doc).want(status, texts...)
	}
	put("scripts%2Ff.py", scriptDoc("Python", "print('true')"), 201, `"id":"scripts/f.py"`, "kept but not run")
	r.do(key, "GET", path+"scripts%2Ff.py", "").want(200, `{"language":"Python","content":"print('true')"}`)
	r.do(key, "GET", "/v1/tenants/acme/scripts", "").want(200, `"id":"run.py"`, `"id":"scripts/f.py"`)
	r.do(r.key("acme", fsm.RoleMember), "PUT", path+"f.py", scriptDoc("Python", "x")).want(403)
	put(".%2Ff.py", scriptDoc("Python", "x"), 422, `expected \"f.py\"`)
	put("%2Ff.py", scriptDoc("Python", "x"), 422, "relative")
	put("..%2Ff.py", scriptDoc("Python", "x"), 422, "relative")
	put("f.py", scriptDoc("Bash", "x"), 422, "ends in .sh")
	put("f.py", scriptDoc("Perl", "x"), 422, "body.language")
	put("f.py", scriptDoc("Python", ""), 422, "body.content")
	put("f.py", scriptDoc("Python", strings.Repeat("x", 64<<10+1)), 422, "65537 bytes, expected at most 65536")
	put("f.py", scriptDoc("Python", strings.Repeat("x", 64<<10)), 201)

	r.do(key, "PUT", "/v1/tenants/acme/monitors/m", conditionDoc("m", "net", "scripts/gone.py", "Python")).want(422, "body.trigger_conditions[0].script_path", "not stored")
	r.do(key, "PUT", "/v1/tenants/acme/monitors/m", conditionDoc("m", "net", "scripts/f.py", "Bash")).want(422, "body.trigger_conditions[0].script_path")
	r.do(key, "PUT", "/v1/tenants/acme/monitors/m", conditionDoc("m", "net", "./config/scripts/f.py", "Python")).want(201)
	trigger := `{"name":"s","trigger_type":"script","config":{"language":"Python","script_path":"scripts/f.py","arguments":[],"timeout_ms":1000}}`
	r.do(key, "PUT", "/v1/tenants/acme/triggers/s", trigger).want(201)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/s", strings.Replace(trigger, "f.py", "g.py", 1)).want(422, "body.config.script_path", `did you mean \"scripts/f.py\"`)
	r.do(key, "DELETE", path+"scripts%2Ff.py", "").want(409, `monitor \"m\", trigger \"s\"`)
	r.do(key, "DELETE", path+"f.py", "").want(200)
	r.do(key, "DELETE", path+"f.py", "").want(404)
	r.do(key, "DELETE", "/v1/tenants/acme/monitors/m", "").want(200)
	r.do(key, "DELETE", "/v1/tenants/acme/triggers/s", "").want(200)
	r.do(key, "DELETE", path+"scripts%2Ff.py", "").want(200)

	r.must(&fsm.SetQuota{Tenant: "acme", Quota: fsm.Quota{Scripts: 2}})
	put("f.py", scriptDoc("Python", "secret-in-a-script"), 201)
	put("g.py", scriptDoc("Python", "x"), 409, "3 scripts, allowed are 2")
	if log := r.do(r.key("acme", fsm.RoleOwner), "GET", "/v1/tenants/acme/audit", "").want(200, "sha256"); strings.Contains(log.body, "secret-in-a-script") {
		t.Errorf("%s", log.body)
	}
}

// An answer names the position at which its change holds, whatever is announced, and
// changed, while it is on its way, and however long ago that is.
func TestEffectIsWhatWasOrdered(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	r.must(&fsm.RegisterNode{Name: "n1", Server: "n1@1", Roles: fsm.AllRoles})
	lease := r.must(&fsm.GrantLease{Network: "acme/net", Holder: "n1"}).(uint64)
	height, parent := uint64(100), fsm.Hash{}
	announce := func() error {
		ref := fsm.BlockRef{Height: height, Hash: fsm.HashBlob(fmt.Append(nil, height))}
		if _, err := r.apply(&fsm.Announce{Network: "acme/net", Epoch: lease, Entries: []fsm.Entry{{Kind: fsm.Extend, Ref: ref, Parent: parent}}}); err != nil {
			return err
		}
		height, parent = height+1, ref.Hash
		return nil
	}
	if err := announce(); err != nil {
		t.Fatal(err)
	}
	put := func(n int, meanwhile func()) Effect {
		t.Helper()
		r.before = meanwhile
		var w Written
		r.do(key, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc(fmt.Sprint("m", n), "net", "", "hook")).want(200).decode(&w)
		if len(w.Effect) != 1 {
			t.Fatalf("%+v", w)
		}
		return w.Effect[0]
	}
	if got := put(1, nil); got.Position != 2 || got.Height != 101 {
		t.Errorf("%+v, want position 2 at height 101", got)
	}
	// Announced after it was checked, and before it was committed.
	if got := put(2, func() {
		if err := announce(); err != nil {
			t.Error(err)
		}
	}); got.Position != 3 || got.Height != 102 {
		t.Errorf("%+v, want position 3 at height 102", got)
	}
	for range 3 * fsm.MaxWindow {
		if err := announce(); err != nil {
			t.Fatal(err)
		}
	}
	if got := put(2, nil); got.Position != 3 || got.Height != 102 { // it was like that already
		t.Errorf("%+v, want position 3 at height 102", got)
	}
}
