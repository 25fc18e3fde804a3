package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sparedAfterClaim is how long nothing is collected from a database that was another
// cluster's: what its contents are for comes back with that one's archive.
const sparedAfterClaim = 24 * time.Hour

// claim has the database be this cluster's, unless it is another's. It is asked again
// all the time: a cluster that runs takes a claim that was deleted for its own before
// anybody else gets it, and ends where it was too late.
func (s *Store) claim(ctx context.Context, db interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) error {
	var name, id string
	for {
		err := db.QueryRow(ctx, "select name, id from ozmo.cluster").Scan(&name, &id)
		if err == nil {
			break
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := db.Exec(ctx, `insert into ozmo.cluster (name, id, spare_until)
			select $1, $2, case when exists (select from ozmo.contents) then now() + $3::interval else now() end on conflict do nothing`,
			s.opts.Cluster, s.identity, sparedAfterClaim); err != nil {
			return err
		}
	}
	switch {
	case name == s.opts.Cluster && id == s.identity:
		return nil
	case name == s.opts.Cluster && id == "": // it was claimed when a name was all there was
		_, err := db.Exec(ctx, "update ozmo.cluster set id = $1 where id = ''", s.identity)
		return err
	}
	return fmt.Errorf("%w: it is of cluster %q (%s), this one is %q (%s). If that cluster is gone for good, and this one is to have its documents, "+
		"run `delete from ozmo.cluster` in the database, and start this node again: a cluster that is still there keeps it all the same; "+
		"docs/postgres.md says how an archive is restored", ErrForeign, name, id, s.opts.Cluster, s.identity)
}
