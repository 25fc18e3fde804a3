// Package worker judges the announced blocks of every network for the cohort
// of tenants on this node, and has the alerts delivered. A cursor moves past a
// position only when everything that position fired is recorded as sent, is in
// the outbox, or is a dead letter.
//
// It never calls a chain: blocks come from whoever watches the network.
package worker
