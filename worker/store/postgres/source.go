package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ozmo-dev/ozmo/fsm"
)

// SourceSQL makes a database with the tables of a Source tell at once what changes
// there.
//
//go:embed source.sql
var SourceSQL string

// Source is a database of another program, with the tables tenants,
// tenant_networks, tenant_monitors, tenant_triggers and trigger_scripts. It is only
// ever read.
type Source struct{ pool *pgxpool.Pool }

// NewSource makes a source, whether its database answers or not.
func NewSource(url string) (*Source, error) {
	pool, err := connect(url)
	if err != nil {
		return nil, err
	}
	return &Source{pool}, nil
}

// Close ends all connections.
func (s *Source) Close() error {
	s.pool.Close()
	return nil
}

// Seen is what a look at the tables has found.
type Seen struct {
	// Marks are, by a tenant's slug, something that changes with its rows.
	Marks    map[string]string
	snapshot string // of the whole server; while it is the same, so is what is seen
}

// Look finds out what has changed. It returns the last one itself where nothing at all
// was committed since: that costs next to nothing, however much there is.
func (s *Source) Look(ctx context.Context, last *Seen) (*Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	next := &Seen{Marks: map[string]string{}}
	err := pgx.BeginTxFunc(ctx, s.pool, oneMoment, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select pg_current_snapshot()::text").Scan(&next.snapshot); err != nil {
			return err
		}
		if last != nil && last.snapshot == next.snapshot {
			next = last
			return nil
		}
		rows, err := tx.Query(ctx, `
			with r (tenant_id, mark) as (
				select id, hashtextextended('t' || id::text || xmin::text, 0) from tenants
				union all select tenant_id, hashtextextended('n' || id::text || xmin::text, 0) from tenant_networks
				union all select tenant_id, hashtextextended('m' || id::text || xmin::text, 0) from tenant_monitors
				union all select tenant_id, hashtextextended('g' || id::text || xmin::text, 0) from tenant_triggers
				union all select tenant_id, hashtextextended('s' || id::text || xmin::text, 0) from trigger_scripts)
			select t.slug, t.id::text || ' ' || r.rows || ' ' || r.mark
			from (select tenant_id, count(*) as rows, sum(mark) as mark from r group by tenant_id) r join tenants t on t.id = r.tenant_id where t.slug is not null`)
		if err != nil {
			return err
		}
		var slug, mark string
		_, err = pgx.ForEachRow(rows, []any{&slug, &mark}, func() error {
			next.Marks[slug] = fsm.HashBlob([]byte(mark)).String()[2:18]
			return nil
		})
		return err
	})
	return next, sourceError(err)
}

// oneMoment is how several questions are asked that belong together.
var oneMoment = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

func sourceError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the tables of the tenant source cannot be read: %w", err)
}

// Rows are what the tables have of one tenant.
type Rows struct {
	Slug                                    string
	Active                                  bool
	MaxMonitors, MaxNetworks, MaxPerMonitor int // 0: not said
	MaxStorage                              int // MiB; 0: not said
	MaxRPCPerMinute                         int // 0: not said
	Networks, Monitors, Triggers            []Row
	Scripts                                 map[string]Script // by id
}

// Row is a document of a tenant.
type Row struct {
	ID      string // network_id, monitor_id, trigger_id
	Active  bool
	Config  []byte
	Network bool     // of a monitor: its network is active, or it names none
	Scripts []string // ids, of a monitor in the order of its trigger conditions
}

// Script is a row of trigger_scripts.
type Script struct{ Name, Content string }

// ErrUnfit: what the tables have of a tenant is not of the kind that it should be.
var ErrUnfit = errors.New("the tables hold something else than expected")

// unfit reports whether an error is of a value, and not of the tables as a whole.
func unfit(err error) bool {
	_, ok := errors.AsType[pgx.ScanArgError](err)
	return ok || class(err) == "22" // data exception
}

// What is asked of a tenant, by slug, in one go. Columns that are empty are read as
// empty texts: whoever checks the documents says what is wrong with them.
const (
	askTenant = `select coalesce(is_active, true), coalesce(max_monitors, 0), coalesce(max_networks, 0), coalesce(max_triggers_per_monitor, 0),
		coalesce(max_storage_mb, 0), coalesce(max_rpc_requests_per_minute, 0) from tenants where slug = $1`
	askNetworks = `select coalesce(network_id, ''), coalesce(is_active, true), coalesce(configuration::text, ''), true, '{}'::text[]
		from tenant_networks where tenant_id = (select id from tenants where slug = $1) order by 1`
	askMonitors = `select coalesce(m.monitor_id, ''), coalesce(m.is_active, true), coalesce(m.configuration::text, ''), coalesce(n.is_active, true),
		array(select coalesce(id::text, '') from unnest(m.trigger_script_ids) with ordinality as s (id, place) order by place)
		from tenant_monitors m left join tenant_networks n on n.id = m.network_id where m.tenant_id = (select id from tenants where slug = $1) order by 1`
	askTriggers = `select coalesce(trigger_id, ''), coalesce(is_active, true), coalesce(configuration::text, ''), true, case when script_id is null then '{}' else array[script_id::text] end
		from tenant_triggers where tenant_id = (select id from tenants where slug = $1) order by 1`
	askScripts = `select id::text, coalesce(name, ''), coalesce(content, '') from trigger_scripts
		where tenant_id = (select id from tenants where slug = $1) and coalesce(is_active, true)`
)

// Tenant reads all of one tenant at one moment; nil where there is none. Its error
// wraps ErrUnfit where it is of this tenant alone.
func (s *Source) Tenant(ctx context.Context, slug string) (*Rows, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	out := &Rows{Slug: slug, Scripts: map[string]Script{}}
	documents := func(into *[]Row) func(pgx.Rows) error {
		return func(rows pgx.Rows) (err error) {
			*into, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Row, err error) {
				err = row.Scan(&r.ID, &r.Active, &r.Config, &r.Network, &r.Scripts)
				return r, err
			})
			return err
		}
	}
	b := &pgx.Batch{}
	b.Queue(askTenant, slug).QueryRow(func(row pgx.Row) error {
		return row.Scan(&out.Active, &out.MaxMonitors, &out.MaxNetworks, &out.MaxPerMonitor, &out.MaxStorage, &out.MaxRPCPerMinute)
	})
	b.Queue(askNetworks, slug).Query(documents(&out.Networks))
	b.Queue(askMonitors, slug).Query(documents(&out.Monitors))
	b.Queue(askTriggers, slug).Query(documents(&out.Triggers))
	b.Queue(askScripts, slug).Query(func(rows pgx.Rows) error {
		var id string
		var script Script
		_, err := pgx.ForEachRow(rows, []any{&id, &script.Name, &script.Content}, func() error {
			out.Scripts[id] = script
			return nil
		})
		return err
	})
	err := pgx.BeginTxFunc(ctx, s.pool, oneMoment, func(tx pgx.Tx) error { return tx.SendBatch(ctx, b).Close() })
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if unfit(err) {
		return nil, fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return out, sourceError(err)
}

// Wait returns when the tables tell that something has changed, if they do, or when
// ctx ends, or with an error when they cannot be listened to. same is asked once it
// listens: what has changed before, nobody tells any more.
func (s *Source) Wait(ctx context.Context, same func() bool) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return sourceError(err)
	}
	// What was listened to is not to be heard by who has the connection next.
	raw := conn.Hijack()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = raw.Close(closing) // nothing was written
	}()
	if _, err = raw.Exec(ctx, "listen ozmo_source"); err == nil && same() {
		_, err = raw.WaitForNotification(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return sourceError(err)
}
