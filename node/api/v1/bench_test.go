package v1

import (
	"fmt"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// What a page of monitors, and a monitor, cost on a tenant with 500.
func BenchmarkRead(b *testing.B) {
	r := newRig(b)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleOwner)
	for i := range 500 {
		r.do(key, "PUT", fmt.Sprintf("/v1/tenants/acme/monitors/m%d", i), monitorDoc(fmt.Sprint("monitor ", i), "net", "value > 1", "hook")).want(201)
	}
	for name, path := range map[string]string{"list of 100": "/monitors", "list of 500": "/monitors?limit=500", "get": "/monitors/m7", "tenant": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.do(key, "GET", "/v1/tenants/acme"+path, "").want(200)
			}
		})
	}
}
