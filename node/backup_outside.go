package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// An archive has what is in the state, and points to what is in PostgreSQL.

// checkOutside refuses an archive whose documents are not where it says, and tells
// which they are. With incomplete it only tells.
func (n *Node) checkOutside(ctx context.Context, restored, current *fsm.View, incomplete bool) ([]api.MissingDocuments, error) {
	pointed := pointedOutside(restored)
	if len(pointed) == 0 {
		return nil, nil
	}
	var blind []string
	for node := range current.Nodes() {
		if !node.Reaches {
			blind = append(blind, node.Name)
		}
	}
	if n.contents == nil && len(blind) == 0 {
		blind = []string{n.opts.Name}
	}
	if len(blind) > 0 {
		return nil, fmt.Errorf("%w: the archive's documents are in PostgreSQL, and nodes %s were not told where that is: start them with --postgres-url",
			api.ErrRefused, strings.Join(blind, ", "))
	}
	missing, err := n.contents.Missing(ctx, pointed)
	if err != nil {
		if incomplete {
			n.log.Warn("whether PostgreSQL has the archive's documents is not known", "error", err)
			return nil, nil
		}
		return nil, fmt.Errorf("whether PostgreSQL has the documents that the archive points to cannot be told; with --incomplete it is restored all the same: %w", err)
	}
	lost := missingBy(restored, missing)
	if inForce(lost) > 0 && !incomplete {
		return nil, fmt.Errorf("%w: the archive points to documents in PostgreSQL that are not there: of %s. The database is older than the archive, or had them deleted since: "+
			"put them there from a dump made after the archive, as docs/postgres.md says. With --incomplete the archive is restored all the same, "+
			"and these tenants, with those that a node judges together with them, wait until the documents are there",
			api.ErrRefused, tellMissing(lost))
	}
	return lost, nil
}

// pointedOutside are the contents that versions have outside of a state.
func pointedOutside(v *fsm.View) (out []fsm.Hash) {
	seen := map[fsm.Hash]bool{}
	for t := range v.Tenants() {
		for _, version := range append(slices.Clone(t.Previous), t.Current) {
			if !version.Manifest.Outside {
				continue
			}
			for _, hash := range version.Manifest.Hashes() {
				if !seen[hash] {
					seen[hash] = true
					out = append(out, hash)
				}
			}
		}
	}
	return out
}

// missingBy counts by tenant which documents want what is missing.
func missingBy(v *fsm.View, missing []fsm.Hash) (out []api.MissingDocuments) {
	if len(missing) == 0 {
		return nil
	}
	gone := make(map[fsm.Hash]bool, len(missing))
	for _, hash := range missing {
		gone[hash] = true
	}
	count := func(m *fsm.Manifest) (n int) {
		if !m.Outside {
			return 0
		}
		for _, d := range m.Docs {
			if gone[d.Hash] || slices.ContainsFunc(d.Refs, func(h fsm.Hash) bool { return gone[h] }) {
				n++
			}
		}
		return n
	}
	for t := range v.Tenants() {
		of := api.MissingDocuments{Tenant: t.ID, InForce: count(t.Current.Manifest)}
		for _, version := range t.Previous {
			of.Earlier += count(version.Manifest)
		}
		if of.InForce+of.Earlier > 0 {
			out = append(out, of)
		}
	}
	return out
}

func inForce(list []api.MissingDocuments) (n int) {
	for _, m := range list {
		n += m.InForce
	}
	return n
}

// toldMissing is how many tenants a refusal names.
const toldMissing = 10

func tellMissing(list []api.MissingDocuments) string {
	var names []string
	for _, m := range list {
		if m.InForce > 0 {
			names = append(names, fmt.Sprintf("%s (%d)", m.Tenant, m.InForce))
		}
	}
	text := strings.Join(names[:min(len(names), toldMissing)], ", ")
	if more := len(names) - toldMissing; more > 0 {
		text += fmt.Sprintf(" and %d more tenants", more)
	}
	return text
}
