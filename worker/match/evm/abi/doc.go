// Package abi reads Solidity ABI documents leniently and decodes call data and
// logs into expression values. It never encodes, and it never trusts what it
// decodes: offsets, lengths and nesting are bounded, so hostile content costs
// no more than its size.
package abi
