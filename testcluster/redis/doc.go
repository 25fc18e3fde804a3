// Package redis runs real Redis servers for tests, on loopback or a Unix socket,
// and does to them what happens to servers: they stop, die, freeze and lose
// everything.
//
// It speaks to them by itself: what is tested is not what looks at the outcome.
package redis
