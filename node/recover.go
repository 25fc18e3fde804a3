package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ozmo-dev/ozmo/node/consensus"
)

// GroupServer is a server of the Raft group, as a data directory knows it.
type GroupServer struct {
	ID      string `json:"id"` // name@instance
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
}

// RecoverReport tells what a recovery changes, or would.
type RecoverReport struct {
	Node   string        `json:"node"`   // whose data directory it is
	Server string        `json:"server"` // its id
	Before []GroupServer `json:"before"` // the last configuration in the log
	After  []GroupServer `json:"after"`  // who votes from now on
	Lost   []GroupServer `json:"lost"`   // who is left out
}

// errLooked ends consensus.Recover before it changes anything.
var errLooked = errors.New("only looked")

// PlanRecovery tells what Recover would do and changes nothing. Before is set
// also where there is an error about the peers.
func PlanRecovery(dataDir string, peers []string, log *slog.Logger) (RecoverReport, error) {
	return recoverGroup(dataDir, peers, log, false)
}

// Recover gives the stopped node of a data directory a Raft group in which only
// the peers vote, when so many others are lost for good that no leader can be
// elected. A peer is a node's name, or name@instance where several servers have
// the name, with =host:port after it where its address has changed. What only
// the lost nodes had is gone; what this node had and nobody has confirmed
// counts as committed.
func Recover(dataDir string, peers []string, log *slog.Logger) (RecoverReport, error) {
	return recoverGroup(dataDir, peers, log, true)
}

func recoverGroup(dataDir string, peers []string, log *slog.Logger, act bool) (report RecoverReport, err error) {
	id, err := (&Options{DataDir: dataDir}).readIdentity()
	if err != nil {
		return report, err
	}
	if id.Name == "" || id.Instance == "" {
		return report, fmt.Errorf("%s is not the data directory of a node that was ever part of a cluster", dataDir)
	}
	if err := mustOwn(dataDir); err != nil {
		return report, err
	}
	unlock, err := lockDir(dataDir)
	if err != nil {
		return report, fmt.Errorf("stop the node first: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()

	report.Node, report.Server = id.Name, serverID(id.Name, id.Instance)
	err = consensus.Recover(filepath.Join(dataDir, "raft"), func(group []consensus.Peer) ([]consensus.Server, error) {
		for _, p := range group {
			report.Before = append(report.Before, GroupServer{p.ID, p.Address, p.Voter})
		}
		var err error
		if report.After, report.Lost, err = remaining(report.Before, peers, report.Server); err != nil {
			return nil, err
		}
		if !act {
			return nil, errLooked
		}
		servers := make([]consensus.Server, len(report.After))
		for i, s := range report.After {
			servers[i] = consensus.Server{ID: s.ID, Address: s.Address}
		}
		return servers, nil
	}, log)
	if errors.Is(err, errLooked) {
		err = nil
	}
	return report, err
}

// mustOwn refuses to work on another user's data directory: what is written
// there could not be read by the node afterwards.
func mustOwn(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the data directory %s does not exist", dir)
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("the data directory %s belongs to user %d: run this as that user, or the node cannot read what is written here", dir, s.Uid)
	}
	return nil
}

// remaining finds the servers of a group that are named, and those that are
// not. self has to be among the former. All mistakes are told together.
func remaining(group []GroupServer, peers []string, self string) (after, lost []GroupServer, err error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, peer := range peers {
		name, address, moved := strings.Cut(strings.TrimSpace(peer), "=")
		if moved {
			if err := checkAddress("peer "+name, address); err != nil {
				errs = append(errs, err)
			}
		}
		var found []GroupServer
		for _, s := range group {
			if s.ID == name || consensus.NameOf(s.ID) == name {
				found = append(found, s)
			}
		}
		if i := slices.IndexFunc(found, func(s GroupServer) bool { return s.ID == self }); i >= 0 {
			found = found[i : i+1]
		}
		switch {
		case len(found) == 0:
			wrong("peer %q is not in the group; its servers are %s", name, serverIDs(group))
			continue
		case len(found) > 1:
			wrong("peer %q: several servers have this name: give one of %s", name, serverIDs(found))
			continue
		case slices.ContainsFunc(after, func(s GroupServer) bool { return s.ID == found[0].ID }):
			wrong("peer %q is named twice", name)
			continue
		}
		s := found[0]
		s.Voter = true
		if moved {
			s.Address = address
		}
		after = append(after, s)
	}
	is := func(id string) func(GroupServer) bool { return func(s GroupServer) bool { return s.ID == id } }
	switch {
	case len(peers) == 0:
		wrong("no peers are named: this node alone would be %q", consensus.NameOf(self))
	case len(errs) == 0 && !slices.ContainsFunc(group, is(self)):
		wrong("this node, %s, is not in the group that its log knows: %s; recover a node that is", self, serverIDs(group))
	case len(errs) == 0 && !slices.ContainsFunc(after, is(self)):
		wrong("this data directory is of node %q, which is not among the peers: recover on a node that remains", consensus.NameOf(self))
	}
	for _, s := range group {
		if !slices.ContainsFunc(after, is(s.ID)) {
			lost = append(lost, s)
		}
	}
	return after, lost, errors.Join(errs...)
}

func serverIDs(servers []GroupServer) string {
	ids := make([]string, len(servers))
	for i, s := range servers {
		ids[i] = s.ID
	}
	return strings.Join(ids, ", ")
}
