package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

// Marks are, by a tenant's slug, something that changes with its rows.
func (s *Source) Marks(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		with r (tenant_id, mark) as (
			select id, hashtextextended('t' || id::text || xmin::text, 0) from tenants
			union all select tenant_id, hashtextextended('n' || id::text || xmin::text, 0) from tenant_networks
			union all select tenant_id, hashtextextended('m' || id::text || xmin::text, 0) from tenant_monitors
			union all select tenant_id, hashtextextended('g' || id::text || xmin::text, 0) from tenant_triggers
			union all select tenant_id, hashtextextended('s' || id::text || xmin::text, 0) from trigger_scripts)
		select t.slug, t.id::text || ' ' || count(*) || ' ' || sum(r.mark) from r join tenants t on t.id = r.tenant_id group by t.slug, t.id`)
	if err != nil {
		return nil, sourceError(err)
	}
	out := map[string]string{}
	var slug, mark string
	_, err = pgx.ForEachRow(rows, []any{&slug, &mark}, func() error {
		out[slug] = mark
		return nil
	})
	return out, sourceError(err)
}

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

// Tenant reads all of one tenant at one moment; nil where there is none.
func (s *Source) Tenant(ctx context.Context, slug string) (*Rows, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	out := &Rows{Slug: slug, Scripts: map[string]Script{}}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var id string
		err := tx.QueryRow(ctx, `select id::text, coalesce(is_active, true), coalesce(max_monitors, 0), coalesce(max_networks, 0),
			coalesce(max_triggers_per_monitor, 0), coalesce(max_storage_mb, 0), coalesce(max_rpc_requests_per_minute, 0) from tenants where slug = $1`, slug).
			Scan(&id, &out.Active, &out.MaxMonitors, &out.MaxNetworks, &out.MaxPerMonitor, &out.MaxStorage, &out.MaxRPCPerMinute)
		if errors.Is(err, pgx.ErrNoRows) {
			out = nil
			return nil
		}
		if err != nil {
			return err
		}
		for _, part := range []struct {
			rows *[]Row
			sql  string
		}{
			{&out.Networks, "select network_id, coalesce(is_active, true), configuration::text, true, '{}'::text[] from tenant_networks where tenant_id = $1::uuid order by 1"},
			{&out.Monitors, `select m.monitor_id, coalesce(m.is_active, true), m.configuration::text, coalesce(n.is_active, true), coalesce(m.trigger_script_ids::text[], '{}')
				from tenant_monitors m left join tenant_networks n on n.id = m.network_id where m.tenant_id = $1::uuid order by 1`},
			{&out.Triggers, `select trigger_id, coalesce(is_active, true), configuration::text, true,
				case when script_id is null then '{}' else array[script_id::text] end from tenant_triggers where tenant_id = $1::uuid order by 1`},
		} {
			rows, err := tx.Query(ctx, part.sql, id)
			if err != nil {
				return err
			}
			*part.rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Row, err error) {
				err = row.Scan(&r.ID, &r.Active, &r.Config, &r.Network, &r.Scripts)
				return r, err
			})
			if err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, "select id::text, name, content from trigger_scripts where tenant_id = $1::uuid and coalesce(is_active, true)", id)
		if err != nil {
			return err
		}
		var script string
		var of Script
		_, err = pgx.ForEachRow(rows, []any{&script, &of.Name, &of.Content}, func() error {
			out.Scripts[script] = of
			return nil
		})
		return err
	})
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
