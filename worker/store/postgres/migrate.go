package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is held while the schema is brought up to date: nodes start
// together.
const migrationLock = 0x6f7a6d6f // "ozmo"

// prepare migrates once.
func (s *Store) prepare(ctx context.Context) error {
	identity, err := s.opts.Identity(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errUntold, err)
	}
	select {
	case s.preparing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.preparing }()
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if ready {
		return nil
	}
	s.identity = identity
	if err = s.migrate(ctx); err == nil {
		s.mu.Lock()
		s.ready = true
		s.mu.Unlock()
	}
	return err
}

// migrate brings the schema up to date, and claims the database for the cluster.
func (s *Store) migrate(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if s.upToDate(ctx, conn) {
		return s.claim(ctx, conn)
	}
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return err
	}
	defer func() {
		// A connection that cannot let go of the lock is closed, which does.
		if _, err := conn.Exec(ctx, "select pg_advisory_unlock($1)", int64(migrationLock)); err != nil {
			_ = conn.Conn().Close(context.WithoutCancel(ctx))
		}
	}()
	if _, err := conn.Exec(ctx, "create schema if not exists ozmo"); err != nil {
		return fmt.Errorf("making the schema ozmo, for which the user needs the right to create in the database: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName("ozmo.schema_version"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the schema up to date: %w", err)
	}
	return s.claim(ctx, conn)
}

// upToDate reports whether the schema is what this version makes, or a newer one
// makes: that takes one question, and can be told by a database that takes no changes.
func (s *Store) upToDate(ctx context.Context, conn *pgxpool.Conn) bool {
	var has int64
	err := conn.QueryRow(ctx, "select max(version_id) from ozmo.schema_version where is_applied").Scan(&has)
	return err == nil && has >= newest
}

// newest is the version of the last migration.
var newest = func() (last int64) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, f := range files {
		number, err := goose.NumericComponent(f.Name())
		if err != nil {
			panic(err)
		}
		last = max(last, number)
	}
	return last
}()
