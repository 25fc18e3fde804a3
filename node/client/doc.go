// Package client talks to a node over its local socket.
package client
