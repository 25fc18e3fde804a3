package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Outage is why the database does not serve at the moment.
type Outage struct {
	Since    time.Time
	ReadOnly bool  // it answers, and takes no changes
	Why      error // names hosts and users: it is for operators alone
}

// Brief says what it means, to anybody.
func (o *Outage) Brief() string {
	since := o.Since.UTC().Format(time.RFC3339)
	if o.ReadOnly {
		return "the tenant store in PostgreSQL takes no changes since " + since + ": they are refused; all else goes on"
	}
	return "the tenant store in PostgreSQL does not answer since " + since + ": running tenants go on, changes are refused, what moves here waits"
}

// Error says why as well, on one line.
func (o *Outage) Error() string {
	return o.Brief() + ": " + strings.Join(strings.Fields(o.Why.Error()), " ")
}

var errPreparing = errors.New("its schema is still being looked at, and brought up to date")

// Err is why the database does not serve at the moment, an *Outage; nil if it does.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil {
		return nil
	}
	return s.out
}

// Run brings the schema up to date and finds out whether the database answers, and is
// still this cluster's, until ctx ends. It returns only what makes going on pointless.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		if err := s.look(ctx); errors.Is(err, ErrForeign) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look asks whether the database is there, and whether it takes changes. While it is
// not there nobody else asks: to wait for an answer each time would be all they do.
func (s *Store) look(ctx context.Context) error {
	limit := pingTimeout
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready {
		if _, err := s.opts.Identity(ctx); err != nil {
			return nil // ctx has ended
		}
		limit = prepareTimeout
		slow := time.AfterFunc(pingTimeout, func() { s.note(errPreparing) })
		defer slow.Stop()
	}
	var readOnly string
	err := s.ask(ctx, limit, func(ctx context.Context) error {
		if err := s.pool.QueryRow(ctx, "show transaction_read_only").Scan(&readOnly); err != nil {
			return err
		}
		return s.claim(ctx, s.pool)
	})
	switch {
	case err != nil:
		s.mu.Lock()
		if s.out != nil && !s.out.ReadOnly {
			s.retry = time.Now().Add(pingInterval + pingTimeout + connectTimeout) // the next look is over by then
		}
		s.mu.Unlock()
	case readOnly == "on":
		s.noteReadOnly(errReadOnly)
	default:
		s.clear(true)
	}
	return err
}

var errReadOnly = errors.New("it is read-only, as a standby is")

// do asks the database within a limit, unless it has failed a moment ago. Errors
// wrap fsm.ErrUnreachable, or are of the question itself.
func (s *Store) do(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	s.mu.Lock()
	rests := time.Now().Before(s.retry)
	s.mu.Unlock()
	if rests {
		return fsm.ErrUnreachable
	}
	return s.ask(ctx, limit, f)
}

// ask is do, whatever was a moment ago.
func (s *Store) ask(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	if !ready {
		err = s.prepare(limited)
	}
	if err == nil {
		err = f(limited)
	}
	switch {
	case errors.Is(err, errUntold):
		return fmt.Errorf("%w: %w", fsm.ErrUnreachable, err)
	case err == nil || errors.Is(err, ErrForeign) || answered(err):
		s.clear(false)
		return err
	case refusesChanges(err):
		s.noteReadOnly(err)
		return fsm.ErrUnreachable
	case ctx.Err() != nil: // the caller has gone: that says nothing of the database
		return errors.Join(fsm.ErrUnreachable, ctx.Err())
	}
	s.note(err)
	return fsm.ErrUnreachable
}

// answered reports whether an error is the database's answer to a question, and not
// the lack of one.
func answered(err error) bool {
	if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, errDamaged) || errors.Is(err, fsm.ErrNotFound) {
		return true
	}
	switch class(err) {
	case "", "08", "28", "3D", "42", "53", "55", "57", "58", "25": // connection, login, no database, rights, resources, locks, shut down, read-only
		return false
	}
	return true
}

// refusesChanges reports whether the database answers, and takes no changes.
func refusesChanges(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "25006" // read_only_sql_transaction
}

// class is the class of the error that the database has answered with; "" for others.
func class(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && len(e.Code) == 5 {
		return e.Code[:2]
	}
	return ""
}

// note keeps that the database does not answer.
func (s *Store) note(err error) {
	s.mu.Lock()
	was := s.out
	s.out = &Outage{Since: time.Now(), Why: err}
	if was != nil && !was.ReadOnly {
		s.out.Since = was.Since
	}
	s.retry = time.Now().Add(restTime)
	s.mu.Unlock()
	if was == nil || was.ReadOnly {
		s.log.Error("the tenant store in PostgreSQL does not answer: running tenants go on, changes are refused, what moves here waits", "error", err)
	}
}

// noteReadOnly keeps that the database can only be read. Who is asked next may be
// another one: of several hosts in the URL, or the same one with other settings.
func (s *Store) noteReadOnly(err error) {
	s.pool.Reset()
	s.mu.Lock()
	was := s.out
	if was == nil || !was.ReadOnly {
		s.out = &Outage{Since: time.Now(), ReadOnly: true, Why: err}
	}
	s.retry = time.Time{}
	s.mu.Unlock()
	if was == nil || !was.ReadOnly {
		s.log.Error("the tenant store in PostgreSQL takes no changes: they are refused", "error", err)
	}
}

// clear keeps that the database has answered, and, if it was looked at, that it takes
// changes.
func (s *Store) clear(changes bool) {
	s.mu.Lock()
	was := s.out
	if was != nil && was.ReadOnly && !changes {
		s.mu.Unlock()
		return
	}
	s.out, s.retry = nil, time.Time{}
	s.mu.Unlock()
	if was != nil {
		s.log.Info("the tenant store in PostgreSQL answers again")
	}
}
