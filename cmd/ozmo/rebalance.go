package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newRebalance(*app) *cobra.Command {
	var node reach
	var dry bool
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Even the nodes out now",
		Long: `Even the nodes out now, without waiting until the imbalance is above the
threshold, or the interval over. The moves are shown; each is made without a gap
and without a second delivery.

Imbalance is (most - least) / average of what the nodes have to judge.`,
		Example: `  ozmo rebalance --dry-run
  ozmo rebalance
  ozmo rebalance --dry-run --output json | jq '.moves | length'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell what would be moved")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := ask(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (api.Rebalance, error) { return c.Rebalance(ctx, dry) })
		if err != nil {
			return err
		}
		fill(&r.Moves)
		fill(&r.Unplaced)
		fill(&r.Oversized)
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		writeRebalance(cmd.OutOrStdout(), &r)
		return nil
	}
	return cmd
}

func writeRebalance(w io.Writer, r *api.Rebalance) {
	t := newTable("TENANT", "FROM", "TO", "REASON")
	for _, m := range r.Moves {
		t.AppendRow(table.Row{clean(m.Tenant), or(m.From), m.To, m.Reason})
	}
	if t.Length() > 0 {
		writeTable(w, t)
		fmt.Fprintln(w)
	}
	for _, id := range r.Unplaced {
		fmt.Fprintf(w, "tenant %s: no node has room for it\n", clean(id))
	}
	for _, id := range r.Oversized {
		fmt.Fprintf(w, "tenant %s: alone heavier than a node's share\n", clean(id))
	}
	switch {
	case len(r.Moves) == 0:
		fmt.Fprintf(w, "nothing to move; imbalance %.2f\n", r.Before)
	case r.DryRun:
		fmt.Fprintf(w, "%s would bring the imbalance from %.2f to %.2f; nothing was changed\n", count(len(r.Moves), "move"), r.Before, r.After)
	default:
		fmt.Fprintf(w, "%s under way, from an imbalance of %.2f to %.2f; `ozmo status` shows how far\n", count(len(r.Moves), "move"), r.Before, r.After)
	}
}
