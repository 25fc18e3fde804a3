// Command devchain is a real EVM chain for a laptop and for tests: a go-ethereum
// node without peers, put together from the parts of go-ethereum's simulated
// backend, that makes blocks on a timer and serves the node's own JSON-RPC over
// HTTP and WebSocket on one loopback port.
//
// It owns the chain, a set of funded accounts, one ERC-20 token, a traffic
// generator and the dev_ namespace, which commits blocks, makes reorganisations,
// sends transactions and tells what the chain holds. Everything under eth_, net_
// and web3_ is answered by the node itself.
//
// It never lies: no missing receipts, no wrong hashes, no errors on purpose. A
// reorganisation is one as a node sees it: a side branch is built and imported
// first, then made canonical in one step. It keeps nothing on disk, and its keys
// are derived from a seed that anyone can guess: never use them elsewhere.
package main
