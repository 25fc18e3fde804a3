// Package evm reads chains of the Ethereum kind: the Client that the watcher
// fetches blocks with, and the lenient Block that workers judge.
//
// It owns what makes a block complete: receipts and logs that fit the header. It
// tolerates whatever else the many kinds of nodes leave out or add. It never
// decides which block is canonical and never matches anything.
package evm
