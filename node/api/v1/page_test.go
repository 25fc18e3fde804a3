package v1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// What a query has that an operation does not know, or cannot read, is refused by
// every one: a misspelt parameter would be as if it was not given.
func TestQueriesAreRead(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.backtest("acme")
	operator := r.key("", fsm.RoleOperator)
	before, lists := r.View(), 0
	for i := range operations {
		o := &operations[i]
		path, body := request(o, "acme")
		with := "?"
		if strings.Contains(path, "?") {
			with = "&"
		}
		for query, texts := range map[string][]string{
			"limt=5":      {`"location":"query.limt"`, "unknown query parameter"},
			"index=%%%":   {`"location":"query.index"`, "%25"},
			"%zz=1":       {`"location":"query.a parameter"`},
			"index=1;a=b": {`"location":"query.index"`, "semicolon"},
		} {
			got := r.do(operator, o.method, path+with+query, body)
			if got.status != 422 {
				t.Errorf("%s with %s: %d %s", o.id, query, got.status, got.body)
				continue
			}
			got.want(422, texts...)
		}
		if strings.HasSuffix(o.id, ".list") && strings.Contains(r.listed(o), `"cursor"`) {
			lists++
			other := cursor("tenant.list", "acme")
			if o.id == "tenant.list" {
				other = cursor("monitor.list", "acme")
			}
			for _, text := range []string{"%25%25%25", "%%%", "YWJj", other, cursor(o.id, ""), cursor(o.id, "\xff")} {
				got := r.do(operator, o.method, path+with+"cursor="+text, "")
				if got.status != 422 || !strings.Contains(got.body, `"location":"query.cursor"`) {
					t.Errorf("%s with cursor %s: %d %s", o.id, text, got.status, got.body)
				}
			}
		}
	}
	if lists < 15 {
		t.Errorf("%d lists have cursors", lists)
	}
	if r.View() != before {
		t.Error("something was changed")
	}
}

// listed are the parameters of an operation, as the document has them.
func (r *rig) listed(o *operation) string {
	var out strings.Builder
	for _, p := range o.in(r.api.huma.OpenAPI()).Parameters {
		fmt.Fprintf(&out, "%q ", p.Name)
	}
	return out.String()
}
