// Package journal keeps a node's own history: the alerts that fired here. It is
// bounded by age and size, and lost with the disk; what must not be lost is in
// the replicated state.
package journal
