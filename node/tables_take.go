package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// surroundings are the shared networks, which tenants of tables may watch.
type surroundings struct {
	networks map[string]*spec.Network
	index    uint64 // log index of their version
}

func (t *tables) surroundings(v *fsm.View) (surroundings, error) {
	out := surroundings{networks: map[string]*spec.Network{}}
	all, ok := v.Tenant(fsm.Shared)
	if !ok {
		return out, nil
	}
	out.index = all.Current.Index
	for _, d := range all.Current.Manifest.Docs {
		n, err := store.Network(v, d)
		if err != nil {
			return out, err
		}
		out.networks[d.ID] = n
	}
	return out, nil
}

// takeOver puts in force what the rows of a tenant say, entirely or not at all. Its
// error wraps errRefused where only another content of the tables helps, another quota,
// or other shared networks.
func (t *tables) takeOver(ctx context.Context, rows *postgres.Rows, mark string, around surroundings) error {
	v := t.state.View()
	held, exists := v.Tenant(rows.Slug)
	if exists && held.Source != fsm.SourceTables {
		return fmt.Errorf("there is a tenant of that name from the %s: give one of them another name: %w", held.Source, errRefused)
	}
	if !exists {
		held = &fsm.Tenant{Current: fsm.Version{Manifest: &fsm.Manifest{}}}
	}
	folder, scripts, problems := readRows(rows, around.networks)
	problems = append(problems, match.CheckFolder(folder, around.networks)...)
	if err := problems.Err(); err != nil {
		return refusedUnlessAway(err)
	}
	if err := t.checkNetworks(rows.Slug, folder.Networks); err != nil {
		return refusedUnlessAway(err)
	}
	packed, err := store.PackBundle(ctx, rows.Slug, &spec.Bundle{
		Networks: folder.Networks, Monitors: folder.Monitors, Triggers: folder.Triggers, Scripts: scripts,
	}, folder.Networks, around.networks, tenantAPI{t.Node})
	if err != nil {
		return refusedUnlessAway(err)
	}
	quota := quotaOf(rows, held.Quota)
	if exists && held.Current.Manifest.Same(&packed.Manifest) {
		if quota == held.Quota {
			return nil
		}
		_, err := t.byTables(ctx, &fsm.SetQuota{Tenant: rows.Slug, Quota: quota, Expect: held.QuotaIndex}, "quota.put", rows.Slug)
		return err
	}
	c := &fsm.SetTenantVersion{Tenant: rows.Slug, Expect: held.Current.Number, At: time.Now().UnixMilli(), Source: fsm.SourceTables, Mark: mark}
	if quota != held.Quota { // or else it may refuse the version, and is never told
		c.Quota, c.QuotaExpect = &quota, held.QuotaIndex
	}
	if c.Manifest, err = t.place(ctx, v, rows.Slug, packed.Manifest, packed.Blobs); err != nil {
		return err
	}
	if _, err = t.byTables(ctx, c, "tenant.put", rows.Slug); errors.Is(err, fsm.ErrQuota) {
		return refusedUnlessAway(err)
	}
	return err
}

// refusedUnlessAway is the error of what is not looked at again before it changes,
// unless documents could only not be read.
func refusedUnlessAway(err error) error {
	if errors.Is(err, fsm.ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errRefused)
}

// tablesMany is how many triggers and scripts a tenant of tables may have where an
// operator has not said: the tables have no column for them. It is as many as the
// usual bound of monitors.
const tablesMany = 10_000

// quotaOf is the quota of a tenant of tables: what has a column is theirs to say, where
// it is empty as usual; of the rest, what an operator has said stays.
func quotaOf(rows *postgres.Rows, held fsm.Quota) fsm.Quota {
	held.Monitors, held.Networks, held.TriggersPerMonitor = rows.MaxMonitors, rows.MaxNetworks, rows.MaxPerMonitor
	held.Bytes, held.RPCPerMinute = int64(rows.MaxStorage)<<20, rows.MaxRPCPerMinute
	held.Triggers, held.Scripts = cmp.Or(held.Triggers, tablesMany), cmp.Or(held.Scripts, tablesMany)
	return held
}
