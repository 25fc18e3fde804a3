// Package fsm is the replicated state of a cluster and every command that
// changes it. It is pure: no Raft, no clock, no randomness, no I/O. Time comes
// inside the commands; what is proposed was validated before, so Apply never
// fails on content.
package fsm
