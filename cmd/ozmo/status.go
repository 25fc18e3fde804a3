package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
)

func newStatus(*app) *cobra.Command {
	var node reach
	var tenants bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster: leader, nodes, networks, how tenants are spread",
		Long: `Show the cluster as its leader knows it, or, where there is none, as the node
that is asked knows it.

  CONTACT   how long ago the node's last heartbeat came; "-": none known
  BEHIND    of a node: log entries it has not applied; of a network: announcements
            that the slowest tenants have not judged
  LOAD      cores spent on judging, as of late
  PROBLEM   work that no node can do as things are: what to mend first
  SEEN      how long ago the newest block was seen, when its node announced it
  FETCHES, POLLS, OTHER
            calls to the network's endpoints, of all nodes since they started

Exit code 0 only if the node belongs to a cluster and the cluster has a leader.`,
		Example: `  ozmo status
  ozmo status --tenants
  ozmo status --output json | jq '.networks[] | {key, holder, behind: (.position - .judged)}'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	cmd.Flags().BoolVar(&tenants, "tenants", false, "list the tenants too")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := node.status(cmd.Context())
		if err != nil {
			return err
		}
		fillLists(&s)
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), s)
		} else {
			writeStatus(cmd.OutOrStdout(), &s, time.Now(), tenants)
		}
		if err != nil {
			return err
		}
		return standing(&s)
	}
	return cmd
}

// standing is nil if the cluster can decide.
func standing(s *api.Status) error {
	switch {
	case s.Cluster == "":
		return fmt.Errorf("node %q belongs to no cluster yet", s.Node)
	case s.Removed:
		return fmt.Errorf("node %q was removed from cluster %q: stop it, and empty its data directory before it is used again", s.Node, s.Cluster)
	case s.Leader == "" && len(s.Waiting) > 0:
		return fmt.Errorf("cluster %q has not begun: node %q waits for %s", s.Cluster, s.Node, clean(strings.Join(s.Waiting, ", ")))
	case s.Leader == "" && s.Voters > 0:
		return fmt.Errorf("cluster %q has NO LEADER: nothing is assigned or changed until a majority (%d) of its %d voters is in contact again",
			s.Cluster, s.Voters/2+1, s.Voters)
	case s.Leader == "":
		return fmt.Errorf("cluster %q has NO LEADER, as far as node %q knows: it has not met the other nodes yet", s.Cluster, s.Node)
	}
	return nil
}

// fillLists makes lists of what is missing, so that scripts can walk through it.
func fillLists(s *api.Status) {
	fill(&s.Nodes)
	fill(&s.Networks)
	fill(&s.Tenants)
	fill(&s.Pending)
	fill(&s.Problems)
	for i := range s.Nodes {
		fill(&s.Nodes[i].Roles)
		fill(&s.Nodes[i].Keys)
	}
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
