// Package backtest judges blocks of the past with one monitor, as jobs say that the
// state has (fsm.Backtest): this node's parts of them, block by block, from where the
// state says that they have come to.
//
// It owns what a monitor's matches and near misses look like in a job, and when what
// was found is reported: heights and what they gave go in one command, so that a part
// that another node takes over goes on with nothing lost and nothing counted twice.
//
// It never sends anything, never asks a chain itself, and never decides who judges
// which part: the leader does. It has no hurry either: one block at a time is judged,
// and as long as that took nothing is judged after it, so that half of one processor
// at most is taken from what happens now.
package backtest
