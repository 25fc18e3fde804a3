package fsm

import (
	"maps"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// cohortEdit changes the cohorts of many tenants, with the index of members and
// the marks of change, at the cost of these tenants alone.
type cohortEdit struct {
	index   uint64
	tenants *iradix.Txn[*Tenant]
	changes *iradix.Txn[string]
	from    *iradix.Tree[*members]
	members map[string]*iradix.Txn[struct{}] // by cohort, of those touched
}

func (t *tx) editCohorts() cohortEdit {
	return cohortEdit{
		index: t.index, tenants: t.tenants.Txn(), changes: t.changes.Txn(), from: t.members, members: map[string]*iradix.Txn[struct{}]{},
	}
}

// place puts a tenant into a cohort, which may be its own.
func (e cohortEdit) place(old *Tenant, cohort string, a Assignment) {
	next := *old
	next.Cohort, next.Assigned = cohort, a
	e.tenants.Insert([]byte(next.ID), &next)
	if old.Assigned.Index != 0 {
		e.changes.Delete(changeKey(old.Assigned.Index, old.ID))
	}
	e.changes.Insert(changeKey(a.Index, next.ID), next.ID)
	if old.Cohort != cohort {
		e.of(old.Cohort).Delete([]byte(old.ID))
		e.of(cohort).Insert([]byte(next.ID), struct{}{})
	}
}

// of is the edit of one cohort's members.
func (e cohortEdit) of(cohort string) *iradix.Txn[struct{}] {
	txn, ok := e.members[cohort]
	if !ok {
		index, ok := get(e.from, []byte(cohort))
		if !ok {
			index = iradix.New[struct{}]()
		}
		txn = index.Txn()
		e.members[cohort] = txn
	}
	return txn
}

// clear lets go of a cohort's members at once: all of them are about to be placed
// elsewhere.
func (e cohortEdit) clear(cohort string) { e.members[cohort] = iradix.New[struct{}]().Txn() }

func (e cohortEdit) commit(t *tx) {
	t.tenants, t.changes = e.tenants.Commit(), e.changes.Commit()
	for _, cohort := range slices.Sorted(maps.Keys(e.members)) {
		t.putMembers(cohort, e.members[cohort].Commit())
	}
}

func (v *View) putMembers(cohort string, index *members) {
	if index.Len() == 0 {
		del(&v.members, []byte(cohort))
		return
	}
	put(&v.members, []byte(cohort), index)
}

// enrol lists a new tenant in its cohort, strike takes one out that is gone.
func (v *View) enrol(t *Tenant) {
	index, ok := get(v.members, []byte(t.Cohort))
	if !ok {
		index = iradix.New[struct{}]()
	}
	put(&index, []byte(t.ID), struct{}{})
	v.putMembers(t.Cohort, index)
}

func (v *View) strike(t *Tenant) {
	if index, ok := get(v.members, []byte(t.Cohort)); ok {
		del(&index, []byte(t.ID))
		v.putMembers(t.Cohort, index)
	}
}

// changeKey orders the marks of change by log index, then by tenant.
func changeKey(index uint64, tenant string) []byte { return append(be64(index), tenant...) }

// indexMembers lists every tenant in its cohort.
func (v *View) indexMembers() {
	byCohort := map[string]*iradix.Txn[struct{}]{}
	for t := range v.Tenants() {
		if t.ID == Shared {
			continue
		}
		txn, ok := byCohort[t.Cohort]
		if !ok {
			txn = iradix.New[struct{}]().Txn()
			byCohort[t.Cohort] = txn
		}
		txn.Insert([]byte(t.ID), struct{}{})
	}
	v.members = iradix.New[*members]()
	for _, cohort := range slices.Sorted(maps.Keys(byCohort)) {
		put(&v.members, []byte(cohort), byCohort[cohort].Commit())
	}
}
