package main

import (
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// Documents are checked on this machine and by the server, which mostly find the same:
// each warning is told once.

// once are problems without those that stand there twice.
func once(problems spec.Problems) spec.Problems {
	var out spec.Problems
	for _, p := range problems {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// untold are the server's warnings but for those that were told of the same place
// before, and without those that stand there twice.
func untold(warnings []v1.Warning, told spec.Problems) []v1.Warning {
	left := once(told)
	var out []v1.Warning
	for i, w := range warnings {
		if slices.Contains(warnings[:i], w) {
			continue
		}
		at := slices.IndexFunc(left, func(p spec.Problem) bool { return p.Message == w.Message && samePlace(w.Location, p.Path) })
		if at < 0 {
			out = append(out, w)
			continue
		}
		left = slices.Delete(left, at, at+1) // another document may have the same
	}
	return out
}

// samePlace compares a place in what was sent with one in a file. Either may begin
// further out: with the document's place in a configuration, or with a trigger's id.
func samePlace(sent, file string) bool {
	sent = strings.TrimPrefix(strings.TrimPrefix(sent, "body"), ".")
	return endsWith(sent, file) || endsWith(file, sent)
}

func endsWith(path, end string) bool {
	rest, ok := strings.CutSuffix(path, end)
	return ok && (rest == "" || end == "" || end[0] == '[' || strings.HasSuffix(rest, "."))
}

func warningText(w v1.Warning) string {
	return clean(spec.Problem{Path: strings.TrimPrefix(strings.TrimPrefix(w.Location, "body"), "."), Message: w.Message, Severity: spec.Severity(w.Severity)}.String())
}
