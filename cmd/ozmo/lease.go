package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newLease(*app) *cobra.Command {
	cmd := group("lease", "See and move the right to watch a network",
		"  ozmo lease list\n  ozmo lease move ethereum_mainnet b\n  ozmo lease unpin ethereum_mainnet",
		newLeaseList(), newLeaseMove(), newLeaseUnpin())
	cmd.Long = `Each network is watched by one node at a time: the holder of its lease. The leader
spreads the networks over the nodes and gives those of a node that fails to
others at once.`
	return cmd
}

func newLeaseList() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show who watches which network",
		Example: `  ozmo lease list
  ozmo lease list --output json | jq '.[] | {key, holder, epoch}'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := node.status(cmd.Context())
		if err != nil {
			return err
		}
		fillLists(&s)
		if output.value == "json" {
			if err := writeJSON(cmd.OutOrStdout(), s.Networks); err != nil {
				return err
			}
		} else {
			writeTable(cmd.OutOrStdout(), networkTable(s.Networks, time.Now()))
		}
		return standing(&s)
	}
	return cmd
}

func newLeaseMove() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:   "move NETWORK NODE",
		Short: "Have a node watch a network",
		Long: `Have a node watch a network, from now on. It stays with that node, as long as the
node lives and is not drained: it is pinned. Blocks are announced without a gap.`,
		Example: "  ozmo lease move ethereum_mainnet b",
		Args:    exactArgs("NETWORK", "NODE"),
	}
	node.register(cmd)
	completeArgs(cmd, &node, networkKeys, nodeNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m := api.LeaseMove{Network: args[0], To: args[1]}
		if err := tell(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error { return c.MoveLease(ctx, m) }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "node %s watches %s from now on, and is pinned to it\n", m.To, m.Network)
		return err
	}
	return cmd
}

func newLeaseUnpin() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:   "unpin NETWORK",
		Short: "Let a network move again that was pinned to a node",
		Long: `Let a network move again that ` + "`ozmo lease move`" + ` has pinned to a node. It stays where
it is until the leader spreads the networks anew.`,
		Example: "  ozmo lease unpin ethereum_mainnet",
		Args:    exactArgs("NETWORK"),
	}
	node.register(cmd)
	completeArgs(cmd, &node, networkKeys)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m := api.LeaseMove{Network: args[0]}
		if err := tell(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error { return c.MoveLease(ctx, m) }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s may move again\n", m.Network)
		return err
	}
	return cmd
}
