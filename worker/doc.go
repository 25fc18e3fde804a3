// Package worker judges the announced blocks of every network for the cohorts
// of tenants on this node, has the alerts delivered, and hands over the cohorts
// that leave the node. A cursor moves past a position only when everything that
// position fired is recorded as sent, is in the outbox, or is a dead letter.
//
// It never calls a chain: blocks come from whoever watches the network. It never
// decides where a tenant is judged: that comes with the state.
package worker
