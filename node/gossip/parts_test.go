package gossip

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTable(t *testing.T) {
	const second, ip = time.Second, "10.0.0.1:7000"
	w := wire{Meta: Meta{Server: "a@1"}, Run: 1}
	other := func(change func(*wire)) wire {
		w := w
		change(&w)
		return w
	}
	changed := other(func(w *wire) { w.Version = "2" })
	type step struct {
		at    time.Duration
		alive *wire  // nil: gone
		leave uint32 // says that it leaves, of this run
		state State
		was   State
		none  bool
		fals  bool
		since time.Duration
	}
	for title, steps := range map[string][]step{
		"there, again, changed": {
			{at: 0, alive: &w, state: Alive},
			{at: second, alive: &w, state: Alive, was: Alive, none: true},
			{at: 2 * second, alive: &changed, state: Alive, was: Alive},
		},
		"false death": {
			{at: 0, alive: &w, state: Alive},
			{at: second, state: Dead, was: Alive, since: second},
			{at: second, none: true, since: second},
			{at: 60 * second, alive: &w, state: Alive, was: Dead, fals: true, since: 60 * second},
		},
		"too late for a false death": {
			{at: 0, alive: &w, state: Alive},
			{at: second, state: Dead, was: Alive, since: second},
			{at: 61 * second, alive: &w, state: Alive, was: Dead, since: 61 * second},
		},
		"restart": {
			{at: 0, alive: &w, state: Alive},
			{at: second, state: Dead, was: Alive, since: second},
			{at: 2 * second, alive: new(other(func(w *wire) { w.Run = 2 })), state: Alive, was: Dead, since: 2 * second},
		},
		"lost its disk": {
			{at: 0, alive: &w, state: Alive},
			{at: second, state: Dead, was: Alive, since: second},
			{at: 2 * second, alive: new(other(func(w *wire) { w.Server = "a@2" })), state: Alive, was: Dead, since: 2 * second},
		},
		"left and back": {
			{at: 0, alive: &w, state: Alive},
			{at: 0, leave: 1, none: true},
			{at: 0, alive: &changed, state: Alive, was: Alive}, // it still does
			{at: second, state: Left, was: Alive, since: second},
			{at: second, leave: 1, none: true, since: second},
			{at: 2 * second, alive: new(other(func(w *wire) { w.Run = 2 })), state: Alive, was: Left, since: 2 * second},
			{at: 3 * second, state: Dead, was: Alive, since: 3 * second},
		},
		"said late": {
			{at: 0, alive: &w, state: Alive},
			{at: second, state: Dead, was: Alive, since: second},
			{at: 2 * second, leave: 9, none: true, since: second}, // of another run
			{at: 2 * second, leave: 1, state: Left, was: Dead, since: second},
		},
		"nobody": {{none: true}},
	} {
		t.Run(title, func(t *testing.T) {
			table := table{members: map[string]*entry{}}
			for k, s := range steps {
				now := begin.Add(s.at)
				var c change
				switch {
				case s.leave != 0:
					c = table.leaving("a", s.leave)
				case s.alive != nil:
					c = table.alive("a", ip, *s.alive, now)
				default:
					c = table.gone("a", now)
				}
				if c.none != s.none || c.falseDeath != s.fals || !s.none && (c.State != s.state || c.was != s.was) {
					t.Errorf("step %d: %+v", k, c)
				}
				if e := table.members["a"]; e != nil && !e.Since.Equal(begin.Add(s.since)) {
					t.Errorf("step %d: since %v", k, e.Since)
				}
			}
		})
	}
}

