package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	server "github.com/ozmo-dev/ozmo/testcluster/postgres"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url, cluster string, cache int64) (*postgres.Store, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	s, err := postgres.New(postgres.Options{
		URL: url, Cluster: "test", Identity: func(context.Context) (string, error) { return cluster, nil }, Cache: cache, Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, log
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPostgresURLIsNeverTold(t *testing.T) {
	for _, url := range []string{"postgres://u:" + server.Password + "@h:port/d", "://" + server.Password, "host=h password=" + server.Password + " port=x"} {
		if err := postgres.CheckURL(url); err == nil || strings.Contains(err.Error(), server.Password) {
			t.Errorf("refused with %v", err)
		}
	}
	// What is wrong with TLS is told: nothing else would help.
	for part, want := range map[string]string{"sslmode=sometimes": "sslmode", "sslmode=verify-full&sslrootcert=/none/ca.pem": "/none/ca.pem"} {
		err := postgres.CheckURL("postgres://u:" + server.Password + "@h/d?" + part)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), server.Password) {
			t.Errorf("%s: refused with %v", part, err)
		}
	}
}

// Whoever sends passwords and documents where others may read them is told so.
func TestPostgresTellsOfAnUnsafeWay(t *testing.T) {
	for url, unsafe := range map[string]bool{
		"postgres://u:p@db.example.net/d":                     true,
		"postgres://u:p@db.example.net/d?sslmode=disable":     true,
		"postgres://u:p@db.example.net/d?sslmode=require":     true,
		"postgres://u:p@db.example.net/d?sslmode=verify-full": false,
		"postgres://u:p@127.0.0.1/d?sslmode=disable":          false,
		"postgres://u:p@/d?host=/var/run/postgresql":          false,
	} {
		_, log := open(t, url, "test", 0)
		if got := strings.Contains(log.String(), "sslmode=verify-full"); got != unsafe {
			t.Errorf("%s: told is %v, want %v", url, got, unsafe)
		}
	}
}

// Whatever is put comes back, from memory or from the database, in whatever order
// and by whoever asks.
func TestPostgresContents(t *testing.T) {
	db := server.Start(t)
	a, _ := open(t, db.URL(), "test", 0)
	b, _ := open(t, db.URL(), "test", 1) // keeps next to nothing in memory
	var blobs [][]byte
	var hashes []fsm.Hash
	for i := range 1200 {
		blobs = append(blobs, fmt.Appendf(nil, `{"n": %d}`, i))
	}
	blobs = append(blobs, []byte{}, []byte{0, 255, 1}, bytes.Repeat([]byte("large"), 1<<18))
	for _, data := range blobs {
		hashes = append(hashes, fsm.HashBlob(data))
	}
	for range 2 { // again is as good as once
		if err := a.Put(t.Context(), blobs, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*postgres.Store{a, b} {
		if err := s.Prefetch(append(hashes, fsm.HashBlob([]byte("none")))); err != nil {
			t.Fatal(err)
		}
		for i, h := range hashes {
			if i%50 != 0 && i < 1200 {
				continue
			}
			data, err := s.Content(h)
			if err != nil || !bytes.Equal(data, blobs[i]) {
				t.Fatalf("content %d: %d bytes, %v", i, len(data), err)
			}
		}
		if _, err := s.Content(fsm.HashBlob([]byte("none"))); !errors.Is(err, fsm.ErrUnreachable) || s.Err() != nil {
			t.Errorf("what is not there: %v; the database: %v", err, s.Err())
		}
		missing, err := s.Missing(t.Context(), append([]fsm.Hash{fsm.HashBlob([]byte("none"))}, hashes...))
		if err != nil || len(missing) != 1 || missing[0] != fsm.HashBlob([]byte("none")) {
			t.Errorf("missing are %v, %v", missing, err)
		}
	}
	if err := a.Put(t.Context(), nil, []fsm.Hash{hashes[0], fsm.HashBlob([]byte("none"))}); !errors.Is(err, fsm.ErrNotFound) {
		t.Errorf("keeping what is gone: %v", err)
	}
	// A row that is not what its hash says is not taken for it.
	db.Query(fmt.Sprintf(`update ozmo.contents set data = 'else' where hash = '\x%x'`, hashes[1][:]))
	if _, err := b.Content(hashes[1]); err == nil || errors.Is(err, fsm.ErrUnreachable) {
		t.Errorf("a damaged row: %v", err)
	}
}

// Several who want the same at once have it read once.
func TestPostgresReadsOnce(t *testing.T) {
	db := server.Start(t)
	writer, _ := open(t, db.URL(), "test", 0)
	var blobs [][]byte
	var hashes []fsm.Hash
	for i := range 3000 {
		blobs = append(blobs, fmt.Appendf(nil, "content %d", i))
		hashes = append(hashes, fsm.HashBlob(blobs[i]))
	}
	if err := writer.Put(t.Context(), blobs, nil); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	s, err := postgres.New(postgres.Options{
		URL: db.URL(), Cluster: "test", Identity: func(context.Context) (string, error) { return "test", nil }, Logger: slog.New(slog.DiscardHandler), Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := s.Prefetch(hashes); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	want := "# HELP ozmo_postgres_reads_total Contents read from the tenant store, by where they came from: cache or database.\n" +
		"# TYPE ozmo_postgres_reads_total counter\nozmo_postgres_reads_total{from=\"database\"} 3000\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "ozmo_postgres_reads_total"); err != nil {
		t.Error(err)
	}
}

func TestPostgresCollectsOnlyWhatIsOldAndUnused(t *testing.T) {
	db := server.Start(t)
	s, _ := open(t, db.URL(), "test", 0)
	used, idle, young, again := []byte("used"), []byte("idle"), []byte("young"), []byte("put again")
	if err := s.Put(t.Context(), [][]byte{used, idle, young, again}, nil); err != nil {
		t.Fatal(err)
	}
	db.Query("update ozmo.contents set put_at = now() - interval '2 hours' where data <> 'young'")
	n, err := s.Collect(t.Context(), time.Hour, func() (func(fsm.Hash) bool, error) {
		// A writer comes between the look and the deletion.
		if err := s.Put(t.Context(), [][]byte{again}, nil); err != nil {
			t.Fatal(err)
		}
		return func(h fsm.Hash) bool { return h == fsm.HashBlob(used) }, nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d were collected, %v", n, err)
	}
	if got := db.Query("select convert_from(data, 'UTF8') from ozmo.contents order by 1"); got != "put again\nused\nyoung" {
		t.Errorf("left are %q", got)
	}
	if _, err := s.Collect(t.Context(), 0, func() (func(fsm.Hash) bool, error) { return nil, context.Canceled }); err == nil {
		t.Error("collected without knowing what is used")
	}
}

// Nodes start together, on an empty database and on one that is up to date.
func TestPostgresSchemaByManyAtOnce(t *testing.T) {
	db := server.Start(t)
	for range 2 {
		var all sync.WaitGroup
		for i := range 8 {
			s, _ := open(t, db.URL(), "test", 0)
			all.Go(func() {
				if err := s.Put(t.Context(), [][]byte{[]byte("of all"), fmt.Appendf(nil, "of %d", i)}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if got := db.Query("select count(*) from ozmo.contents"); got != "9" {
		t.Errorf("%s contents", got)
	}
	if got := db.Query("select count(*) from ozmo.schema_version where version_id = 1"); got != "1" {
		t.Errorf("the first migration was made %s times", got)
	}
}

// Of two clusters of one name, or of one that was built anew, the second is refused
// while the first one is there, and gets the database when it is handed over. What is
// in it is spared until it has had the time to take it up.
func TestPostgresIsOfOneCluster(t *testing.T) {
	db := server.Start(t)
	first, _ := open(t, db.URL(), "one", 0)
	if err := first.Put(t.Context(), [][]byte{[]byte("kept")}, nil); err != nil {
		t.Fatal(err)
	}
	second, log := open(t, db.URL(), "two", 0)
	err := second.Run(t.Context())
	if !errors.Is(err, postgres.ErrForeign) || !strings.Contains(err.Error(), "delete from ozmo.cluster") || strings.Contains(err.Error()+log.String(), server.Password) {
		t.Errorf("another cluster's database: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	owner := func(want string) {
		t.Helper()
		eventually.Nil(t, func() error {
			if got := db.Query("select id from ozmo.cluster"); got != want {
				return fmt.Errorf("the database is of %q, want %q", got, want)
			}
			return nil
		})
	}
	db.Query("delete from ozmo.cluster")
	owner("one") // it is still there
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	db.Query("delete from ozmo.cluster; update ozmo.contents set put_at = now() - interval '2 hours'")
	if err := second.Put(t.Context(), [][]byte{[]byte("more")}, nil); err != nil {
		t.Error(err)
	}
	owner("two")
	none := func() (func(fsm.Hash) bool, error) { return func(fsm.Hash) bool { return false }, nil }
	if n, err := second.Collect(t.Context(), time.Hour, none); n != 0 || err != nil {
		t.Errorf("%d contents were collected of what was handed over, %v", n, err)
	}
	if err := first.Run(t.Context()); !errors.Is(err, postgres.ErrForeign) {
		t.Errorf("the first cluster goes on: %v", err)
	}
	db.Query("update ozmo.cluster set spare_until = now()")
	if n, err := second.Collect(t.Context(), time.Hour, none); n != 1 || err != nil {
		t.Errorf("%d contents were collected a day later, %v", n, err)
	}
}

// While it is not known which cluster this is, nothing is done, and the database is
// not blamed for it.
func TestPostgresWaitsToKnowTheCluster(t *testing.T) {
	known := make(chan struct{})
	s, err := postgres.New(postgres.Options{
		URL: server.Start(t).URL(), Cluster: "test", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Identity: func(ctx context.Context) (string, error) {
			select {
			case <-known:
				return "one", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, [][]byte{[]byte("early")}, nil); !errors.Is(err, fsm.ErrUnreachable) || s.Err() != nil {
		t.Errorf("put: %v; the database: %v", err, s.Err())
	}
	close(known)
	if err := s.Put(t.Context(), [][]byte{[]byte("early")}, nil); err != nil {
		t.Error(err)
	}
}

// A server that dies, or freezes, and comes back, is told at once and again made use
// of, without the URL in any message.
func TestPostgresDownAndBack(t *testing.T) {
	db := server.Start(t)
	for name, harm := range map[string][2]func(){
		"killed":  {db.Kill, db.Start},
		"stopped": {db.Stop, db.Start},
		"frozen":  {db.Pause, db.Resume},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := open(t, db.URL(), "test", 0)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			defer running.Wait()
			defer cancel()
			if err := s.Put(t.Context(), [][]byte{[]byte("kept")}, nil); err != nil {
				t.Fatal(err)
			}
			harm[0]()
			eventually.Nil(t, func() error {
				if s.Err() == nil {
					return errors.New("it is not noticed")
				}
				return nil
			})
			if err := s.Put(t.Context(), [][]byte{[]byte("more")}, nil); !errors.Is(err, fsm.ErrUnreachable) {
				t.Errorf("put: %v", err)
			}
			if _, err := s.Content(fsm.HashBlob([]byte("kept"))); err != nil {
				t.Errorf("what was read before: %v", err)
			}
			if _, err := s.Content(fsm.HashBlob([]byte("other"))); !errors.Is(err, fsm.ErrUnreachable) {
				t.Errorf("what was not: %v", err)
			}
			if told := s.Err().Error() + log.String(); strings.Contains(told, server.Password) || !strings.Contains(told, "does not answer") {
				t.Errorf("told was %s", told)
			}
			harm[1]()
			eventually.Nil(t, func() error { return s.Err() })
			if err := s.Put(t.Context(), [][]byte{[]byte("more")}, nil); err != nil {
				t.Errorf("after it is back: %v", err)
			}
		})
	}
}
