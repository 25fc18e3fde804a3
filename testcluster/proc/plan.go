package proc

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// FaultKind is a sort of fault.
type FaultKind string

// The faults of a plan. At most a minority of the voters is down at a time, but
// for KillAll.
const (
	KillNode    FaultKind = "kill"         // SIGKILL, started again after a while
	PauseNode   FaultKind = "pause"        // SIGSTOP, SIGCONT
	CutNode     FaultKind = "partition"    // streams and packets of a node are cut
	RestartNode FaultKind = "restart"      // SIGTERM, started again
	WipeNode    FaultKind = "wipe"         // SIGKILL, its disk is lost; it comes back as another instance
	KillAll     FaultKind = "kill-all"     // SIGKILL to every node at once
	RedisKill   FaultKind = "redis-kill"   // the cache is gone until after the next fault
	RedisFreeze FaultKind = "redis-freeze" // likewise, but it only does not answer
	RedisFlush  FaultKind = "redis-flush"  // the cache forgets everything
)

// Target says which node a fault is for: its name, or the part it plays when the
// fault's turn has come.
type Target string

// Parts as targets.
const (
	TheLeader  Target = "leader"
	TheWatcher Target = "watcher" // of the first network
)

// Fault is one fault of a plan.
type Fault struct {
	Kind   FaultKind
	Target Target        // empty: not for a node
	Lasts  time.Duration // how long the node is down, frozen or cut off
	Cut    Cut           // CutNode: how
	Sides  string        // CutNode: "both", "out" or "in"
	Before time.Duration // quiet time before it
}

// String tells the fault in a line.
func (f Fault) String() string {
	s := string(f.Kind)
	if f.Target != "" {
		s += fmt.Sprintf(" of %s for %v", f.Target, f.Lasts)
	}
	if f.Kind == CutNode {
		s += fmt.Sprintf(" (%s, %s)", f.Sides, map[Cut]string{Hold: "dropped", Reset: "reset"}[f.Cut])
	}
	return s
}

// PlanFaults makes a plan of n faults from a seed and nothing else: each kind as
// often as its weight says, in random order, as far as n allows. Nodes are frozen
// or cut off for 1 s up to longest.
func PlanFaults(seed uint64, n int, nodes []string, longest time.Duration) []Fault {
	rng := rand.New(rand.NewPCG(seed, 7))
	weights := []struct {
		kind   FaultKind
		weight int
	}{
		{KillNode, 20},
		{PauseNode, 20},
		{CutNode, 20},
		{RestartNode, 15},
		{WipeNode, 6},
		{RedisFreeze, 5},
		{RedisKill, 5},
		{RedisFlush, 5},
		{KillAll, 4},
	}
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	var kinds []FaultKind
	for _, w := range weights {
		for range max(1, n*w.weight/total) {
			kinds = append(kinds, w.kind)
		}
	}
	for len(kinds) < n {
		kinds = append(kinds, weights[rng.IntN(4)].kind)
	}
	kinds = kinds[:n]
	rng.Shuffle(n, func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	targets := []Target{TheLeader, TheWatcher}
	for _, name := range nodes {
		targets = append(targets, Target(name))
	}
	plan := make([]Fault, n)
	for i, kind := range kinds {
		// All is drawn for every fault, so that one kind's needs do not change the rest.
		f := Fault{
			Kind: kind, Target: targets[rng.IntN(len(targets))], Lasts: between(rng, time.Second, longest),
			Cut: []Cut{Hold, Reset}[rng.IntN(2)], Sides: []string{"both", "both", "out", "in"}[rng.IntN(4)],
			Before: between(rng, 0, 1500*time.Millisecond),
		}
		switch kind {
		case KillNode, RestartNode, WipeNode:
			f.Lasts /= 4
			f.Cut, f.Sides = Whole, ""
		case PauseNode:
			f.Cut, f.Sides = Whole, ""
		case CutNode:
		case KillAll, RedisKill, RedisFreeze, RedisFlush:
			f.Target, f.Lasts, f.Cut, f.Sides = "", 0, Whole, ""
		}
		plan[i] = f
	}
	return plan
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least))).Round(time.Millisecond)
}
