package main

import (
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api"
)

// What was left out for a tenant is shown with what to do about it.
func TestCoverageBehind(t *testing.T) {
	rows := []api.CoverageRow{{FromPosition: 1, ToPosition: 9, FromHeight: 101, ToHeight: 109, Status: api.Judged, Version: 3}}
	heights := []api.Heights{{From: 101, To: 109, Reason: "pending"}}
	show := func() (coverage, verification string) {
		var a, b strings.Builder
		if err := showCoverage(&a, api.Coverage{Tenant: "acme", Network: "net", Rows: rows}); err != nil {
			t.Fatal(err)
		}
		if err := showVerification(&b, &api.Verification{Tenant: "acme", Network: "net", NotJudged: heights}); err != nil {
			t.Fatal(err)
		}
		return a.String(), b.String()
	}
	const hint = "ozmo monitor replay"
	if a, b := show(); strings.Contains(a+b, hint) {
		t.Errorf("nothing was left out:\n%s%s", a, b)
	}
	rows = append(rows, api.CoverageRow{FromPosition: 10, ToPosition: 19, FromHeight: 110, ToHeight: 119, Status: api.Behind, Version: 3})
	heights[0].Reason = "behind"
	a, b := show()
	for _, text := range []string{a, b} {
		if !strings.Contains(text, hint) || !strings.Contains(text, "behind") {
			t.Errorf("no word of what was left out:\n%s", text)
		}
	}
}
