package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

var update = flag.Bool("update", false, "write the golden files anew")

var dawn = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

func try(tenant, key string, n int, at time.Time) Attempt {
	return Attempt{
		Tenant: tenant, Key: key, Alert: "4f", State: "fired", Position: 12, MonitorID: "m", Monitor: "Monitor", Network: "net",
		Block: fsm.BlockRef{Height: 100, Hash: fsm.Hash{1}}, Tx: "0x1", Trigger: "hook", Destination: "https://hook.example", Node: "a",
		Round: n, Began: at, Latency: 12 * time.Millisecond, Status: 503, Outcome: OutcomeFailed, Error: "answered 503", Excerpt: "busy",
	}
}

// numbersOf lists attempts by key and number.
func numbersOf(t *testing.T, seq func(func(Attempt, error) bool)) (out []string) {
	t.Helper()
	for a, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s/%s/%d", a.Tenant, a.Key, a.Round))
	}
	return out
}

func TestAttempts(t *testing.T) {
	j := open(t, func(o *Options) { o.KeepAttemptsFor = 1 << 62 })
	want := try("acme", "k1", 2, dawn.Add(time.Minute))
	list := []Attempt{
		try("acme", "k1", 1, dawn), want, try("acme", "k1", 3, dawn.Add(time.Hour)),
		try("acme", "k10", 1, dawn.Add(time.Minute)), try("beta", "k1", 1, dawn.Add(2*time.Minute)), try("acme", "k2", 1, dawn),
	}
	list[3].Trigger, list[3].Outcome = "mail", OutcomeSent
	list[4].Monitor, list[4].Network = "Other", "beta/net"
	for _, a := range list {
		j.RecordAttempt(a)
	}
	if got := numbersOf(t, j.Attempts("acme", "k1")); !slices.Equal(got, []string{"acme/k1/1", "acme/k1/2", "acme/k1/3"}) {
		t.Errorf("attempts at k1: %v", got)
	}
	for a, err := range j.Attempts("acme", "k1") {
		if err != nil {
			t.Fatal(err)
		}
		if a.Round == 2 {
			if diff := cmp.Diff(want, a); diff != "" {
				t.Errorf("read back differs (-recorded +read):\n%s", diff)
			}
			break // who has seen enough is told no more
		}
	}
	for _, tc := range []struct {
		filter Filter
		want   []string
	}{
		{Filter{}, []string{"acme/k1/3", "beta/k1/1", "acme/k10/1", "acme/k1/2", "acme/k2/1", "acme/k1/1"}},
		{Filter{Tenant: "acme"}, []string{"acme/k1/3", "acme/k10/1", "acme/k1/2", "acme/k2/1", "acme/k1/1"}},
		{Filter{Tenant: "acm"}, nil},
		{Filter{Tenant: "acme", From: dawn.Add(time.Minute), Before: dawn.Add(time.Hour)}, []string{"acme/k10/1", "acme/k1/2"}},
		{Filter{From: dawn.Add(2 * time.Minute)}, []string{"acme/k1/3", "beta/k1/1"}},
		{Filter{Before: dawn}, nil},
		{Filter{Trigger: "mail"}, []string{"acme/k10/1"}},
		{Filter{Monitor: "Other"}, []string{"beta/k1/1"}},
		{Filter{Monitor: "m", Tenant: "beta"}, []string{"beta/k1/1"}},
		{Filter{Network: "beta/net"}, []string{"beta/k1/1"}},
		{Filter{Outcome: OutcomeSent}, []string{"acme/k10/1"}},
		{Filter{Tenant: "beta", Outcome: OutcomeSent}, nil},
	} {
		if got := numbersOf(t, j.Latest(tc.filter)); !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %v, want %v", tc.filter, got, tc.want)
		}
	}
	for start, want := range map[string][]Ref{
		"k1": {{"acme", "k1"}, {"beta", "k1"}, {"acme", "k10"}}, "k10": {{"acme", "k10"}}, "k3": nil,
		"": {{"acme", "k1"}, {"beta", "k1"}, {"acme", "k10"}, {"acme", "k2"}},
	} {
		got, err := j.Find(start, 10)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("keys that begin with %q: %v, %v; want %v", start, got, err, want)
		}
	}
	if got, err := j.Find("", 2); err != nil || len(got) != 2 {
		t.Errorf("%v, %v; want two", got, err)
	}
}

