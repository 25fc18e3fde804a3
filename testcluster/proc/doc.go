// Package proc runs the real programs on loopback for tests: devchain as the
// chain, ozmo as the node, and a receiver of webhooks in the test's own process.
// It owns building and starting them, killing them at any moment, and waiting
// for what they promise.
//
// It never looks inside a node: it knows what a person at the terminal knows,
// the exit code, the log, the folders and the local socket.
//
// On failure the logs are shown and the directories stay where they are.
package proc
