// Package watcher follows one network for as long as it holds the network's
// lease: it learns of new heads, fetches the blocks up to them, checks that
// they link, stores their payloads in the block cache and announces them, in
// this order.
//
// It owns the decisions: which blocks to fetch, when a branch replaces
// another, what to skip because the operator asked for it, when to hold back.
//
// It never announces what it did not store, never skips a block that it cannot
// fetch, never judges, and knows nothing of tenants. Positions are given by
// the replicated state, which also refuses a watcher whose lease has passed
// to another node.
package watcher
