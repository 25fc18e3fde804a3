package v1

import (
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Expressions are shown as people write them, wherever documents are: < and > are no
// danger outside of a page.
func TestDocumentsAreReadable(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	owner := r.key("acme", fsm.RoleOwner)
	r.do(owner, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc("A & B", "net", "value > 2 AND value < 7", "hook")).want(200)
	for path, want := range map[string]string{
		"/monitors/mon":  `"value > 2 AND value < 7"`,
		"/configuration": `"value > 2 AND value < 7"`,
		"/versions/6":    `"value > 2 AND value < 7"`,
		"/audit":         `\"value > 2 AND value < 7\"`, // a text that holds JSON
		"/monitors":      `"A & B"`,
		"/monitors/a>b":  "there is no such thing",
	} {
		got := r.do(owner, "GET", "/v1/tenants/acme"+path, "")
		if !strings.Contains(got.body, want) || strings.Contains(got.body, `\u00`) {
			t.Errorf("%s: no %s in %s", path, want, got.body)
		}
	}

	// What is shown may be sent back, and is the same.
	doc := r.do(owner, "GET", "/v1/tenants/acme/monitors/mon", "").want(200)
	r.do(owner, "PUT", "/v1/tenants/acme/monitors/mon", doc.body).want(200, `"changed":false`)
}
