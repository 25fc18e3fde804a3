// Package chain is what the watcher knows about a blockchain: heads, blocks
// and the ways in which fetching them can fail.
//
// It owns the vocabulary (Client, Block, Head and the sentinel errors) and
// nothing else. The clients live in the packages below it: rpc is the endpoint
// pool they share, evm, stellar and solana speak to one kind of chain each.
// The package never decides which block is announced: that is the watcher's.
package chain
