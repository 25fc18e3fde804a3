package main

import (
	"context"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/client"
)

func newNode(*app) *cobra.Command {
	cmd := group("node", "See, add, drain and remove nodes",
		"  ozmo node list\n  ozmo node join --token TOKEN HOST:7000\n  ozmo node drain c",
		newNodeList(), newNodeDrain(), newNodeUndrain(), newNodeRemove(), newNodeJoin(),
		group("token", "Make tokens with which nodes join", "  ozmo node token create --ttl 1h", newTokenCreate()))
	cmd.Long = `All nodes of a cluster are alike. A new one joins with a token; one that is to be
away for a while is drained first, so that nobody waits for its work; one that
is gone for good, or never comes back, is removed.`
	return cmd
}

func newNodeList() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the nodes",
		Long: `Show the nodes as the leader knows them. States:

  ready     does its work
  joining   is registered and has not caught up yet
  draining  gives its work away, or has, and takes none
  lost      has no contact with the leader
  down      is known to be dead
  left      stopped orderly`,
		Example: `  ozmo node list
  ozmo node list --output json | jq -r '.[] | select(.state != "ready") | .name'`,
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
			err = writeJSON(cmd.OutOrStdout(), s.Nodes)
		} else {
			t := newTable("NODE", "STATE", "RAFT", "SERVER", "ADDRESS", "VERSION", "ROLES", "WEIGHT", "TENANTS", "LEASES", "LOAD", "CONTACT", "BEHIND")
			for _, n := range s.Nodes {
				row := nodeRow(n)
				weight := fmt.Sprintf("%d%%", n.Weight)
				row = append(append(append(append(table.Row{}, row[:3]...), n.Server), row[3:6]...), append(table.Row{weight}, row[6:]...)...)
				t.AppendRow(row)
			}
			writeTable(cmd.OutOrStdout(), t)
		}
		if err != nil {
			return err
		}
		return standing(&s)
	}
	return cmd
}

func newNodeUndrain() *cobra.Command {
	var node reach
	cmd := &cobra.Command{
		Use:     "undrain NODE",
		Short:   "Let a drained node take work again",
		Long:    "Let a drained node take work again. Tenants and networks come back to it as the\ncluster is rebalanced.",
		Example: "  ozmo node undrain c",
		Args:    exactArgs("NODE"),
	}
	node.register(cmd)
	completeArgs(cmd, &node, nodeNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := tell(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error { return c.DrainNode(ctx, args[0], false) })
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "node %s takes work again\n", args[0])
		return err
	}
	return cmd
}
