package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/node/client/files"
)

// bulkSum is what became of all.
type bulkSum struct {
	DryRun    bool             `json:"dry_run"`
	Changed   int              `json:"changed"`
	Unchanged int              `json:"unchanged"`
	Failed    int              `json:"failed"`
	Tenants   []*appliedTenant `json:"tenants"`
}

func (s *bulkSum) add(r *appliedTenant) {
	s.Tenants = append(s.Tenants, r)
	switch {
	case r.Error != "":
		s.Failed++
	case r.Changed:
		s.Changed++
	default:
		s.Unchanged++
	}
}

// show prints the sum; the tenants themselves have been printed for people.
func (s *bulkSum) show(w io.Writer, format string, jobs int) error {
	if format == "json" {
		slices.SortStableFunc(s.Tenants, func(a, b *appliedTenant) int { return strings.Compare(a.Tenant, b.Tenant) })
		return writeJSON(w, s)
	}
	if jobs < 2 {
		return nil
	}
	verb := "changed"
	if s.DryRun {
		verb = "would change"
	}
	_, err := fmt.Fprintf(w, "%d %s, %d unchanged, %d refused\n", s.Changed, verb, s.Unchanged, s.Failed)
	return err
}

// write prints what became of a tenant, of one among many only if there is something
// to say.
func (r *appliedTenant) write(w io.Writer, many bool) {
	var b strings.Builder
	warnings := untold(r.Warnings, r.told)
	who := "tenant " + r.Tenant
	if r.Shared {
		who = "shared networks"
	}
	switch {
	case r.Error != "":
		fmt.Fprintf(&b, "%s: refused: %s\n", who, strings.ReplaceAll(strings.TrimSpace(r.Error), "\n", "\n  "))
		if r.advice != "" {
			fmt.Fprintf(&b, "  %s\n", r.advice)
		}
	case !r.Changed && many && len(warnings) == 0:
		return
	case !r.Changed:
		fmt.Fprintf(&b, "%s: unchanged, version %d\n", who, r.Version)
	default:
		is := "version"
		if r.DryRun {
			is = "would be version"
		}
		fmt.Fprintf(&b, "%s: %s %d, %s%s\n", who, is, r.Version, counts(r.Changes, r.Unchanged), effectText(!r.DryRun, r.Effect))
		writeDifferences(&b, r.Changes)
		if r.local {
			fmt.Fprintf(&b, "  (checked on this machine alone, since shared networks would change before)\n")
		}
	}
	for _, w := range warnings {
		fmt.Fprintf(&b, "  %s\n", warningText(w))
	}
	_, _ = io.WriteString(w, b.String()) // an end that does not read is no reason to stop half-way
}

func counts(changes []files.Difference, unchanged int) string {
	n := map[string]int{}
	for _, c := range changes {
		n[c.Change]++
	}
	var parts []string
	for _, change := range []string{files.Created, files.Updated, files.Deleted} {
		if n[change] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[change], change))
		}
	}
	if unchanged > 0 {
		parts = append(parts, fmt.Sprintf("%d unchanged", unchanged))
	}
	return strings.Join(parts, ", ")
}

func writeDifferences(b *strings.Builder, changes []files.Difference) {
	const most = 20 // fields of a document
	for _, c := range changes {
		mark := map[string]string{files.Created: "+", files.Updated: "~", files.Deleted: "-"}[c.Change]
		fmt.Fprintf(b, "  %s %s %s\n", mark, c.Kind, clean(c.ID))
		for i, f := range c.Fields {
			if i == most {
				fmt.Fprintf(b, "      … and %d more\n", len(c.Fields)-most)
				break
			}
			switch {
			case f.Before == "" && f.After == "":
				fmt.Fprintf(b, "      %s\n", clean(f.Path))
			case f.Before == "":
				fmt.Fprintf(b, "      %s: %s (new)\n", clean(f.Path), clean(f.After))
			case f.After == "":
				fmt.Fprintf(b, "      %s: %s (gone)\n", clean(f.Path), clean(f.Before))
			default:
				fmt.Fprintf(b, "      %s: %s -> %s\n", clean(f.Path), clean(f.Before), clean(f.After))
			}
		}
	}
}
