package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
)

// recordUntilKilled, set in the environment, makes the test binary a process
// that records into the journal of that name until it is killed.
const recordUntilKilled = "OZMO_TEST_JOURNAL"

func TestMain(m *testing.M) {
	if path := os.Getenv(recordUntilKilled); path != "" {
		record(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// record records alerts one by one and prints the number of each that is
// certainly kept.
func record(path string) {
	j, err := Open(Options{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err) // the test sees that nothing is printed
	}
	for n := uint64(0); ; n++ {
		j.Record([]Alert{sample("acme", "net", n)})
		j.Flush()
		if _, err := os.Stdout.WriteString(strconv.FormatUint(n, 10) + "\n"); err != nil {
			return
		}
	}
}

func sample(tenant, network string, height uint64) Alert {
	now := time.Now().Truncate(time.Millisecond).UTC()
	return Alert{
		ID: fmt.Sprintf("%032x", height), Tenant: tenant, MonitorID: "m", MonitorName: "Monitor", Network: network,
		Block: fsm.BlockRef{Height: height, Hash: fsm.Hash{byte(height), 1}}, Tx: "0x1", Version: 2,
		FiredAt: now,
		History: []Change{{
			State: "fired", Position: height + 1, At: now, Deliveries: []Delivery{{Key: "k", Trigger: "hook", Outcome: "sent"}},
		}},
		Variables: map[string]string{"monitor.name": "Monitor"},
	}
}

func open(t *testing.T, change func(*Options)) *Journal {
	t.Helper()
	o := Options{Path: filepath.Join(t.TempDir(), "journal.db"), Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func query(t *testing.T, j *Journal, tenant, network string, from, to uint64) (out []Alert) {
	t.Helper()
	for a, err := range j.Alerts(tenant, network, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func heights(list []Alert) (out []uint64) {
	for _, a := range list {
		out = append(out, a.Block.Height)
	}
	return out
}

func TestQuery(t *testing.T) {
	j := open(t, nil)
	want := sample("acme", "net", 300)
	var batch []Alert
	for _, h := range []uint64{5, 1 << 40, 300, 7, 256} { // bytes must not be compared as text
		batch = append(batch, sample("acme", "net", h))
	}
	batch[2] = want
	batch = append(batch,
		sample("acme", "net2", 6), sample("acme", "acme/net", 6), sample("acm", "net", 6), sample("acme2", "net", 6))
	j.Record(batch)
	for _, tc := range []struct {
		tenant, network string
		from, to        uint64
		want            []uint64
	}{
		{"acme", "net", 0, ^uint64(0), []uint64{5, 7, 256, 300, 1 << 40}},
		{"acme", "net", 7, 300, []uint64{7, 256, 300}},
		{"acme", "net", 8, 255, nil},
		{"acme", "net", 300, 7, nil},
		{"acme", "net2", 0, 100, []uint64{6}},
		{"acme", "acme/net", 0, 100, []uint64{6}},
		{"acm", "net", 0, 100, []uint64{6}},
		{"acme", "ne", 0, 100, nil},
		{"", "net", 0, 100, nil},
	} {
		if got := heights(query(t, j, tc.tenant, tc.network, tc.from, tc.to)); !slices.Equal(got, tc.want) {
			t.Errorf("%s on %s, %d to %d: %v, want %v", tc.tenant, tc.network, tc.from, tc.to, got, tc.want)
		}
	}
	got := query(t, j, "acme", "net", 300, 300)
	if diff := cmp.Diff([]Alert{want}, got); diff != "" {
		t.Errorf("read back differs (-recorded +read):\n%s", diff)
	}
	for _, err := range j.Alerts("acme", "net", 0, ^uint64(0)) {
		if err != nil {
			t.Error(err)
		}
		break // who has seen enough is told no more
	}
	if !j.Has(&want) {
		t.Error("Has does not find what Alerts does")
	}
	other := want
	other.Block.Hash = fsm.Hash{9}
	if j.Has(&other) {
		t.Error("Has finds an alert of another block")
	}
}

// What an alert goes through is kept: every state once, with all its deliveries.
func TestHistory(t *testing.T) {
	j := open(t, func(o *Options) { o.KeepCount = 3 })
	a := sample("acme", "net", 1)
	say := func(state string, position uint64, variables map[string]string, deliveries ...Delivery) {
		next := a
		next.FiredAt = a.FiredAt.Add(time.Duration(position) * time.Minute)
		next.Variables = variables
		next.History = []Change{{State: state, Position: position, At: next.FiredAt, Deliveries: deliveries}}
		j.Record([]Alert{next})
	}
	j.Record([]Alert{a})
	say("retracted", 7, nil, Delivery{"r", "hook", "outbox"})
	say("confirmed", 5, nil, Delivery{"c", "hook", "sent"})
	say("retracted", 7, nil, Delivery{"r", "hook", "sent"}, Delivery{"s", "mail", "dead"})
	say("reinstated", 9, map[string]string{"monitor.name": "Renamed"}, Delivery{"i", "hook", "sent"})
	j.Record([]Alert{sample("acme", "net", 2), sample("acme", "net", 3)})
	got := query(t, j, "acme", "net", 0, 10)
	if len(got) != 3 || got[0].State() != "reinstated" || got[1].State() != "fired" {
		t.Fatalf("%+v: want three alerts, the first reinstated", got)
	}
	want := a
	want.Variables = map[string]string{"monitor.name": "Renamed"}
	at := func(position int) time.Time { return a.FiredAt.Add(time.Duration(position) * time.Minute) }
	want.History = append(slices.Clone(a.History),
		Change{"confirmed", 5, at(5), []Delivery{{"c", "hook", "sent"}}},
		Change{"retracted", 7, at(7), []Delivery{{"r", "hook", "sent"}, {"s", "mail", "dead"}}},
		Change{"reinstated", 9, at(9), []Delivery{{"i", "hook", "sent"}}})
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("kept differs (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		state    string
		position uint64
		want     bool
	}{{"fired", 2, true}, {"retracted", 7, true}, {"retracted", 11, false}, {"confirmed", 7, false}} {
		a.History = []Change{{State: tc.state, Position: tc.position}}
		if got := j.Has(&a); got != tc.want {
			t.Errorf("Has %s at %d: %v", tc.state, tc.position, got)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Run("count", func(t *testing.T) {
		j := open(t, func(o *Options) { o.KeepCount = 10 })
		began := time.Now()
		for h := range uint64(25) {
			a := sample("acme", "net", h)
			a.FiredAt = began.Add(time.Duration(h) * time.Second)
			j.Record([]Alert{a})
		}
		if got := heights(query(t, j, "acme", "net", 0, 100)); !slices.Equal(got, []uint64{15, 16, 17, 18, 19, 20, 21, 22, 23, 24}) {
			t.Errorf("kept %v, want the ten newest", got)
		}
		if gone, ok := j.GoneUpTo("acme", "net"); !ok || gone != 14 {
			t.Errorf("gone up to %d, %v, want 14", gone, ok)
		}
		if _, ok := j.GoneUpTo("acme", "other"); ok {
			t.Error("a network without alerts has lost some")
		}
	})
	t.Run("age", func(t *testing.T) {
		j := open(t, func(o *Options) { o.KeepFor = time.Hour })
		old, young := sample("acme", "net", 1), sample("acme", "net", 2)
		old.FiredAt = time.Now().Add(-2 * time.Hour)
		j.Record([]Alert{old, young})
		if got := heights(query(t, j, "acme", "net", 0, 100)); !slices.Equal(got, []uint64{2}) {
			t.Errorf("kept %v, want 2", got)
		}
	})
	t.Run("reopened with less", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "journal.db")
		for _, keep := range []int{100, 5} {
			j, err := Open(Options{Path: path, Logger: slog.New(slog.DiscardHandler), KeepCount: keep})
			if err != nil {
				t.Fatal(err)
			}
			for h := range uint64(20) {
				a := sample("acme", "net", h+uint64(keep)*1000)
				a.FiredAt = time.Now().Add(time.Duration(h) * time.Millisecond)
				j.Record([]Alert{a})
			}
			if got := len(query(t, j, "acme", "net", 0, ^uint64(0))); got != min(keep, 20) {
				t.Errorf("%d kept, want %d", got, min(keep, 20))
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCloseKeepsWhatWasRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	o := Options{Path: path, Logger: slog.New(slog.DiscardHandler)}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for h := range uint64(500) {
		j.Record([]Alert{sample("acme", "net", h)})
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a journal in use was opened again: %v", err)
	}
	for range 2 {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	// Using it after the end does nothing, and does not hang.
	j.Record([]Alert{sample("acme", "net", 1000)})
	j.Flush()
	for _, err := range j.Alerts("acme", "net", 0, 1) {
		if !errors.Is(err, bbolt.ErrDatabaseNotOpen) { //nolint:staticcheck // of bbolt's own package in this version
			t.Errorf("error %v, want that the journal is closed", err)
		}
	}
	if j, err = Open(o); err != nil {
		t.Fatal(err)
	}
	if got := len(query(t, j, "acme", "net", 0, 999)); got != 500 {
		t.Errorf("%d alerts kept, want 500", got)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// What Flush has confirmed survives a kill at any moment.
func TestAbruptStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), recordUntilKilled+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var confirmed uint64
	for lines.Scan() && confirmed < 20 {
		if confirmed, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Errorf("the process says %q", lines.Text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // until the pipe ends with the process
	_ = cmd.Wait()                  // it was killed
	if confirmed < 20 {
		t.Fatalf("only %d alerts were confirmed", confirmed)
	}
	j := open(t, func(o *Options) { o.Path = path })
	got := heights(query(t, j, "acme", "net", 0, confirmed))
	for h := range confirmed + 1 {
		if !slices.Contains(got, h) {
			t.Errorf("alert %d was confirmed and is lost", h)
		}
	}
	j.Record([]Alert{sample("acme", "net", 1<<30)})
	if got := query(t, j, "acme", "net", 1<<30, 1<<30); len(got) != 1 {
		t.Error("the journal does not go on after the stop")
	}
}

func TestConcurrentUse(t *testing.T) {
	j := open(t, nil)
	const writers, each = 4, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				a := sample("acme", "net", uint64(w*each+i))
				j.Record([]Alert{a})
				switch i % 10 {
				case 0:
					j.Flush()
					if !j.Has(&a) {
						t.Errorf("alert %d is not there after Flush", a.Block.Height)
					}
				case 5:
					query(t, j, "acme", "net", 0, ^uint64(0))
				}
			}
		})
	}
	all.Wait()
	if got := len(query(t, j, "acme", "net", 0, ^uint64(0))); got != writers*each {
		t.Errorf("%d alerts, want %d", got, writers*each)
	}
}

// A journal that cannot be written says so and costs nothing else.
func TestCannotBeWritten(t *testing.T) {
	var said bytes.Buffer
	j := open(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
	broken := sample("acme", "net", 1)
	broken.ID = strings.Repeat("x", bbolt.MaxKeySize)
	j.Record([]Alert{broken})
	j.Flush()
	if !strings.Contains(said.String(), "alerts are missing") {
		t.Errorf("the log says %q", said.String())
	}
	j.Record([]Alert{sample("acme", "net", 2)})
	if got := heights(query(t, j, "acme", "net", 0, 10)); !slices.Equal(got, []uint64{2}) {
		t.Errorf("kept %v, want 2", got)
	}
}

func TestDamagedAlert(t *testing.T) {
	j := open(t, nil)
	a := sample("acme", "net", 1)
	err := j.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketAlerts).Put(alertKey(&a), []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range j.Alerts("acme", "net", 0, 10) {
		got = err
	}
	if got == nil {
		t.Error("a damaged alert is passed over in silence")
	}
}

func TestOpenFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no such folder", "journal.db")
	if _, err := Open(Options{Path: path, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
}
