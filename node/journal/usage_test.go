package journal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What is told in parts adds up, by hour, and another tenant of the name has none of it.
func TestUsage(t *testing.T) {
	j := open(t, nil)
	now := time.Now().UTC().Truncate(time.Hour)
	before := now.Add(-time.Hour)
	acme, later := UsageOwner{"acme", 7}, UsageOwner{"acme", 9}
	other := UsageOwner{"acme2", 7}
	for range 2 {
		j.RecordUsage(Used{
			Hour:     now.Add(10 * time.Minute),
			Tenants:  map[UsageOwner]Usage{acme: {Evaluation: time.Second, Matches: 1, Sent: 2, Failed: 3, OverQuota: 4, Bytes: 5}, other: {Sent: 1}},
			Networks: map[string]NetworkUsage{"net": {Calls: 10, From: 5, To: 8, Tenants: 2}},
		})
	}
	j.RecordUsage(Used{
		Hour: now, Tenants: map[UsageOwner]Usage{later: {Sent: 100}},
		Networks: map[string]NetworkUsage{"net": {Calls: 1, From: 8, To: 8, Tenants: 3}, "acme/x": {Calls: 4, From: 1, To: 2, Tenants: 1}},
	})
	j.RecordUsage(Used{Hour: before, Tenants: map[UsageOwner]Usage{acme: {Sent: 1}}, Networks: map[string]NetworkUsage{"net": {Calls: 3, From: 2, To: 5, Tenants: 2}}})
	twice := Usage{Evaluation: 2 * time.Second, Matches: 2, Sent: 4, Failed: 6, OverQuota: 8, Bytes: 10}

	got, err := j.UsageOf(acme, before, now.Add(time.Hour))
	if diff := cmp.Diff(map[time.Time]Usage{before: {Sent: 1}, now: twice}, got); diff != "" || err != nil {
		t.Errorf("error %v, usage (-want +got):\n%s", err, diff)
	}
	if got, err = j.UsageOf(acme, now, now.Add(time.Minute)); len(got) != 1 || err != nil {
		t.Errorf("of one hour: %v, %v", got, err)
	}
	all, err := j.UsageOfAll(before, now.Add(time.Hour))
	if diff := cmp.Diff(map[UsageOwner]Usage{acme: twice.Plus(Usage{Sent: 1}), other: {Sent: 2}, later: {Sent: 100}}, all); diff != "" || err != nil {
		t.Errorf("error %v, of all (-want +got):\n%s", err, diff)
	}
	networks, err := j.UsageOfNetworks(before, now.Add(time.Hour), func(n string) bool { return n == "net" })
	want := map[time.Time]map[string]NetworkUsage{
		before: {"net": {Calls: 3, From: 2, To: 5, Tenants: 2}},
		now:    {"net": {Calls: 21, From: 5, To: 8, Tenants: 3}},
	}
	if diff := cmp.Diff(want, networks); diff != "" || err != nil {
		t.Errorf("error %v, of networks (-want +got):\n%s", err, diff)
	}
}

// Usage is kept across a restart, and within its bounds.
func TestUsageBounds(t *testing.T) {
	path := t.TempDir() + "/journal.db"
	bounds := func(o *Options) { o.Path, o.KeepUsage, o.KeepUsageFor = path, 6, 100*time.Hour }
	j := open(t, bounds)
	now := time.Now().UTC().Truncate(time.Hour)
	tell := func(j *Journal, hoursAgo int) {
		j.RecordUsage(Used{
			Hour:     now.Add(-time.Duration(hoursAgo) * time.Hour),
			Tenants:  map[UsageOwner]Usage{{"acme", 1}: {Sent: 1}},
			Networks: map[string]NetworkUsage{"net": {Calls: 1}},
		})
		j.Flush()
	}
	for _, ago := range []int{200, 5, 4} {
		tell(j, ago)
	}
	rows := func(j *Journal) (n int) {
		t.Helper()
		tenants, err := j.UsageOf(UsageOwner{"acme", 1}, now.Add(-1000*time.Hour), now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		networks, err := j.UsageOfNetworks(now.Add(-1000*time.Hour), now.Add(time.Hour), func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		return len(tenants) + len(networks)
	}
	if n := rows(j); n != 4 {
		t.Errorf("%d rows are kept, want 4: one hour is too old", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, bounds)
	for ago := 3; ago >= 0; ago-- {
		tell(again, ago)
	}
	if n := rows(again); n != 6 {
		t.Errorf("%d rows are kept, want 6", n)
	}
	if got, _ := again.UsageOf(UsageOwner{"acme", 1}, now, now.Add(time.Hour)); got[now].Sent != 1 {
		t.Errorf("the newest is %v", got)
	}
	again.RecordUsage(Used{Hour: now}) // nothing at all
	again.Flush()
}

// Adding up does not depend on how it was told.
func TestNetworkUsageAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum NetworkUsage
		position := uint64(rapid.IntRange(1, 9).Draw(t, "first"))
		first, calls := position, uint64(0)
		for range rapid.IntRange(1, 9).Draw(t, "parts") {
			part := NetworkUsage{Calls: uint64(rapid.IntRange(0, 3).Draw(t, "calls")), From: position, Tenants: 1}
			position += uint64(rapid.IntRange(0, 3).Draw(t, "blocks"))
			part.To = position
			calls += part.Calls
			sum = sum.plus(part)
		}
		if sum.Calls != calls || sum.To-sum.From != position-first {
			t.Fatalf("%+v, want %d calls and %d positions", sum, calls, position-first)
		}
	})
}
