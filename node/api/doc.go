// Package api is a node's HTTP: health and metrics for everybody who may reach
// the port, and the operator's calls for who may open the local socket. It
// declares what it needs of a node and never imports it.
package api