// Whatever is recorded in whatever order, each question finds exactly what is
// within the bounds.
func TestAttemptsProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keep := rapid.IntRange(1, 40).Draw(rt, "keep")
		j, err := Open(Options{Path: filepath.Join(t.TempDir(), "j"), Logger: slog.New(slog.DiscardHandler), KeepAttempts: keep, KeepAttemptsFor: 1 << 62})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = j.Close() }()
		var all []Attempt
		for i := range rapid.IntRange(0, 60).Draw(rt, "attempts") {
			a := try(rapid.SampledFrom([]string{"a", "aa"}).Draw(rt, "tenant"), rapid.SampledFrom([]string{"k", "k1", "l"}).Draw(rt, "key"), i,
				dawn.Add(time.Duration(i)*time.Second))
			all = append(all, a)
			j.RecordAttempt(a)
			if rapid.IntRange(0, 9).Draw(rt, "flush") == 0 {
				j.Flush()
			}
		}
		all = all[max(0, len(all)-keep):]
		for _, tenant := range []string{"a", "aa", ""} {
			var want []string
			for _, a := range slices.Backward(all) {
				if tenant == "" || a.Tenant == tenant {
					want = append(want, fmt.Sprintf("%s/%s/%d", a.Tenant, a.Key, a.Round))
				}
			}
			if got := numbersOf(t, j.Latest(Filter{Tenant: tenant})); !slices.Equal(got, want) {
				rt.Fatalf("of %q: %v, want %v", tenant, got, want)
			}
			for _, key := range []string{"k", "k1", "l"} {
				want = nil
				for _, a := range all {
					if a.Tenant == tenant && a.Key == key {
						want = append(want, fmt.Sprintf("%s/%s/%d", tenant, key, a.Round))
					}
				}
				if got := numbersOf(t, j.Attempts(tenant, key)); !slices.Equal(got, want) {
					rt.Fatalf("%s of %q: %v, want %v", key, tenant, got, want)
				}
			}
		}
	})
}

