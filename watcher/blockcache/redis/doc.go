// Package redis keeps the payloads of blocks in a Redis that all nodes share.
//
// It owns the connection, the form of keys and values, and the judgement whether
// Redis may be asked. Whatever is wrong with Redis (absent, slow, full, frozen,
// restarted, flushed) makes payloads absent and nothing else: one request finds
// out, from then on nobody asks, and one goroutine looks every second whether it
// answers again.
//
// It never returns an error after New, never makes a caller of Put wait, and
// never logs a password. It trusts Redis: checksums find accidents, not forgeries.
package redis
