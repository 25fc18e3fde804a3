package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node"
)

func newRecover(a *app) *cobra.Command {
	var data string
	var peers []string
	var sure confirmation
	cmd := &cobra.Command{
		Use:   "recover --peers NAME,...",
		Short: "Bring a cluster back that has lost the majority of its voters for good",
		Long: `Bring a cluster back that has lost the majority of its voters for good: give the
stopped node of a data directory a Raft group in which only the named nodes vote.

This is the last resort. As long as a lost node may come back, wait for it:
nothing is lost meanwhile, and nothing is sent. Otherwise:

  1. On each node that remains, save what it has with ` + "`ozmo backup --stale`" + `,
     and stop ozmo.
  2. Run this on each of them, with the same list. Where one has a higher last
     index in its log than the others, run it there alone, and start the others
     with empty data directories, to join again.
  3. Start them. Remove the lost nodes with ` + "`ozmo node remove`" + `.

What only the lost nodes had is gone. What this node had and no majority has
confirmed counts from now on. What was being delivered may be sent twice, with
the same key. A lost node that turns up later must never be started with its old
data directory.

A peer is a node's name; where its address has changed, NAME=HOST:PORT; where
several servers have the name, NAME@INSTANCE.`,
		Example: `  ozmo recover --data /var/lib/ozmo --peers a
  ozmo recover --data /var/lib/ozmo --peers a,b=10.0.0.7:7000 --yes`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", defaultDataDir(), "data directory of the stopped node")
	f.StringSliceVar(&peers, "peers", nil, "`LIST` of the nodes that vote from now on, like a,b or a,b=HOST:PORT")
	sure.register(cmd)
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(peers) == 0 {
			return usagef("--peers is needed: the nodes that vote from now on, this one among them")
		}
		if err := sure.check(cmd, cmd.InOrStdin()); err != nil {
			return err
		}
		log := cmd.ErrOrStderr()
		plan, err := node.PlanRecovery(data, peers, a.log)
		if len(plan.Before) > 0 {
			fmt.Fprintf(log, "\nThe last configuration that node %s knows:\n\n", plan.Node)
			writeTable(log, groupTable(plan.Before, nil))
		}
		if err != nil {
			return err
		}
		fmt.Fprint(log, "\nFrom now on:\n\n")
		writeTable(log, groupTable(plan.Before, plan.After))
		explainRecovery(log, &plan)
		if err := sure.ask(cmd, "Recover?"); err != nil {
			return err
		}
		done, err := node.Recover(data, peers, a.log)
		if err != nil {
			return err
		}
		if output.value == "json" {
			fill(&done.Lost)
			return writeJSON(cmd.OutOrStdout(), done)
		}
		return writeRecovered(cmd.OutOrStdout(), &done)
	}
	return cmd
}

// groupTable lists servers; with after, what becomes of them.
func groupTable(before, after []node.GroupServer) table.Writer {
	t := newTable("SERVER", "ADDRESS", "VOTES")
	for _, s := range before {
		votes := yesText(s.Voter)
		if after != nil {
			i := slices.IndexFunc(after, func(o node.GroupServer) bool { return o.ID == s.ID })
			if i < 0 {
				votes = "LEFT OUT"
			} else {
				s, votes = after[i], "yes"
			}
		}
		t.AppendRow(table.Row{s.ID, s.Address, votes})
	}
	return t
}

func explainRecovery(w io.Writer, plan *node.RecoverReport) {
	fmt.Fprintln(w)
	if len(plan.Lost) > 0 {
		fmt.Fprintf(w, "What only %s had is gone for good; none of them may ever be started again with its data directory.\n", serverNames(plan.Lost))
	}
	fmt.Fprintln(w, "What this node had and no majority has confirmed counts from now on.")
}

func serverNames(servers []node.GroupServer) string {
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = s.ID
	}
	return strings.Join(names, ", ")
}

func writeRecovered(w io.Writer, r *node.RecoverReport) error {
	fmt.Fprintf(w, "node %s is recovered: %s of %d vote from now on: %s\n", r.Node, count(len(r.After), "server"), len(r.Before), serverNames(r.After))
	for _, s := range r.After {
		if s.ID != r.Server {
			fmt.Fprintf(w, "before you start it: recover %s with the same --peers, or empty its data directory\n", s.ID)
		}
	}
	fmt.Fprintf(w, "then start ozmo")
	var gone []string
	for _, s := range r.Lost {
		name, _, _ := strings.Cut(s.ID, "@")
		stays := slices.ContainsFunc(r.After, func(o node.GroupServer) bool { return strings.HasPrefix(o.ID, name+"@") })
		if !stays && !slices.Contains(gone, name) {
			gone = append(gone, name)
		}
	}
	for i, name := range gone {
		if i == 0 {
			fmt.Fprint(w, ", and forget the lost:")
		}
		fmt.Fprintf(w, "\n  ozmo node remove %s", name)
	}
	_, err := fmt.Fprintln(w)
	return err
}
