package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// tablesInterval is how often the tables of a tenant source are looked at, unless
// they tell by themselves.
const tablesInterval = 5 * time.Second

// tables takes tenants over from the tables of another program's database, on the
// leader.
type tables struct {
	*Node
	source *postgres.Source
	seen   map[string]string // marks at the last look
	marks  map[string]string // of tenants as they were taken over, or refused; empty when this node begins to lead

	mu      sync.Mutex
	refused map[string]string // why tenants keep what they had, by slug; "" is the whole source
}

func (n *Node) openTables() error {
	if n.opts.PostgresSourceURL == "" {
		return nil
	}
	source, err := postgres.NewSource(n.opts.PostgresSourceURL)
	if err != nil {
		return fmt.Errorf("--postgres-source-url: %w", err)
	}
	n.clean.push(source.Close)
	n.tables = &tables{Node: n, source: source, marks: map[string]string{}, refused: map[string]string{}}
	return nil
}

// run follows the tables until ctx ends.
func (t *tables) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := t.opts.SourceInterval
		if leads, _ := t.group.Leads(); !leads || t.group.Barrier(ctx) != nil {
			clear(t.marks)
			t.forget()
			pause = min(pause, time.Second)
		} else {
			t.note("", t.look(ctx))
		}
		t.wait(ctx, pause)
	}
}

// wait returns after a while, or when the tables tell that they have changed.
func (t *tables) wait(ctx context.Context, pause time.Duration) {
	limited, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if leads, _ := t.group.Leads(); leads && t.source.Wait(limited, func() bool {
		now, err := t.source.Marks(limited)
		return err != nil || maps.Equal(now, t.seen)
	}) == nil {
		return
	}
	<-limited.Done()
}

// look takes over what has changed.
func (t *tables) look(ctx context.Context) error {
	marks, err := t.source.Marks(ctx)
	if err != nil {
		return err
	}
	t.seen = marks
	v := t.state.View()
	if len(marks) == 0 && t.hasTenants(fsm.SourceTables) {
		return errors.New("the tables of the tenant source hold no tenant at all: nothing was deleted; to end the last tenant, set its is_active to false")
	}
	for slug, mark := range marks {
		if t.marks[slug] == mark {
			continue
		}
		rows, err := t.source.Tenant(ctx, slug)
		if err != nil {
			return err
		}
		if rows == nil {
			continue // it was deleted meanwhile: the next look sees that
		}
		err = t.takeOver(ctx, rows)
		t.note(slug, err)
		if err == nil || errors.Is(err, errRefused) {
			t.marks[slug] = mark // what is not mended is not looked at again
		}
	}
	for held := range v.Tenants() {
		if _, ok := marks[held.ID]; ok || held.Source != fsm.SourceTables {
			continue
		}
		c := &fsm.DeleteTenant{Tenant: held.ID, Expect: held.Current.Number, At: time.Now().UnixMilli(), Source: fsm.SourceTables}
		if _, err := t.byTables(ctx, c, "tenant.delete", held.ID); err != nil && !errors.Is(err, fsm.ErrNotFound) {
			return err
		}
		delete(t.marks, held.ID)
		t.note(held.ID, nil)
		t.log.Warn("a tenant is gone from the tables of the tenant source and was deleted", "tenant", held.ID)
	}
	return nil
}

func (t *tables) byTables(ctx context.Context, c fsm.Command, action, tenant string) (any, error) {
	return t.proposeAudited(ctx, c, fsm.Audit{Tenant: tenant, Actor: "tables", Address: t.opts.Name, Action: action, Object: tenant})
}

// takeOver puts in force what the rows of a tenant say, entirely or not at all. Its
// error wraps errRefused where only another content of the tables helps.
func (t *tables) takeOver(ctx context.Context, rows *postgres.Rows) error {
	v := t.state.View()
	held, exists := v.Tenant(rows.Slug)
	if exists && held.Source != fsm.SourceTables {
		return fmt.Errorf("there is a tenant of that name from the %s: give one of them another name: %w", held.Source, errRefused)
	}
	shared := map[string]*spec.Network{}
	if all, ok := v.Tenant(fsm.Shared); ok {
		for _, d := range all.Current.Manifest.Docs {
			n, err := store.Network(v, d)
			if err != nil {
				return err
			}
			shared[d.ID] = n
		}
	}
	folder, scripts, problems := readRows(rows, shared)
	problems = append(problems, match.CheckFolder(folder, shared)...)
	if err := problems.Err(); err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	if err := t.checkNetworks(rows.Slug, folder.Networks); err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	packed, err := store.PackBundle(ctx, rows.Slug, &spec.Bundle{
		Networks: folder.Networks, Monitors: folder.Monitors, Triggers: folder.Triggers, Scripts: scripts,
	}, folder.Networks, shared, tenantAPI{t.Node})
	if err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	c := &fsm.SetTenantVersion{Tenant: rows.Slug, At: time.Now().UnixMilli(), Source: fsm.SourceTables}
	if exists {
		c.Expect = held.Current.Number
	}
	if !exists || !held.Current.Manifest.Same(&packed.Manifest) {
		if c.Manifest, err = t.place(ctx, v, rows.Slug, packed.Manifest, packed.Blobs); err != nil {
			return err
		}
		if _, err := t.byTables(ctx, c, "tenant.put", rows.Slug); err != nil {
			return err
		}
	}
	return t.takeOverQuota(ctx, rows)
}

func (t *tables) takeOverQuota(ctx context.Context, rows *postgres.Rows) error {
	held, ok := t.state.View().Tenant(rows.Slug)
	if !ok {
		return nil
	}
	quota := held.Quota
	quota.Monitors, quota.Networks, quota.TriggersPerMonitor, quota.Bytes = rows.MaxMonitors, rows.MaxNetworks, rows.MaxPerMonitor, int64(rows.MaxStorage)<<20
	quota.RPCPerMinute = rows.MaxRPCPerMinute
	if quota == held.Quota {
		return nil
	}
	_, err := t.byTables(ctx, &fsm.SetQuota{Tenant: rows.Slug, Quota: quota, Expect: held.QuotaIndex}, "quota.put", rows.Slug)
	return err
}

// note keeps why a tenant keeps what it had, and tells it when that is news.
func (t *tables) note(slug string, err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	t.mu.Lock()
	was := t.refused[slug]
	if why == "" {
		delete(t.refused, slug)
	} else {
		t.refused[slug] = why
	}
	n := len(t.refused)
	t.mu.Unlock()
	t.metrics.tables.Set(float64(n))
	switch {
	case why == was:
	case why == "":
		t.log.Info("the tables of the tenant source are taken over again", "tenant", slug)
	default:
		t.log.Error("the tables of the tenant source were not taken over: what was there stays", "tenant", slug, "error", why)
	}
}

// forget ends what only a leader knows.
func (t *tables) forget() {
	t.mu.Lock()
	clear(t.refused)
	t.mu.Unlock()
	t.metrics.tables.Set(0)
}

// problems are for the status.
func (t *tables) problems() (out []string) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for slug, why := range t.refused {
		if slug == "" {
			out = append(out, why)
			continue
		}
		first, _, _ := strings.Cut(why, "\n")
		out = append(out, fmt.Sprintf("tenant %s keeps what it had: the tables of the tenant source: %s", slug, first))
	}
	slices.Sort(out)
	return out
}

// SourceSQL makes the tables of a tenant source tell what changes.
var SourceSQL = postgres.SourceSQL
