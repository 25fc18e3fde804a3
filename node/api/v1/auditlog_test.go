package v1

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// The audit log is asked for some of its entries, and pages lead through all of them
// however few there are.
func TestAuditIsChosenFrom(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	owner := r.key("acme", fsm.RoleOwner)
	start := r.now
	for i := range 20 {
		actor, action := "key:one (ci)", "monitor.put"
		if i%5 == 0 {
			actor, action = "socket", "placement.put"
		}
		entry, err := fsm.NewAudited(fsm.Audit{
			Tenant: "acme", Actor: actor, Action: action, Object: fmt.Sprint("m", i%4), At: start.Add(time.Duration(i) * time.Hour).UnixMilli(),
		}, 0, &fsm.PutSecret{Tenant: "acme", Name: fmt.Sprint("s", i), Sealed: []byte("x"), At: 1})
		if err != nil {
			t.Fatal(err)
		}
		r.must(entry)
	}
	at := func(hours int) string { return start.Add(time.Duration(hours) * time.Hour).Format(time.RFC3339) }
	for query, want := range map[string]int{
		"": 20, "actor=key:one": 16, "actor=socket": 4, "actor=ket": 0, "action=monitor.": 16, "action=placement.put": 4,
		"object=m1": 5, "object=m": 0, "actor=socket&object=m0": 1, "since=" + at(15): 5, "until=" + at(15): 15, "since=" + at(5) + "&until=" + at(7): 2,
	} {
		for _, limit := range []int{1, 3, 4, 100} {
			var got []uint64
			next := ""
			for range 30 {
				var page Page[Entry]
				r.do(owner, "GET", fmt.Sprintf("/v1/tenants/acme/audit?limit=%d&cursor=%s&%s", limit, next, query), "").want(200).decode(&page)
				if len(page.Items) > limit {
					t.Fatalf("%q: %d of %d", query, len(page.Items), limit)
				}
				for _, e := range page.Items {
					got = append(got, e.Index)
				}
				if next = page.Next; next == "" {
					break
				}
			}
			if next != "" || len(got) != want || !slices.IsSortedFunc(got, func(a, b uint64) int { return int(b) - int(a) }) || len(slices.Compact(got)) != want {
				t.Errorf("%q by %d: %v, want %d", query, limit, got, want)
			}
		}
	}
	r.do(owner, "GET", "/v1/tenants/acme/audit?since=yesterday", "").want(422, "query.since")
	if got := r.do(owner, "GET", "/v1/tenants/acme/audit?actor=nobody", "").want(200).body; strings.TrimSpace(got) != `{"items":[]}` {
		t.Error(got)
	}
}

// What is wrong with references does not hide what is wrong with expressions.
func TestAllThatIsWrongIsTold(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	owner := r.key("acme", fsm.RoleOwner)
	r.do(owner, "PUT", "/v1/tenants/acme/networks/net", networkDoc("net", "https://rpc.example.com", 1)).want(201)
	body := strings.Replace(monitorDoc("m", "net", "valu > 1", "nobody"), `["net"]`, `["net","elsewhere"]`, 1)
	r.do(owner, "PUT", "/v1/tenants/acme/monitors/m", body).want(422, "body.networks[1]", "body.triggers[0]", ".expression", "valu")
}
