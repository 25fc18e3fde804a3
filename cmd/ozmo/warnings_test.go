package main

import (
	"fmt"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func TestUntold(t *testing.T) {
	told := func(file, path, message string) spec.Problem {
		return spec.Problem{File: file, Path: path, Message: message, Severity: spec.SeverityWarning}
	}
	sent := func(location, message string) v1.Warning {
		return v1.Warning{Severity: "warning", Location: location, Message: message}
	}
	for _, tt := range []struct {
		name     string
		told     spec.Problems
		warnings []v1.Warning
		want     []v1.Warning
	}{
		{"nothing", nil, nil, nil},
		{
			"a document alone",
			spec.Problems{told("m.json", "paused", "is paused")},
			[]v1.Warning{sent("body.paused", "is paused"), sent("body.paused", "is late")},
			[]v1.Warning{sent("body.paused", "is late")},
		},
		{"the whole document", spec.Problems{told("m.json", "", "is odd")}, []v1.Warning{sent("body", "is odd")}, nil},
		{
			"a trigger by its id",
			spec.Problems{told("t.json", "hook.config.url", "is plain")},
			[]v1.Warning{sent("body.config.url", "is plain")},
			nil,
		},
		{
			"in a configuration",
			spec.Problems{told("m.json", "match_conditions.events[0].signature", "is unknown")},
			[]v1.Warning{sent("body.monitors.m.match_conditions.events[0].signature", "is unknown")},
			nil,
		},
		{
			"the same of two documents, of which one was told",
			spec.Problems{told("a.json", "url", "is plain"), told("a.json", "url", "is plain")},
			[]v1.Warning{sent("body.networks.a.url", "is plain"), sent("body.networks.b.url", "is plain")},
			[]v1.Warning{sent("body.networks.b.url", "is plain")},
		},
		{
			"another place that ends alike",
			spec.Problems{told("a.json", "url", "is plain")},
			[]v1.Warning{sent("body.slack_url", "is plain")},
			[]v1.Warning{sent("body.slack_url", "is plain")},
		},
		{"twice by the server", nil, []v1.Warning{sent("body.a", "x"), sent("body.a", "x")}, []v1.Warning{sent("body.a", "x")}},
	} {
		before := fmt.Sprint(tt.told)
		if got := untold(tt.warnings, tt.told); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if fmt.Sprint(tt.told) != before {
			t.Errorf("%s: what was told is changed", tt.name)
		}
	}
	if got := warningText(sent("body.a.b", "two\nlines")); got != `warning: a.b: two\nlines` {
		t.Error(got)
	}
}
