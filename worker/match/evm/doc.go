// Package evm matches blocks of EVM chains against monitors.
//
// Compile turns a monitor's document into a Monitor; an Index holds the
// monitors of one network and finds the matches of a block. The cost of a block
// is its logs, its transactions and the candidates among the monitors: it does
// not grow with the number of monitors. Explain tells why a monitor did not
// match.
//
// The package owns the rules of what matches and what a match looks like. It
// never fetches anything: status and gas used are known when the block carries
// receipts, and otherwise they are not.
package evm
