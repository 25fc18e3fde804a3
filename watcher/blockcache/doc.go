// Package blockcache keeps the payloads of blocks near those who judge them.
//
// It owns the Cache and the Fetcher, by which workers get a payload: from the
// cache, or else from whoever can load it, once for all who ask. Entries are
// immutable: a key is a network and a block's hash. Memory is the cache of one
// node; Layered puts it before a cache that all nodes share (package redis).
//
// The package is never the only place where a payload is: what it forgot is
// loaded from the chain again. It never calls a chain itself.
package blockcache
