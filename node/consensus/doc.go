// Package consensus replicates commands through one Raft group and feeds them
// to the state machine. It is the only importer of hashicorp/raft. It never
// looks into a command: what commands mean is package fsm's.
package consensus
