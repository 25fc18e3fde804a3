// Package rpc talks JSON-RPC to the endpoints of one network: requests over
// HTTP through a Pool, pushed notifications over a websocket.
//
// It owns the choice of the endpoint (weight classes, health, circuit
// breakers, rate limits, verification after connecting), the accounting of
// calls by purpose, and the many ways in which nodes misbehave: errors inside
// HTTP 200, HTML, oversized bodies, silence.
//
// It never looks inside a result, never decides whether a block is good, and
// never lets more of a URL than its scheme and host into an error, a log line
// or a metric.
package rpc
