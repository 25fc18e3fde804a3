// Package ring decides who runs what: which node judges which tenant (Plan),
// and which node watches which network (Spread).
//
// It is pure. What it answers is a function of its arguments alone, in whatever
// order they come: no clock, no randomness, no I/O, nothing of this project. It
// never carries a plan out and never remembers one; the leader proposes the
// moves, and the replicated state is what the next plan starts from. So two
// nodes never have to agree on a ring: one plans, all others are told.
//
// See docs/ring.md for the reasons.
package ring
