package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ozmo-dev/ozmo/node/api"
)

const none = "-" // for what is not known, or not there

// writeStatus shows the cluster as it is at the time now.
func writeStatus(w io.Writer, s *api.Status, now time.Time, tenants bool) {
	if s.Cluster == "" {
		writeWaiting(w, s)
		return
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	who := "node " + s.Node
	if s.Node == s.Leader {
		who = "its leader"
	}
	line("cluster", "%s, as %s knows it", s.Cluster, who)
	switch {
	case s.Removed:
		line("leader", "NONE: node %s was REMOVED from the cluster; what follows is what it knew then", s.Node)
	case s.Leader == "" && len(s.Waiting) > 0:
		line("leader", "NONE yet: node %s waits for the other nodes of --bootstrap", s.Node)
		for _, w := range s.Waiting {
			line("", "%s", clean(w))
		}
	case s.Leader == "":
		line("leader", "NONE (term %d): what follows is what node %s knows", s.Term, s.Node)
	default:
		line("leader", "%s (term %d)", s.Leader, s.Term)
	}
	line("voters", "%d of %s", s.Voters, count(len(s.Nodes), "node"))
	line("log index", "%d", s.Index)
	moving := 0
	for _, t := range s.Tenants {
		if t.To != "" {
			moving++
		}
	}
	line("tenants", "%d: %d unassigned, %d being handed over; imbalance %.2f", len(s.Tenants), s.Unassigned, moving, s.Imbalance)
	line("outbox", "%s waiting, %s", count(s.Outbox, "delivery"), count(s.DeadLetter, "dead letter"))
	if len(s.Dead) > 0 {
		line("", "%s", deadText(s.Dead))
	}
	for _, p := range s.Problems {
		line("PROBLEM", "%s", clean(p))
	}
	for _, p := range s.Pending {
		line("due", "%s", clean(p))
	}
	section := func(t table.Writer) {
		if t.Length() > 0 {
			fmt.Fprintln(w)
			writeTable(w, t)
		}
	}
	section(nodeTable(s.Nodes))
	section(networkTable(s.Networks, now))
	if tenants {
		section(tenantTable(s.Tenants))
	}
}

// mostDead bounds the tenants that are named for their dead letters.
const mostDead = 5

// deadText names the tenants with dead letters.
func deadText(dead []api.TenantDead) string {
	var parts []string
	for _, d := range dead[:min(len(dead), mostDead)] {
		text := fmt.Sprintf("%s %d", clean(d.Tenant), d.Count)
		if d.Forgotten > 0 {
			text += fmt.Sprintf(" (%d older ones forgotten)", d.Forgotten)
		}
		parts = append(parts, text)
	}
	if more := len(dead) - mostDead; more > 0 {
		parts = append(parts, "and "+count(more, "other tenant"))
	}
	return "dead letters of " + strings.Join(parts, ", ") + "; `ozmo delivery list --state dead` shows them"
}

func writeWaiting(w io.Writer, s *api.Status) {
	fmt.Fprintf(w, `node %s waits: it belongs to no cluster yet.

To have it join one, make a token on a node of that cluster, and use it here:

  ozmo node token create
  ozmo node join --token TOKEN HOST:7000

To found a cluster with it, start it again with --bootstrap.
`, s.Node)
}

func nodeTable(nodes []api.NodeStatus) table.Writer {
	t := newTable("NODE", "STATE", "RAFT", "ADDRESS", "VERSION", "ROLES", "TENANTS", "LEASES", "LOAD", "CONTACT", "BEHIND")
	for _, n := range nodes {
		t.AppendRow(nodeRow(n))
	}
	return t
}

func nodeRow(n api.NodeStatus) table.Row {
	contact, behind, load := none, none, none
	if n.Contact >= 0 {
		contact, behind, load = ago(n.Contact), strconv.FormatUint(n.Behind, 10), fmt.Sprintf("%.2f", n.Load)
	}
	return table.Row{n.Name, n.State, n.Raft, n.Address, clean(n.Version), rolesText(n.Roles), n.Tenants, n.Leases, load, contact, behind}
}

// rolesText is short for the usual case.
func rolesText(roles []string) string {
	if len(roles) == 3 {
		return "all"
	}
	return strings.Join(roles, ",")
}

func networkTable(networks []api.NetworkStatus, now time.Time) table.Writer {
	t := newTable("NETWORK", "HOLDER", "EPOCH", "HEAD", "SEEN", "POSITION", "BEHIND", "PINNED", "FETCHES", "POLLS", "OTHER")
	for _, n := range networks {
		holder, head, seen := n.Holder, none, none
		switch {
		case holder == "" && n.Wanted == 0:
			holder = "not wanted"
		case holder == "":
			holder = "NONE"
		}
		if n.Position > 0 {
			head = strconv.FormatUint(n.Head.Height, 10)
		}
		if n.Seen > 0 {
			seen = ago(now.Sub(time.UnixMilli(n.Seen)))
		}
		c := n.Calls
		t.AppendRow(table.Row{
			clean(n.Key), holder, n.Epoch, head, seen, n.Position, n.Position - min(n.Position, n.Judged), yesText(n.Pinned),
			c.BlockFetch, c.HeadPoll, c.Connect + c.Hedge + c.Refetch,
		})
	}
	return t
}

func tenantTable(tenants []api.TenantStatus) table.Writer {
	t := newTable("TENANT", "NODE", "TO", "REASON", "ASSIGNMENT", "CONFIG VERSION", "MONITORS", "PIN", "WEIGHT", "PRIORITY")
	for _, s := range tenants {
		weight := none
		if s.Weight > 0 {
			weight = strconv.FormatUint(uint64(s.Weight), 10)
		}
		t.AppendRow(table.Row{clean(s.ID), or(s.Assigned), or(s.To), or(s.Reason), s.Moves, s.Version, s.Monitors, or(s.Pin), weight, s.Priority})
	}
	return t
}

func or(s string) string {
	if s == "" {
		return none
	}
	return s
}

func yesText(b bool) string {
	if b {
		return "yes"
	}
	return none
}

// ago is a time in the past, as people say it: 40ms, 2.3s, 12s, 5m, 3h, 2d.
func ago(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0fm", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0fh", d.Hours())
	default:
		return fmt.Sprintf("%.0fd", d.Hours()/24)
	}
}
