package fsm

import "iter"

// Cohort is a set of tenants on one node that share a cursor per network.
type Cohort struct {
	ID    string `codec:"id"`
	Node  string `codec:"n"`
	Epoch uint64 `codec:"e"` // log index of the assignment: progress under another is refused
}

// Cohort finds a cohort.
func (v *View) Cohort(id string) (*Cohort, bool) { return get(v.cohorts, []byte(id)) }

// Cohorts yields every cohort by id.
func (v *View) Cohorts() iter.Seq[*Cohort] { return values(v.cohorts) }

// PutCohort assigns a cohort to a node under a new epoch, which it answers.
// What an earlier run of that node still has in flight is thereby fenced off.
type PutCohort struct {
	ID   string `codec:"id"`
	Node string `codec:"n"`
}

// Type is TypePutCohort.
func (*PutCohort) Type() Type { return TypePutCohort }

func (c *PutCohort) apply(t *tx) (any, error) {
	put(&t.cohorts, []byte(c.ID), &Cohort{ID: c.ID, Node: c.Node, Epoch: t.index})
	t.touch(TopicLeases)
	return t.index, nil
}
