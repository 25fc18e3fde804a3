// Package node is a member of a cluster: it composes the replicated state, the
// watchers, the workers and the outbox, and owns their lifecycle. Everything it
// composes gets what it needs handed in; nothing reaches back into node.
package node
