package evm

import "github.com/ozmo-dev/ozmo/worker/match/expr"

// TransactionVars is exported for the conformance vectors of finished matches.
var TransactionVars = transactionVars

// PeerReads reports whether the peer would have fetched receipts.
func PeerReads(m *Monitor, logs int) bool { return m.peerReads(logs) }

// SetLimits makes structures for many monitors be used for few, and returns
// how to undo that.
func SetLimits(small int32, fresh int) (undo func()) {
	oldSmall, oldFresh := smallGroup, freshLimit
	smallGroup, freshLimit = small, fresh
	return func() { smallGroup, freshLimit = oldSmall, oldFresh }
}

// Sizes are the addresses and tenants an index holds, and the ends it waits
// for.
func (x *Index) Sizes() (accounts, tenants, ended int) {
	return len(x.accounts), len(x.tenants), len(x.ended)
}

// Break makes the conditions of a monitor panic when they are evaluated.
func Break(m *Monitor) {
	for i := range m.targets {
		for _, r := range m.targets[i].rules() {
			for k := range r.conds {
				r.conds[k].program = &expr.Program{}
			}
		}
	}
}
