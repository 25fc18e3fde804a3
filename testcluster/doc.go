// Package testcluster runs whole clusters in one process and in virtual time:
// real nodes over a network in memory, a scripted chain and a receiver of
// webhooks, all inside a bubble of testing/synctest.
//
// It owns the faults (Kill, Stop, Pause, Restart, WipeDisk, Partition, Heal),
// waiting (Eventually), and what must hold of every cluster, whatever happened
// to it (Check). It replaces nothing of a node but its network, its log's files
// and its chains' clients.
//
// Everything is made inside the bubble that uses it; Close, which New leaves to
// the test's cleanup, ends all goroutines, and the bubble fails the test over
// any that is left. Virtual time stands still while anything can run: what a
// test asserts of time does not depend on the machine.
//
// A failed test shows the end of the nodes' logs; OZMO_TEST_LOG=FILE keeps all
// of them. OZMO_CHAOS_FAULTS and OZMO_SOAK_NODES make the tests that let
// anything happen longer, or larger.
package testcluster
