// Package history judges what clients and observers of a cluster have recorded
// under faults: whether the answers they got could have come from one copy of
// the state (linearizability, checked by porcupine), whether all nodes went
// through the same states, and whether a network's announcements form one
// unbroken sequence.
//
// It owns models and checkers, pure functions of what was recorded. It never
// talks to a node.
package history
