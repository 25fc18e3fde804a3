// Package expr is the filter expression language: the optional text on a
// condition such as "value > 1000 AND to == 0xAbC…" that decides whether a
// decoded event, call or transaction is of interest.
//
// One grammar serves all chains; a [Dialect] picks the comparison rules.
// [Compile] parses an expression once, binds its names to positions and checks
// it against the declared parameters, so that a mistake is shown when a monitor
// is saved and not found in a log later. [Program.Eval] then runs it; for
// numbers, addresses and booleans it allocates nothing.
//
// The meaning of every expression that OpenZeppelin Monitor 1.6, called the peer
// here, can evaluate is kept, oddities included. Where the peer gives up
// (unlisted Solidity widths, fixed and nested arrays, fields of tuples) this
// package answers instead. One answer differs on purpose: integers beyond 64
// bits inside decoded arrays and tuples keep all their digits.
//
// The package owns the grammar, the comparison rules and the form in which
// argument values are handed over. It never decodes chain data, never does I/O,
// and never logs.
package expr
