package main

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// reorgMode says what becomes of the transactions of blocks that die.
type reorgMode string

const (
	// modeReinclude puts half of each sender's transactions into the new branch at
	// the same heights; the others are gone for good.
	modeReinclude reorgMode = "reinclude"
	// modeDrop puts none into the new branch; all are gone for good.
	modeDrop reorgMode = "drop"
	// modeMove puts all into the new branch, each one block later than before.
	modeMove reorgMode = "move"
)

func (m reorgMode) validate() error {
	switch m {
	case modeReinclude, modeDrop, modeMove:
		return nil
	}
	return fmt.Errorf("reorg mode %q is unknown: use %s, %s or %s", string(m), modeReinclude, modeDrop, modeMove)
}

// placed is a transaction and its block's index in a branch, 0 being the first
// block after the fork point.
type placed[T any] struct {
	tx     T
	sender common.Address
	block  int
}

// planBranch chooses which dead transactions the new branch carries, and where.
// A sender's nonces must stay without gaps, so what is kept of a sender is always
// its first transactions. With an odd number the extra one is kept for the
// first such sender, dropped for the second, and so on.
func planBranch[T any](mode reorgMode, dead []placed[T]) []placed[T] {
	switch mode {
	case modeMove:
		plan := make([]placed[T], len(dead))
		for i, p := range dead {
			p.block++
			plan[i] = p
		}
		return plan
	case modeReinclude:
		return firstHalves(dead)
	default:
		return nil
	}
}

func firstHalves[T any](dead []placed[T]) []placed[T] {
	counts := map[common.Address]int{}
	var order []common.Address
	for _, p := range dead {
		if counts[p.sender] == 0 {
			order = append(order, p.sender)
		}
		counts[p.sender]++
	}
	left := map[common.Address]int{}
	roundUp := true
	for _, sender := range order {
		n := counts[sender]
		left[sender] = n / 2
		if n%2 == 1 {
			if roundUp {
				left[sender]++
			}
			roundUp = !roundUp
		}
	}
	var plan []placed[T]
	for _, p := range dead {
		if left[p.sender] > 0 {
			left[p.sender]--
			plan = append(plan, p)
		}
	}
	return plan
}
