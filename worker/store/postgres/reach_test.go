package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	server "github.com/ozmo-dev/ozmo/testcluster/postgres"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// running has a store look after its database until the test ends.
func running(t *testing.T, s *postgres.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); all.Wait() })
}

// A database that takes no changes is read all the same, also by a node that starts,
// and is told of once, until it takes them again.
func TestPostgresReadOnly(t *testing.T) {
	db := server.Start(t)
	s, log := open(t, db.URL(), "test", 1) // keeps next to nothing in memory
	running(t, s)
	kept := []byte("kept for long, and read again")
	if err := s.Put(t.Context(), [][]byte{kept}, nil); err != nil {
		t.Fatal(err)
	}
	set := func(mode string) {
		db.Query("set default_transaction_read_only = off; alter database ozmo set default_transaction_read_only = " + mode +
			"; select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ozmo'")
	}
	set("on")
	eventually.Nil(t, func() error {
		var out *postgres.Outage
		if err := s.Err(); !errors.As(err, &out) || !out.ReadOnly || !strings.Contains(err.Error(), "takes no changes") {
			return fmt.Errorf("told is %v", err)
		}
		return nil
	})
	late, _ := open(t, db.URL(), "test", 1)
	running(t, late)
	for range 3 {
		if err := s.Put(t.Context(), [][]byte{[]byte("more")}, nil); !errors.Is(err, fsm.ErrUnreachable) {
			t.Errorf("put: %v", err)
		}
		for _, who := range []*postgres.Store{s, late} {
			if _, err := who.Content(fsm.HashBlob(kept)); err != nil {
				t.Errorf("a read: %v", err)
			}
		}
	}
	if n := strings.Count(log.String(), "takes no changes"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, log)
	}
	set("off")
	eventually.Nil(t, s.Err)
	if err := s.Put(t.Context(), [][]byte{[]byte("more")}, nil); err != nil {
		t.Errorf("after it takes changes again: %v", err)
	}
}

// A schema that takes long is waited for, and that is told.
func TestPostgresSchemaThatTakesLong(t *testing.T) {
	db := server.Start(t)
	other, err := pgx.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	if _, err := other.Exec(t.Context(), "select pg_advisory_lock(x'6f7a6d6f'::bigint)"); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, db.URL(), "test", 0)
	running(t, s)
	eventually.Nil(t, func() error {
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "schema") {
			return fmt.Errorf("told is %v", err)
		}
		return nil
	})
	if err := s.Put(t.Context(), [][]byte{[]byte("early")}, nil); !errors.Is(err, fsm.ErrUnreachable) {
		t.Errorf("put: %v", err)
	}
	if _, err := other.Exec(t.Context(), "select pg_advisory_unlock_all()"); err != nil {
		t.Fatal(err)
	}
	eventually.Nil(t, s.Err)
	if err := s.Put(t.Context(), [][]byte{[]byte("early")}, nil); err != nil {
		t.Error(err)
	}
}

// Who may not make the schema is told what is missing, on one line and in short.
func TestPostgresWithoutTheRight(t *testing.T) {
	db := server.Start(t)
	db.Query("create role weak login")
	s, _ := open(t, strings.Replace(db.URL(), "://ozmo:", "://weak:", 1), "test", 0)
	running(t, s)
	eventually.Nil(t, func() error {
		var out *postgres.Outage
		err := s.Err()
		if !errors.As(err, &out) || !strings.Contains(err.Error(), "right to create") || strings.ContainsAny(err.Error(), "\n\t") {
			return fmt.Errorf("told is %v", err)
		}
		if brief := out.Brief(); strings.Contains(brief, "right to create") || !strings.Contains(brief, "does not answer") {
			return fmt.Errorf("told everybody is %q", brief)
		}
		return nil
	})
}
