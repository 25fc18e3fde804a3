// Package client talks to a node: over its local socket, or, with an operator's
// credentials, over the cluster port of one of the nodes. Its errors are words for
// people about what is between them and the node.
package client
