package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// operator is a node that gives prepared answers and remembers what it was asked
// to do.
type operator struct {
	coverage  api.Coverage
	verified  api.Verification
	rebalance api.Rebalance
	keyring   api.Keyring
	replaying replaying
	tested    api.TriggerTested
	archive   []byte

	deliveries api.DeliveryList
	delivery   api.DeliveryDetail
	changed    api.DeliveriesChanged

	cut bool // Backup fails in the middle
	// later is the keyring as it is found some time after a change.
	later *api.Keyring
	err   error

	mu       sync.Mutex
	status   api.Status
	each     func(s *api.Status) // changes the status before each answer
	removals []error             // answers of RemoveNode, in order
	orders   []string
}

func (o *operator) note(format string, args ...any) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.orders = append(o.orders, fmt.Sprintf(format, args...))
	return o.err
}

func (o *operator) said() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.orders, "; ")
}

func (o *operator) Live() []api.Check  { return []api.Check{{Name: "process"}} }
func (o *operator) Ready() []api.Check { return nil }

func (o *operator) Status() api.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.each != nil {
		o.each(&o.status)
	}
	s := o.status
	s.Nodes = append([]api.NodeStatus(nil), s.Nodes...)
	return s
}

func (o *operator) Coverage(tenant, network string, _, _ uint64) (api.Coverage, error) {
	o.coverage.Tenant, o.coverage.Network = tenant, network
	return o.coverage, o.err
}

func (o *operator) Verify(_ context.Context, tenant, network string, from, to uint64, progress func(api.Progress)) (*api.Verification, error) {
	progress(api.Progress{Done: 1, Total: to - from + 1})
	v := o.verified
	v.Tenant, v.Network, v.From, v.To = tenant, network, from, to
	return &v, o.err
}

func (o *operator) Reload(context.Context) (api.Reloaded, error) { return api.Reloaded{}, o.err }

func (o *operator) Join(_ context.Context, j api.Join, step func(string)) (*api.Joined, error) {
	if err := o.note("join %s with %s", j.Address, j.Token); err != nil {
		return nil, err
	}
	step("enrolling at " + j.Address)
	return &api.Joined{Cluster: "prod", Node: "d", Raft: api.RaftNonvoter, Index: 42}, nil
}

func (o *operator) CreateToken(_ context.Context, ttl time.Duration) (api.Token, error) {
	return api.Token{
		Token: "ozmo1.id.secret.print", Expires: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Address: "a.example.net:7000",
	}, o.note("token for %v", ttl)
}

func (o *operator) DrainNode(_ context.Context, name string, drain bool) error {
	return o.note("drain %s %v", name, drain)
}

func (o *operator) RemoveNode(_ context.Context, name string) error {
	if err := o.note("remove %s", name); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.removals) == 0 {
		return nil
	}
	err := o.removals[0]
	o.removals = o.removals[1:]
	return err
}

func (o *operator) MoveLease(_ context.Context, m api.LeaseMove) error {
	return o.note("lease %s to %s", m.Network, m.To)
}

func (o *operator) Migrate(_ context.Context, m api.Migration) (api.Migrated, error) {
	return api.Migrated{Tenant: m.Tenant, To: m.To, Changed: true, Versions: 2}, o.note("migrate %q to %s", m.Tenant, m.To)
}

func (o *operator) PlaceTenant(_ context.Context, p api.Placement) error {
	text := "place " + p.Tenant
	if p.Pin != nil {
		text += fmt.Sprintf(" pin %q", *p.Pin)
	}
	if p.Weight != nil {
		text += fmt.Sprintf(" weight %d", *p.Weight)
	}
	if p.Priority != nil {
		text += fmt.Sprintf(" priority %d", *p.Priority)
	}
	return o.note("%s", text)
}

func (o *operator) Rebalance(_ context.Context, dryRun bool) (api.Rebalance, error) {
	r := o.rebalance
	r.DryRun = dryRun
	return r, o.note("rebalance %v", dryRun)
}

func (o *operator) Keyring(context.Context) (api.Keyring, error) {
	if o.later != nil {
		return *o.later, o.err
	}
	return o.keyring, o.err
}

func (o *operator) ChangeKeyring(_ context.Context, change, id string) (api.Keyring, error) {
	return o.keyring, o.note("keyring %s %q", change, id)
}

func (o *operator) Backup(_ context.Context, w io.Writer, stale bool) error {
	if stale {
		_ = o.note("backup what there is")
	}
	data := o.archive
	if o.cut {
		data = data[:len(data)/2]
	}
	if o.err != nil {
		return o.err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if o.cut {
		return errors.New("the disk failed")
	}
	return nil
}

func (o *operator) Restore(_ context.Context, r io.Reader, incomplete bool) (api.Restored, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return api.Restored{}, err
	}
	done := api.Restored{Index: 7, Tenants: 2, Networks: 1}
	if incomplete {
		done.Missing = []api.MissingDocuments{{Tenant: "acme", InForce: 1}, {Tenant: "bolt", Earlier: 2}}
		return done, o.note("restore %d bytes, complete or not", len(data))
	}
	return done, o.note("restore %d bytes", len(data))
}
