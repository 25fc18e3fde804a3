package evm

import (
	"strings"

	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
)

// closestSignature is the signature that a folded text was probably meant to
// be: one of the same name, or else the one that differs in few characters.
// Empty when none is close.
func closestSignature(folded string, have []*abi.Definition) string {
	name, _, _ := strings.Cut(folded, "(")
	best, least := "", 1+len(folded)/3
	for _, d := range have {
		n := distance(folded, d.Folded, least)
		if other, _, _ := strings.Cut(d.Folded, "("); other == name {
			n = min(n, least-1) // another parameter list: still the likely one
		}
		if n < least {
			best, least = d.Signature, n
		}
	}
	return best
}

// distance counts the single-character edits between a and b, giving up with
// a number of at least limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0]++
		least := row[0]
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return row[len(b)]
}
