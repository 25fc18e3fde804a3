// Package memnet is a network in memory, for tests of a whole cluster in one
// process: hosts with names, listeners, buffered connections with deadlines,
// packets, and the faults of a real network.
//
// It is made for testing/synctest. Whoever waits waits on a channel or a timer
// made where it waits, never on a mutex; there are no sockets and no goroutines
// of its own. It works outside of a bubble too, in real time.
//
// What it models:
//   - a cut link holds bytes back, as TCP does with what it must send again, and
//     delivers them in order once it heals; dials wait; packets are lost;
//   - a killed host resets its connections and refuses new ones; a vanished one
//     tells nobody, and its peers' connections stall;
//   - a delay applies to every delivery.
//
// What it does not model: bandwidth, loss at random, re-ordering, keep-alives.
// A stalled connection stalls until a deadline or the host's next life.
package memnet
