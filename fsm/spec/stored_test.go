package spec

import (
	"strings"
	"testing"
	"testing/fstest"
)

// A stored secret may stand wherever a secret may, whoever writes the document.
func TestStoredSecrets(t *testing.T) {
	ofTenants := edit(t, sampleTrigger, `{"type": "environment", "value": "OTHER"}`, `"x"`)
	named := func(name string) string {
		return edit(t, ofTenants, `{"type": "plain", "value": "signing-key"}`, `{"type": "Stored", "value": "`+name+`"}`)
	}
	for _, name := range []string{"a", "slack-hook", "Hook_2.prod", strings.Repeat("x", 64), "."} {
		for origin := range map[Origin]bool{OriginFolder: true, OriginTenant: true, OriginState: true} {
			tr, ps := ParseTrigger([]byte(named(name)), WithOrigin(origin))
			if tr == nil || *tr.Webhook.Secret != (Secret{SecretStored, name}) {
				t.Errorf("%q, origin %v: %v", name, origin, ps)
				continue
			}
			roundTrip(t, tr.Webhook.Secret)
		}
	}
	for _, name := range []string{"", "two words", "a/b", strings.Repeat("x", 65), "ключ", "https://hooks.example/the-secret-itself"} {
		_, ps := ParseTrigger([]byte(named(name)))
		if err := ps.Err(); err == nil || !strings.Contains(err.Error(), "is no name of a stored secret") || name != "" && strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, ps)
		}
	}
	// What is stored under the name is not known where documents are read.
	fails := WithResolver(t.Context(), LocalResolver{})
	if tr, ps := ParseTrigger([]byte(named("x")), fails); tr == nil {
		t.Errorf("it was to be resolved: %v", ps)
	}
}

func TestSharedNetworksHaveNoStoredSecrets(t *testing.T) {
	doc := edit(t, sampleNetwork, `"type": "Environment"`, `"type": "stored"`)
	n := mustNetwork(t, doc)
	fsys := fstest.MapFS{
		"networks/" + n.Slug + ".json":                {Data: []byte(doc)},
		"monitors/.keep":                              {},
		"tenants/acme/networks/" + n.Slug + "_2.json": {Data: []byte(edit(t, doc, `"slug": "`+n.Slug+`"`, `"slug": "`+n.Slug+`_2"`))},
		"tenants/acme/monitors/.keep":                 {},
	}
	_, ps := ReadTree(fsys)
	var found []string
	for _, p := range ps.Errors() {
		if strings.Contains(p.Message, "found a stored secret") {
			found = append(found, p.File+" "+p.Path)
		}
	}
	if len(found) != 1 || found[0] != "networks/"+n.Slug+".json rpc_urls[1].url" {
		t.Errorf("problems %v in %v", found, ps)
	}
}
