// Package proc runs the real programs on loopback for tests: devchain as the
// chain, ozmo as a node or as the nodes of a cluster, and a receiver of webhooks
// in the test's own process. It owns building and starting them, killing,
// freezing and cutting them off at any moment, and waiting for what they promise;
// plans of random faults, and the measuring of what failures cost.
//
// It never looks inside a node: it knows what a person at the terminal knows,
// the exit code, the log, the folders, the local socket, and what passes between
// the nodes.
//
// On failure the logs are shown and the directories stay where they are.
package proc
