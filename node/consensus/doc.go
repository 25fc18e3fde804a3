// Package consensus replicates commands through one Raft group and feeds them
// to the state machine, on every node of the cluster. It is the only importer
// of hashicorp/raft. It never looks into a command (what commands mean is
// package fsm's), never decides who belongs to the cluster by itself (PlanPeers
// is asked, and is pure), and never proposes a command a second time that may
// have been committed.
package consensus
