package evm

import (
	"slices"

	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
)

// tenant holds what the monitors of one tenant share: a monitor without an ABI
// for an address uses that of another one. Tenants share nothing.
type tenant struct {
	name string
	all  []*instance // in the order they were added
	gone int         // of all
	open int         // monitors that need another's ABI
	// lenders are the monitors with an ABI for an address, in the order they were
	// added; nil while no monitor needs them.
	lenders map[chainevm.Address][]*instance
}

func (t *tenant) add(inst *instance) {
	t.all = append(t.all, inst)
	if inst.monitor.lent != nil {
		t.open++
	}
	switch {
	case t.lenders != nil:
		t.lend(inst)
	case t.open > 0:
		t.gather()
	}
}

func (t *tenant) gather() {
	t.lenders = make(map[chainevm.Address][]*instance)
	for _, inst := range t.all {
		t.lend(inst)
	}
}

func (t *tenant) lend(inst *instance) {
	for i := range inst.monitor.targets {
		if o := &inst.monitor.targets[i]; o.contract != nil && !inst.gone {
			t.lenders[o.address] = append(t.lenders[o.address], inst)
		}
	}
}

// drop notes that an instance is gone. Once half of them are, the lists are
// built anew.
func (t *tenant) drop(inst *instance) {
	t.gone++
	if inst.monitor.lent != nil {
		t.open--
	}
	if t.gone*2 <= len(t.all) {
		return
	}
	t.all = slices.DeleteFunc(t.all, func(i *instance) bool { return i.gone })
	t.gone, t.lenders = 0, nil
	if t.open > 0 {
		t.gather()
	}
}

// borrow finds the ABI that a monitor without one uses for an address: that of
// the tenant's first monitor in force.
func (t *tenant) borrow(address *chainevm.Address, pos uint64) *abi.ABI {
	for _, inst := range t.lenders[*address] {
		if !inst.gone && inst.inForce(pos) {
			return inst.monitor.abiOf(address)
		}
	}
	return nil
}

func (m *Monitor) abiOf(address *chainevm.Address) *abi.ABI {
	for i := range m.targets {
		if t := &m.targets[i]; t.address == *address && t.contract != nil {
			return t.contract.abi
		}
	}
	return nil
}
