package files

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Import says what an import may do.
type Import struct {
	Replace   bool // documents that the tenant has, by those of the same id
	UseShared bool // networks of the folder that are shared ones are left out
}

// Check makes documents ready to be added to what a tenant has, and says what is in
// the way.
func (o Import) Check(d, there *Documents, shared map[string]*spec.Network) (spec.Problems, error) {
	var out spec.Problems
	add := func(kind spec.Kind, id, path string, s spec.Severity, format string, args ...any) {
		out = append(out, spec.Problem{File: d.File(kind, id), Path: path, Severity: s, Message: fmt.Sprintf(format, args...)})
	}
	for _, slug := range sortedKeys(d.Networks) {
		common := shared[slug]
		switch {
		case common == nil:
		case !sameChain(d.Networks[slug], common):
			add(spec.KindNetwork, slug, "slug", spec.SeverityNotice, "%q is also a shared network, of another chain: the tenant's monitors will use the one here", slug)
		case o.UseShared:
			add(spec.KindNetwork, slug, "", spec.SeverityNotice, "the shared network %q is used instead, with its endpoints and confirmation_blocks %d", slug, common.ConfirmationBlocks)
			delete(d.Networks, slug)
		default:
			add(spec.KindNetwork, slug, "", spec.SeverityNotice, "is a shared network too: --use-shared-networks uses that one, with its endpoints, in place of one for this tenant alone")
		}
	}
	differences, err := Compare(d, there, false)
	if err != nil {
		return nil, err
	}
	for _, c := range differences {
		if c.Change != Updated || o.Replace {
			continue
		}
		paths := make([]string, len(c.Fields))
		for i, f := range c.Fields {
			paths[i] = f.Path
		}
		if len(paths) > 3 {
			paths = append(paths[:3], fmt.Sprintf("%d more", len(c.Fields)-3))
		}
		add(spec.Kind(c.Kind), c.ID, "", spec.SeverityError, "the tenant has another %s %q (it differs in %s): rename one, or give --replace", c.Kind, c.ID, strings.Join(paths, ", "))
	}
	for _, id := range sortedKeys(d.Monitors) {
		sameName(there.Monitors, id, d.Monitors[id].Name, func(m *spec.Monitor) string { return m.Name }, func(other string) {
			add(spec.KindMonitor, id, "name", spec.SeverityError, "found %q, which is the name of the tenant's monitor %q: rename one", d.Monitors[id].Name, other)
		})
	}
	for _, id := range sortedKeys(d.Triggers) {
		sameName(there.Triggers, id, d.Triggers[id].Name, func(t *spec.Trigger) string { return t.Name }, func(other string) {
			add(spec.KindTrigger, id, "name", spec.SeverityError, "found %q, which is the name of the tenant's trigger %q: rename one", d.Triggers[id].Name, other)
		})
		if d.Triggers[id].Type == spec.TriggerConsole {
			add(spec.KindTrigger, id, "trigger_type", spec.SeverityError, `"console" is for the operator's folder alone: it writes to the node's own output`)
		}
	}
	for _, slug := range sortedKeys(d.Networks) {
		sameName(there.Networks, slug, d.Networks[slug].Name, func(n *spec.Network) string { return n.Name }, func(other string) {
			add(spec.KindNetwork, slug, "name", spec.SeverityError, "found %q, which is the name of the tenant's network %q: rename one", d.Networks[slug].Name, other)
		})
		if old := there.Networks[slug]; old != nil && !sameChain(d.Networks[slug], old) {
			add(spec.KindNetwork, slug, "chain_id", spec.SeverityError, "the tenant has %q for another chain, which cannot change: give this one a slug of its own", slug)
		}
	}
	slices.SortStableFunc(out, func(a, b spec.Problem) int { return strings.Compare(a.File, b.File) })
	return out, nil
}

// sameName calls found with another document that has the name, as names are
// compared: trimmed, and without capitals.
func sameName[T any](there map[string]T, id, name string, nameOf func(T) string, found func(other string)) {
	for _, other := range sortedKeys(there) {
		if other != id && strings.EqualFold(strings.TrimSpace(nameOf(there[other])), strings.TrimSpace(name)) {
			found(other)
			return
		}
	}
}

func sameChain(a, b *spec.Network) bool {
	return a.Type == b.Type && (a.ChainID == nil || b.ChainID == nil || *a.ChainID == *b.ChainID)
}
