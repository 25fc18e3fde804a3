// Package fakechain is a scripted EVM chain for tests, served over real HTTP
// and websocket JSON-RPC on loopback, or, without any socket, by clients that
// live in the process.
//
// It owns the script: Extend and Reorg grow the chain, any number of Endpoints
// and Clients serve it, each with faults of its own. Blocks are well-formed:
// their blooms, receipts and links agree; hashes are the Keccak-256 of the
// content, so that the same script always yields the same chain.
//
// Clients wait on channels and timers alone, so that they work in a bubble of
// testing/synctest; make the chain inside of it.
//
// It never executes anything: what a transaction does is what the test says.
package fakechain
