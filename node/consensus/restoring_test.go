package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
)

// bare are the options of a node alone.
func bare(t *testing.T, dir string, change func(*Options)) Options {
	opts := Options{
		Dir: dir, Server: alone, State: fsm.New(), Registerer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Errorf("fatal: %v", err) },
	}
	if change != nil {
		change(&opts)
	}
	return opts
}

// backup is a snapshot that holds one fact.
func backup(t *testing.T, fact string) string {
	t.Helper()
	origin := fsm.New()
	entry, err := fsm.Encode(put(fact))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := origin.Apply(3, entry); err != nil {
		t.Fatal(err)
	}
	return encoded(t, origin)
}

// onFiles begins a group of three whose disks are directories.
func (w *world) onFiles(t *testing.T) ([]*member, map[string]string) {
	t.Helper()
	dirs := map[string]string{}
	var all []*member
	var servers []Server
	for _, name := range []string{"a", "b", "c"} {
		dirs[name] = filepath.Join(t.TempDir(), name)
		m := w.start(name+"@1", inDir(dirs[name]))
		all, servers = append(all, m), append(servers, m.server())
	}
	for _, m := range all {
		if err := m.Bootstrap(servers); err != nil {
			t.Fatal(err)
		}
	}
	return all, dirs
}

func inDir(dir string) func(*Options) {
	return func(o *Options) { o.Dir, o.Stores = dir, nil }
}

func noted(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, restoringFile))
	return err == nil
}

// A leader that restores while the others are away has a log of its own. It
// must not come back with it.
func TestRestoreWithoutTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all, dirs := w.onFiles(t)
		lead := leader(t, all)
		rest := others(all, lead)
		if _, err := lead.Propose(t.Context(), put("before")); err != nil {
			t.Fatal(err)
		}
		for _, m := range rest {
			w.net.Cut(lead.name, m.name)
		}
		saved := backup(t, "backup")
		if err := lead.Restore(t.Context(), 3, 1, int64(len(saved)), strings.NewReader(saved)); err == nil {
			t.Fatal("restored without the others")
		}
		next := leader(t, rest)
		if _, err := next.Propose(t.Context(), put("meanwhile")); err != nil {
			t.Fatal(err)
		}
		w.net.HealAll()
		select {
		case err := <-lead.fatal:
			if !strings.Contains(err.Error(), "restore: ") || !strings.Contains(err.Error(), "empty data directory") {
				t.Errorf("fatal: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the node goes on with a log of its own")
		}
		w.kill(lead)
		dir := dirs[lead.name]
		for range 2 {
			_, err := Open(bare(t, dir, func(o *Options) { o.Server = lead.id }))
			if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("opened again: %v", err)
			}
		}
		if has, err := HasState(dir); err != nil || !has {
			t.Fatalf("has state: %v, %v", has, err)
		}
		// It comes back as another server.
		fresh := w.start(lead.name+"@2", inDir(filepath.Join(t.TempDir(), "fresh")))
		next = leader(t, rest)
		if err := next.Remove(lead.id); err != nil {
			t.Fatal(err)
		}
		if err := next.AddNonvoter(fresh.server()); err != nil {
			t.Fatal(err)
		}
		same(t, append(rest, fresh))
		if !has(fresh.state, "before") || !has(fresh.state, "meanwhile") || has(fresh.state, "backup") {
			t.Error("the restore that failed took effect")
		}
	})
}

