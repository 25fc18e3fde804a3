package fsm

// place puts a tenant into a cohort, which may be its own.
func (t *tx) place(old *Tenant, cohort string, a Assignment) {
	next := *old
	next.Cohort, next.Assigned = cohort, a
	put(t.edit, &t.tenants, next.ID, &next)
	if old.Assigned.Index != 0 {
		del(t.edit, &t.changes, changeKey(old.Assigned.Index, old.ID))
	}
	put(t.edit, &t.changes, changeKey(a.Index, next.ID), next.ID)
	if old.Cohort != cohort {
		t.strike(old)
		t.enrol(&next)
	}
}

func (t *tx) putMembers(cohort string, index *members) {
	if index.Len() == 0 {
		del(t.edit, &t.members, cohort)
		return
	}
	put(t.edit, &t.members, cohort, index)
}

// enrol lists a tenant in its cohort, strike takes it out.
func (t *tx) enrol(tenant *Tenant) {
	index, _ := get(t.members, tenant.Cohort)
	put(t.edit, &index, tenant.ID, struct{}{})
	t.putMembers(tenant.Cohort, index)
}

func (t *tx) strike(tenant *Tenant) {
	if index, ok := get(t.members, tenant.Cohort); ok {
		del(t.edit, &index, tenant.ID)
		t.putMembers(tenant.Cohort, index)
	}
}

// changeKey orders the marks of change by log index, then by tenant.
func changeKey(index uint64, tenant string) string { return be64(index) + tenant }

// indexMembers lists every tenant in its cohort.
func (t *tx) indexMembers() {
	for tenant := range t.Tenants() {
		if tenant.ID != Shared {
			t.enrol(tenant)
		}
	}
}
