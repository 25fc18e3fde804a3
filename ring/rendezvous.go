package ring

import "math"

// mix scrambles a word so that every input bit reaches every output bit
// (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// score is a node's rank for an item in rendezvous hashing: the greatest wins.
// A node of twice the capacity wins twice as often, and a change of one node
// changes the order of no others.
//
// -ln(u)/c is exponential with rate c for u uniform in (0, 1), and the smallest
// of several such comes from each in proportion to its rate.
func score(item, node uint64, capacity float64) float64 {
	u := (float64(mix(item^node)>>11) + 0.5) / (1 << 53)
	return math.Log(u) / capacity
}