func TestAttemptsOverAge(t *testing.T) {
	j := open(t, func(o *Options) { o.KeepAttemptsFor = time.Hour })
	j.RecordAttempt(try("acme", "old", 1, time.Now().Add(-2*time.Hour)))
	j.RecordAttempt(try("acme", "young", 1, time.Now()))
	if got := numbersOf(t, j.Latest(Filter{})); !slices.Equal(got, []string{"acme/young/1"}) {
		t.Errorf("kept %v", got)
	}
	err := j.db.View(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketAttempts, bucketByKey, bucketByTime} {
			if n := tx.Bucket(name).Stats().KeyN; n != 1 {
				t.Errorf("%s has %d entries, want 1", name, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAttemptsAreKeptAtTheEnd(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "journal.db"), Logger: slog.New(slog.DiscardHandler), KeepAttempts: 150}
	for range 2 {
		j, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 100 {
			j.RecordAttempt(try("acme", "k", n, time.Now()))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j.RecordAttempt(try("acme", "k", 1, time.Now())) // does nothing, and does not hang
		for _, err := range j.Attempts("acme", "k") {
			if !errors.Is(err, bbolt.ErrDatabaseNotOpen) { //nolint:staticcheck // of bbolt's own package in this version
				t.Errorf("error %v, want that the journal is closed", err)
			}
		}
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(numbersOf(t, j.Attempts("acme", "k"))); got != 150 {
		t.Errorf("%d attempts kept, want 150", got)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// Of more than can be written some are lost; nobody waits, and it is said.
func TestAttemptsThatCannotBeWrittenInTime(t *testing.T) {
	var said bytes.Buffer
	j := &Journal{
		opts: Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}, attempts: make(chan Attempt, 2), done: make(chan struct{}),
	}
	for n := range 5 {
		j.RecordAttempt(try("acme", "k", n, dawn))
	}
	j.save(batch{})
	if !strings.Contains(said.String(), "attempts=3") {
		t.Errorf("the log says %q", said.String())
	}
}

// An alert that cannot be written costs no attempts.
func TestAttemptsSurviveABrokenAlert(t *testing.T) {
	j := open(t, nil)
	broken := sample("acme", "net", 1)
	broken.ID = strings.Repeat("x", bbolt.MaxKeySize)
	if err := j.update(batch{alerts: []Alert{broken}}); err == nil {
		t.Fatal("the alert was written")
	}
	j.save(batch{alerts: []Alert{broken}, attempts: []Attempt{try("acme", "k", 1, time.Now())}})
	if got := numbersOf(t, j.Attempts("acme", "k")); len(got) != 1 {
		t.Errorf("attempts %v", got)
	}
}

func TestDamagedAttempt(t *testing.T) {
	j := open(t, func(o *Options) { o.KeepAttempts = 1; o.KeepAttemptsFor = 1 << 62 })
	j.RecordAttempt(try("acme", "k", 1, dawn))
	j.Flush()
	err := j.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketAttempts).Put(stamp(dawn, 1), []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []func(func(Attempt, error) bool){j.Attempts("acme", "k"), j.Latest(Filter{}), j.Latest(Filter{Tenant: "acme"})} {
		var got error
		for _, err := range seq {
			got = err
		}
		if got == nil {
			t.Error("a damaged attempt is passed over in silence")
		}
	}
	j.RecordAttempt(try("acme", "l", 1, dawn.Add(time.Hour))) // drops the damaged one
	if got := numbersOf(t, j.Latest(Filter{})); !slices.Equal(got, []string{"acme/l/1"}) {
		t.Errorf("kept %v", got)
	}
	if got := numbersOf(t, j.Attempts("acme", "k")); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}

// The form on disk is read by other versions.
func TestForm(t *testing.T) {
	j := open(t, func(o *Options) { o.KeepFor, o.KeepAttemptsFor, o.KeepUsageFor = 1<<62, 1<<62, 1<<60 })
	a := sample("acme", "net", 300)
	a.FiredAt, a.History[0].At = dawn, dawn
	a.History = append(a.History, Change{State: "retracted", Position: 310, At: dawn.Add(time.Minute)})
	j.Record([]Alert{a})
	j.RecordAttempt(try("acme", "k", 1, dawn))
	j.RecordUsage(Used{
		Hour: dawn, Tenants: map[UsageOwner]Usage{{"acme", 5}: {time.Second, 1, 2, 3, 4, 5, 6}}, Networks: map[string]NetworkUsage{"net": {1, 2, 3, 4}},
	})
	j.Flush()
	var text strings.Builder
	err := j.db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			fmt.Fprintf(&text, "%s\n", name)
			if err := tx.Bucket(name).ForEach(func(k, v []byte) error {
				fmt.Fprintf(&text, "  %q\n", k)
				if v = bytes.TrimSpace(v); json.Valid(v) {
					fmt.Fprintf(&text, "    %s\n", v)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "form.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

func FuzzAttempt(f *testing.F) {
	data, err := json.Marshal(try("acme", "k", 1, dawn))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a Attempt
		if json.Unmarshal(data, &a) != nil {
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Skip() // a time that has no text
		}
		var b Attempt
		if err := json.Unmarshal(again, &b); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}

// What an attempt costs the node that makes it, and the disk.
func BenchmarkRecordAttempt(b *testing.B) {
	j, err := Open(Options{Path: filepath.Join(b.TempDir(), "j"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	list := make([]Attempt, 256)
	for i := range list {
		list[i] = try(fmt.Sprintf("tenant-%d", i%10), fmt.Sprintf("%032x", i*7919), 1, time.Now())
	}
	for b.Loop() {
		if err := j.update(batch{attempts: list}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/attempt")
}
