// Package alert owns what a user perceives when a monitor matches: the alert,
// its state, its identity and the keys under which it is delivered, and the
// stored form of a delivery.
//
// Everything here is pure: identities are hashes of what they identify, so any
// node that judges the same block arrives at the same ones. The package never
// sends, stores or schedules anything.
package alert
