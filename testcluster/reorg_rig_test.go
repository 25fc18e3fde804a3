package testcluster

import (
	"slices"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// reorgTenants has one tenant for each way to judge.
func reorgTenants() (out []subscriber) {
	for _, mode := range []string{"", "instant", "confirmed", "both", "finalized"} {
		name := mode
		if mode == "" {
			name = "plain"
		}
		out = append(out, subscriber{name: name, mode: mode})
	}
	return out
}

// what becomes of the transfers of dead blocks.
type fate string

const (
	reincluded fate = "re-included" // in blocks of the same height
	moved      fate = "moved"       // each to the block after
	dropped    fate = "dropped"     // others come in their place
	mixed      fate = "mixed"       // some of each
)

// reorganise replaces the newest blocks by one block more. It returns the
// transfers of the blocks that died.
func (d *delivering) reorganise(depth int, f fate) (dead []fakechain.Tx) {
	c, s := d.chain(), d.chains[slug]
	head := c.Head().Number
	var old [][]fakechain.Tx
	for height := head - uint64(depth) + 1; height <= head; height++ { //nolint:gosec // small
		txs := c.At(height).Txs
		old = append(old, txs)
		dead = append(dead, txs...)
	}
	branch := make([][]fakechain.Tx, depth+1)
	for i := range branch {
		to, from := f, i
		if f == mixed {
			to = []fate{reincluded, dropped, moved}[i%3]
		}
		if to == moved {
			from = i - 1
		}
		switch {
		case to == dropped || from < 0 || from >= depth:
			branch[i] = s.transfer()
		case f == mixed && slices.ContainsFunc(branch[:i], func(b []fakechain.Tx) bool { return len(b) > 0 && b[0].Hash == old[from][0].Hash }):
			branch[i] = s.transfer() // it is there already
		default:
			branch[i] = old[from]
		}
	}
	c.ReorgWith(depth, branch...)
	return dead
}

// finish lets the chain grow until everything lies as deep as any mode wants it,
// and waits until that is delivered.
func (d *delivering) finish() {
	d.t.Helper()
	n, _ := d.View().Network(slug)
	d.grow(int(n.FinalityAt(n.Next-1)) + 2) //nolint:gosec // at most 1024
	d.Rest()
}

// checkReorgs checks all there is to check at the end, and tells how many deliveries
// were repetitions.
func (d *delivering) checkReorgs(t *testing.T) {
	t.Helper()
	d.finish()
	for _, err := range slices.Concat(d.seen.errors(), d.checkStates(), d.checkSequence(d.View(), slug)) {
		t.Error(err)
	}
	if n := d.deadLetters(); n > 0 {
		t.Errorf("%d dead letters", n)
	}
	duplicates := d.checkNames()
	for i, s := range d.tenants {
		list := d.of(s)
		states := map[string]int{}
		for _, got := range list {
			states[got.State]++
		}
		t.Logf("%-9s %d deliveries: %v", s.name, len(list), states)
		errs := d.compare(i, s.mode, list)
		for _, err := range errs[:min(len(errs), maxErrors)] {
			t.Error(err)
		}
	}
	t.Logf("%d duplicates", duplicates)
}

// compare compares what a receiver believes in the end with the canonical chain.
func (d *delivering) compare(tenant int, mode string, list []farm.Delivery) []error {
	n, _ := d.View().Network(slug)
	depth := map[string]uint64{
		"": confirmations, "instant": 0, "confirmed": confirmations, "both": 0, "finalized": n.FinalityAt(n.Next - 1),
	}[mode]
	return farm.Truth{Mode: mode, Depth: depth, Confirmed: confirmations, Alerts: canonical(d.chain(), tenant)}.Check(list)
}

// heard fails the test unless a subscriber has heard of a state of the alert of
// a transfer.
func (d *delivering) heard(t *testing.T, tenant int, tx fakechain.Tx, state string) {
	t.Helper()
	id := alertOf(tenant, tx)
	if !slices.ContainsFunc(d.of(d.tenants[tenant]), func(got farm.Delivery) bool { return got.Alert == id && got.State == state }) {
		t.Errorf("%s never heard that %s is %s", d.tenants[tenant].name, tx.Hash.Short(), state)
	}
}

// tenant is the index of a subscriber.
func (d *delivering) tenant(name string) int {
	return slices.IndexFunc(d.tenants, func(s subscriber) bool { return s.name == name })
}

// owner is the node that judges a subscriber's blocks.
func (d *delivering) owner(name string) *Member {
	d.t.Helper()
	owner := d.Owners()[TenantName(d.tenant(name))]
	if owner == "" {
		d.t.Fatalf("nobody judges %s", name)
	}
	return d.Member(owner)
}