// Of a restore that succeeded or was refused, nothing is left.
func TestRestoreLeavesNoNote(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all, dirs := w.onFiles(t)
		lead := leader(t, all)
		saved := backup(t, "backup")
		for _, bad := range []string{"", saved[:len(saved)-1]} {
			if err := lead.Restore(t.Context(), 3, 1, int64(len(bad)), strings.NewReader(bad)); err == nil {
				t.Fatal("restored what is no snapshot")
			}
		}
		if err := lead.Restore(t.Context(), 3, 1, int64(len(saved))+1, strings.NewReader(saved)); err == nil {
			t.Fatal("restored a snapshot of another size")
		}
		if noted(dirs[lead.name]) {
			t.Fatal("a note of a restore that was refused")
		}
		if err := lead.Restore(t.Context(), 3, 1, int64(len(saved)), strings.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		same(t, all)
		for name, dir := range dirs {
			if noted(dir) {
				t.Errorf("%s still notes a restore", name)
			}
		}
		w.kill(lead)
		again := w.start(lead.id, inDir(dirs[lead.name]))
		same(t, append(others(all, lead), again))
		if !has(again.state, "backup") {
			t.Error("the backup is lost")
		}
	})
}

// The note is there from the end of the snapshot on, and not before.
func TestRestoreNotesVoters(t *testing.T) {
	t.Parallel()
	s := &store{dir: t.TempDir()}
	for _, voters := range []int{1, 3, 5} {
		i := &installation{store: s, voters: func() int { return voters }}
		if err := i.begin(); err != nil {
			t.Fatal(err)
		}
		if n, err := interrupted(s.dir); err != nil || n != voters {
			t.Fatalf("noted %d voters, %v", n, err)
		}
	}
	for range 2 {
		if err := s.endRestore(); err != nil {
			t.Fatal(err)
		}
		if n, err := interrupted(s.dir); err != nil || n != 0 {
			t.Fatalf("still noted: %d voters, %v", n, err)
		}
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
	s.dir = filepath.Join(s.dir, "none")
	i := &installation{store: s, voters: func() int { return 3 }}
	if err := i.begin(); err == nil || i.among != 0 {
		t.Fatalf("installs though it could not be noted: %v", err)
	}
}

func TestOpenAfterInterruptedRestore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		note  string
		state bool
		want  string // in the error; "" for none
	}{
		{"1\n", true, ""},
		{"1\n", false, ""},
		{"3\n", false, ""},
		{"3\n", true, ErrDiverged.Error()},
		{"2", true, ErrDiverged.Error()},
		{"", true, "a number of voters"},
		{"-3\n", true, "a number of voters"},
	} {
		t.Run(fmt.Sprintf("%q %v", c.note, c.state), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.state {
				g, _ := open(t, dir, nil)
				if _, err := g.Propose(t.Context(), put("a")); err != nil {
					t.Fatal(err)
				}
				if err := g.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, restoringFile), []byte(c.note), 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := Open(bare(t, dir, nil))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("opened: %v", err)
				}
				if errors.Is(err, ErrDiverged) != (c.want == ErrDiverged.Error()) {
					t.Fatalf("the wrong sentinel: %v", err)
				}
				if !noted(dir) {
					t.Fatal("the note is gone")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if noted(dir) {
				t.Error("the note is still there")
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The log of the only server that remains is the truth, whatever it holds.
func TestRecoverAfterInterruptedRestore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		all, dirs := w.onFiles(t)
		if _, err := leader(t, all).Propose(t.Context(), put("kept")); err != nil {
			t.Fatal(err)
		}
		same(t, all)
		for _, m := range all {
			m.stop()
		}
		if err := os.WriteFile(filepath.Join(dirs["a"], restoringFile), []byte("3\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		logger := slog.New(slog.DiscardHandler)
		err := Recover(dirs["a"], func(p []Peer) ([]Server, error) { return []Server{p[0].Server, p[1].Server}, nil }, logger)
		if !errors.Is(err, ErrDiverged) || !noted(dirs["a"]) {
			t.Fatalf("recovered beside another: %v", err)
		}
		if err := Recover(dirs["a"], func(p []Peer) ([]Server, error) { return []Server{p[0].Server}, nil }, logger); err != nil {
			t.Fatal(err)
		}
		a := w.start("a@1", inDir(dirs["a"]))
		if err := a.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !has(a.state, "kept") {
			t.Error("the state is lost")
		}
	})
}
