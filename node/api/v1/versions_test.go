package v1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestVersions(t *testing.T) {
	r := newRig(t)
	r.furnish("acme") // versions 1 to 5
	owner, path := r.key("acme", fsm.RoleOwner), "/v1/tenants/acme/versions"
	r.do(owner, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc("renamed", "net", "value > 2", "hook")).want(200)

	var list Page[ConfigurationVersion]
	r.do(owner, "GET", path, "").want(200).decode(&list)
	if len(list.Items) != 6 || list.Items[0].Number != 6 || list.Items[5].Number != 1 {
		t.Fatalf("%+v", list.Items)
	}
	top := list.Items[0]
	if top.Monitors != 1 || top.Networks != 1 || top.Triggers != 1 || top.Scripts != 1 || top.Action != "monitor.put" || top.Object != "mon" || !strings.HasPrefix(top.Actor, "key:") || top.Index == 0 || !top.At.Equal(r.now) {
		t.Errorf("%+v", top)
	}
	if tag := r.do(owner, "GET", configurationPath, "").header.Get("ETag"); tag != top.ETag {
		t.Errorf("tag %s, of the configuration %s", top.ETag, tag)
	}
	var first, second Page[ConfigurationVersion]
	r.do(owner, "GET", path+"?limit=4", "").want(200).decode(&first)
	r.do(owner, "GET", path+"?limit=4&cursor="+first.Next, "").want(200).decode(&second)
	if len(first.Items) != 4 || len(second.Items) != 2 || second.Items[0].Number != 2 || second.Next != "" {
		t.Errorf("%+v, %+v", first, second)
	}

	shown := r.do(owner, "GET", path+"/4", "").want(200, `"version":4`, "monitor of acme")
	for _, secret := range []string{"rpc-key", "hook-key"} {
		if strings.Contains(shown.body, secret) {
			t.Errorf("%s", shown.body)
		}
	}
	r.do(owner, "GET", path+"/99", "").want(404)
	r.do(owner, "POST", path+"/99/restore", "").want(404)
	r.do(owner, "GET", path+"/0", "").want(422)
	r.do(owner, "GET", path+"/x", "").want(422)
	r.do(r.key("acme", fsm.RoleMember), "POST", path+"/4/restore", "").want(403)

	tag := r.do(owner, "GET", configurationPath, "").header.Get("ETag")
	r.do(owner, "POST", path+"/5/restore", "", `If-Match: "00"`).want(412)
	before := r.View()
	var c Configured
	r.do(owner, "POST", path+"/5/restore?dry_run=true", "", "If-Match: "+tag).want(200).decode(&c)
	if changesOf(c) != "monitor mon updated" || c.Version != 7 || !c.DryRun || r.View() != before {
		t.Errorf("%+v", c)
	}
	old, _ := r.View().Tenant("acme")
	want, _ := old.Number(5)
	r.do(owner, "POST", path+"/5/restore", "", "If-Match: "+tag).want(200).decode(&c)
	now, _ := r.View().Tenant("acme")
	if c.Version != 7 || now.Current.Number != 7 || fmt.Sprint(now.Current.Manifest.Docs) != fmt.Sprint(want.Manifest.Docs) || len(c.Effect) != 1 {
		t.Errorf("%+v\nin force %+v\nwas %+v", c, now.Current.Manifest, want.Manifest)
	}
	r.do(owner, "POST", path+"/5/restore", "").want(200).decode(&c)
	if c.Changed || c.Version != 7 {
		t.Errorf("%+v", c)
	}
	r.do(owner, "GET", "/v1/tenants/acme/audit", "").want(200, `"action":"version.restore","object":"5","version":7`)
}

// A version is not restored that does not hold together any more.
func TestRestoreOfWhatDoesNotResolve(t *testing.T) {
	r := newRig(t)
	operator := r.key("", fsm.RoleOperator)
	r.do(operator, "PUT", "/v1/networks/main", networkDoc("main", "https://main.example/key", 5)).want(201)
	r.tenant("acme")
	r.do(operator, "PUT", "/v1/tenants/acme/monitors/m", monitorDoc("m", "main", "")).want(201) // version 2
	r.do(operator, "DELETE", "/v1/tenants/acme/monitors/m", "").want(200)
	r.do(operator, "DELETE", "/v1/networks/main", "").want(200)
	before := r.View()
	r.do(operator, "POST", "/v1/tenants/acme/versions/2/restore", "").want(422, "body.monitors.m.networks[0]", "not defined")
	if r.View() != before {
		t.Error("something was proposed")
	}
}