func TestTableAddresses(t *testing.T) {
	table := table{members: map[string]*entry{}}
	table.alive("a", "10.0.0.1:7000", wire{Address: "a.svc:7000"}, begin)
	table.alive("b", "10.0.0.2:7000", wire{}, begin)
	for address, want := range map[string]bool{
		"a.svc:7000": true, "10.0.0.1:7000": true, "10.0.0.2:7000": true, "10.0.0.3:7000": false, "a.svc:7001": false,
	} {
		if got := table.at(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	for _, c := range []struct{ name, ip, want string }{
		{"a", "10.0.0.1:7000", "a.svc:7000"},
		{"a", "10.0.0.9:7000", "10.0.0.9:7000"}, // it has moved since
		{"b", "10.0.0.2:7000", "10.0.0.2:7000"},
		{"", "10.0.0.1:7000", "10.0.0.1:7000"},
	} {
		if got := table.addressOf(c.name, c.ip); got != c.want {
			t.Errorf("%s at %s is dialed at %s", c.name, c.ip, got)
		}
	}
	table.life++
	if table.at("a.svc:7000") {
		t.Error("an earlier instance's member counts as found")
	}
	table.alive("a", "10.0.0.1:7000", wire{Address: "a.svc:7000"}, begin)
	if got := table.unfound(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("not found again: %v", got)
	}
	table.gone("a", begin)
	if table.prune(begin.Add(rememberDead-1)) || !table.prune(begin.Add(rememberDead)) || len(table.list()) != 1 {
		t.Errorf("left over: %v", table.list())
	}
}

func TestConflicts(t *testing.T) {
	const second = time.Second
	for title, c := range map[string]struct {
		seen []time.Duration
		told []time.Duration // looked every second for five minutes
	}{
		"a restart":        {seen: []time.Duration{0, 2 * second, 4 * second}},
		"lasting":          {seen: every(2*second, 100*second), told: []time.Duration{6 * second, 66 * second}},
		"rarely seen":      {seen: []time.Duration{0, 90 * second, 180 * second}, told: []time.Duration{90 * second, 180 * second}},
		"two restarts":     {seen: []time.Duration{0, 2 * second, 200 * second, 202 * second}},
		"over, once again": {seen: append(every(second, 7*second), 200*second, 206*second), told: []time.Duration{6 * second, 206 * second}},
	} {
		t.Run(title, func(t *testing.T) {
			conflicts := conflicts{after: 6 * second, seen: map[string]*sighting{}}
			var told []time.Duration
			for at := time.Duration(0); at < 5*time.Minute; at += second {
				if slices.Contains(c.seen, at) {
					conflicts.note(Member{Name: "a"}, begin.Add(at))
				}
				for range conflicts.due(begin.Add(at)) {
					told = append(told, at)
				}
			}
			if !slices.Equal(told, c.told) {
				t.Errorf("told at %v, want %v", told, c.told)
			}
			if conflicts.contested("a", begin.Add(time.Hour)) || conflicts.contested("b", begin) {
				t.Error("contested without an end")
			}
		})
	}
}

func every(step, until time.Duration) []time.Duration {
	var out []time.Duration
	for at := time.Duration(0); at <= until; at += step {
		out = append(out, at)
	}
	return out
}

// TestSyncKeyring goes from any list of keys to any other while packets are
// read: the race detector sees a slice that is changed under a reader.
func TestSyncKeyring(t *testing.T) {
	keys := rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 1, 5, rapid.ID[int])
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) [][]byte {
			var out [][]byte
			for _, k := range keys.Draw(t, label) {
				out = append(out, bytes.Repeat([]byte{byte(k)}, 16))
			}
			return out
		}
		ring, err := newKeyring(draw("first"))
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var readers sync.WaitGroup
		readers.Go(func() {
			for {
				for _, key := range ring.GetKeys() {
					if len(key) != 16 {
						t.Errorf("a key of %d bytes", len(key))
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			want := draw("next")
			if err := syncKeyring(ring, want); err != nil {
				t.Fatal(err)
			}
			got := ring.GetKeys()
			if len(got) != len(want) || !bytes.Equal(got[0], want[0]) || len(excess(ring, want)) != 0 {
				t.Errorf("have %x, want %x", got, want)
			}
		}
		close(stop)
		readers.Wait()
	})
}

func TestBridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		dropped := map[string]int{}
		b := newBridge(
			slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
			func(reason string) { dropped[reason]++ })
		lines := slog.NewLogLogger(b, slog.LevelInfo)
		for _, c := range []struct{ line, level, text string }{
			{"[DEBUG] memberlist: Stream connection from=10.0.0.1:7", "DEBUG", "Stream connection from=10.0.0.1:7"},
			{"[INFO] memberlist: Suspect a has failed, no acks received", "DEBUG", "Suspect a has failed, no acks received"},
			{"[WARN] memberlist: Refuting a suspect message (from: b)", "WARN", "Refuting a suspect message (from: b)"},
			{"[WARN] memberlist: Refuting a suspect message (from: c)", "", ""}, // one a minute
			{"[ERR] memberlist: Push/Pull with b failed: EOF", "DEBUG", "Push/Pull with b failed: EOF"},
			{"[ERROR] memberlist: Failed to compress payload: x", "WARN", "Failed to compress payload: x"},
			{"[ERR] memberlist: Decrypt packet failed: x from=a", "WARN", "Decrypt packet failed: x from=a"},
			{"[ERR] memberlist: Decrypt packet failed: x from=b", "", ""},
			{"[WARN] memberlist: handler queue full, dropping message (3) from=a", "WARN", "handler queue full"},
			{"Err: Could not set the deadline: x", "DEBUG", "Err: Could not set the deadline: x"},
		} {
			out.Reset()
			lines.Print(c.line)
			if c.level == "" && out.Len() > 0 || !strings.Contains(out.String(), c.text) || c.level != "" && !strings.Contains(out.String(), "level="+c.level+" ") {
				t.Errorf("%q was logged as %q", c.line, out.String())
			}
		}
		if dropped[dropKey] != 2 || dropped[dropOverload] != 1 {
			t.Errorf("counted %v", dropped)
		}
		out.Reset()
		<-time.After(time.Minute)
		lines.Print("[WARN] memberlist: Refuting a suspect message (from: d)")
		if !strings.Contains(out.String(), "from: d") {
			t.Error("silent for ever")
		}
		out.Reset()
		b.close()
		lines.Print("[DEBUG] memberlist: too late")
		if out.Len() > 0 {
			t.Errorf("after the end: %s", out.String())
		}
	})
}
