// Package egress decides which addresses this node connects to on behalf of
// tenants, and connects to them.
//
// A tenant chooses where its webhooks, mail servers and endpoints are, so that
// without a guard it could have the node knock at doors that only the node can
// reach: services of the private network, the cloud's metadata, the cluster
// itself. The guard sits where connections are made. It resolves a name once,
// judges every address that came of it, and dials the very address that it has
// judged, never the name again: a name server that answers differently the next
// time gains nothing.
//
// The package never looks at URLs, follows redirects or speaks a protocol above
// TCP, and it does not guard what the operator configures.
package egress
