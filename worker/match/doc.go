// Package match decides which transactions of a block meet the conditions of
// which monitors. This package holds what all chains share: the Match that is
// handed on, its JSON and its template variables, the problems that compiling a
// monitor can find, and the table of chains. The matching itself is in the
// packages below it, one for each chain; expr is their expression language.
//
// It never talks to a chain and never sends anything.
package match
