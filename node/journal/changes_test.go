package journal

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

func placesBack(t *testing.T, j *Journal, of Tenant, before Place) (out []Place) {
	t.Helper()
	for c, err := range j.Back(of, before) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Place)
	}
	return out
}

func statesSince(t *testing.T, j *Journal, of Tenant, from time.Time) (out []string) {
	t.Helper()
	for c, err := range j.Since(of, from) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %d %s", c.ID[len(c.ID)-1:], c.Position, c.State))
	}
	return out
}

// An alert is found by each of its changes, and only by its own tenant: not by one
// before or after it of the same name.
func TestChanges(t *testing.T) {
	j := open(t, nil)
	start := time.UnixMilli(time.Now().UnixMilli())
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	one := func(height uint64, born uint64, ms int, states ...string) Alert {
		a := sample("acme", "net", height)
		a.Born, a.FiredAt, a.History = born, at(ms), nil
		for i, s := range states {
			a.History = append(a.History, Change{State: s, Position: height + uint64(i), At: at(ms + 10*i)})
		}
		return a
	}
	j.Record([]Alert{one(1, 7, 0, "fired"), one(2, 7, 5, "fired", "retracted"), one(3, 7, 5, "fired"), one(4, 3, 1, "fired"), one(5, 9, 1, "fired")})
	mine := Tenant{"acme", 7}
	if got, want := statesSince(t, j, mine, at(0)), []string{"1 1 fired", "2 2 fired", "3 3 fired", "2 3 retracted"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := statesSince(t, j, mine, at(6)), []string{"2 3 retracted"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	all := placesBack(t, j, mine, Place{})
	if len(all) != 4 || !slices.IsSortedFunc(all, func(a, b Place) int { return b.Compare(a) }) {
		t.Errorf("%v", all)
	}
	for i := range all {
		if got := placesBack(t, j, mine, all[i]); !slices.Equal(got, all[i+1:]) {
			t.Errorf("before %v: %v, want %v", all[i], got, all[i+1:])
		}
	}
	// Told again and further: the entry that was there is not there twice.
	j.Record([]Alert{one(1, 7, 0, "fired", "retracted"), one(1, 7, 0, "fired")})
	if got, want := statesSince(t, j, mine, at(0)), []string{"1 1 fired", "2 2 fired", "3 3 fired", "1 2 retracted", "2 3 retracted"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Another tenant of the name has the same alert: the one before has it no more.
	again := one(1, 9, 20, "fired")
	j.Record([]Alert{again})
	if got, want := statesSince(t, j, mine, at(0)), []string{"2 2 fired", "3 3 fired", "2 3 retracted"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	found, err := j.OfIDs(Tenant{"acme", 9}, []string{again.ID, one(2, 7, 0, "fired").ID})
	if err != nil || len(found) != 1 || len(found[0].History) != 1 {
		t.Errorf("%v, %+v", err, found)
	}
}

// Whatever is recorded and dropped, the index leads to what is there, and to nothing
// else.
func TestChangesFollowAlerts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keep := rapid.IntRange(1, 8).Draw(rt, "keep")
		j := open(t, func(o *Options) { o.KeepCount = keep })
		defer j.Close()
		at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		for range rapid.IntRange(1, 25).Draw(rt, "records") {
			at = at.Add(time.Millisecond)
			a := sample("acme", "net", rapid.Uint64Range(1, 6).Draw(rt, "height"))
			a.Born, a.FiredAt = rapid.Uint64Range(1, 2).Draw(rt, "born"), at
			a.History[0].At = at
			a.History[0].State = rapid.SampledFrom([]string{"fired", "retracted", "reinstated"}).Draw(rt, "state")
			j.Record([]Alert{a})
			j.Flush()
		}
		want, got, ids := map[string]bool{}, map[string]bool{}, 0
		for a, err := range j.Alerts("acme", "net", 0, ^uint64(0)) {
			if err != nil {
				rt.Fatal(err)
			}
			for _, c := range a.History {
				want[fmt.Sprintf("%d %d %s %d %s", a.Born, c.At.UnixMilli(), a.ID, c.Position, c.State)] = true
			}
			ids++
		}
		for _, born := range []uint64{1, 2} {
			for c, err := range j.Since(Tenant{"acme", born}, time.Time{}) {
				if err != nil {
					rt.Fatal(err)
				}
				got[fmt.Sprintf("%d %d %s %d %s", born, c.At, c.ID, c.Position, c.State)] = true
			}
		}
		if len(got) != len(want) {
			rt.Fatalf("found %v, there are %v", got, want)
		}
		for k := range want {
			if !got[k] {
				rt.Fatalf("%s is not found among %v", k, got)
			}
		}
		err := j.db.View(func(tx *bbolt.Tx) error {
			for name, n := range map[string]int{"changes": len(want), "alert-ids": ids} {
				if got := tx.Bucket([]byte(name)).Stats().KeyN; got != n {
					return fmt.Errorf("%d entries in %s, want %d", got, name, n)
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}
