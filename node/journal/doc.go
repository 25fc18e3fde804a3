// Package journal keeps a node's own history: the alerts that fired here, and the
// attempts made here at delivering them. It is bounded by age and size, and lost
// with the disk; what must not be lost is in the replicated state. It never holds
// a secret: what it is given was cleaned by those who gave it.
package journal
