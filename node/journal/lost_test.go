package journal

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
)

func TestLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	reopen := func() *Journal {
		t.Helper()
		j, err := Open(Options{Path: path, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := reopen()
	follow := func(what string, height uint64, begun bool, servers, gone []string, lost uint64) {
		t.Helper()
		got, err := j.Follow(servers, map[string]uint64{"net": height}, begun)
		if err != nil || !slices.Equal(got, gone) {
			t.Errorf("%s: %v has gone, %v; want %v", what, got, err, gone)
		}
		if got := j.LostUpTo("net"); got != lost {
			t.Errorf("%s: lost up to %d, want %d", what, got, lost)
		}
	}
	follow("a new node", 10, false, []string{"a@1", "b@1"}, nil, 0)
	follow("another joins", 20, false, []string{"a@1", "b@1", "c@1"}, nil, 0)
	follow("a disk is lost", 30, false, []string{"a@1", "b@2", "c@1"}, []string{"b@1"}, 30)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = reopen()
	follow("started again", 40, true, []string{"a@1", "b@2", "c@1"}, nil, 30)
	follow("a node is removed", 50, true, []string{"a@1", "b@2"}, []string{"c@1"}, 50)
	follow("a lower head", 45, true, []string{"a@1"}, []string{"b@2"}, 50)
	if other := j.LostUpTo("other"); other != 0 {
		t.Errorf("of another network, lost up to %d", other)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "journal.db")
	j = reopen()
	follow("its own file is lost", 60, true, []string{"a@1"}, nil, 60)
	if err := j.Lose(map[string]uint64{"net": 70}); err != nil || j.LostUpTo("net") != 70 {
		t.Errorf("lost up to %d, %v", j.LostUpTo("net"), err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
