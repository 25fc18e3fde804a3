package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRecoverOneOfThree(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	all := s.group("a", "b", "c")
	lead := leader(t, all)
	for i := range 5 {
		if _, err := lead.Propose(t.Context(), put(fmt.Sprint("fact", i))); err != nil {
			t.Fatal(err)
		}
	}
	same(t, all)
	survivor := others(all, lead)[0]
	dir := s.dirs[survivor.id]
	refuse := func([]Peer) ([]Server, error) { return nil, errors.New("asked") }
	log := slog.New(slog.DiscardHandler)
	if err := Recover(dir, refuse, log); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("recovered a node that runs: %v", err)
	}
	for _, m := range all {
		m.stop()
	}
	if err := Recover(t.TempDir(), refuse, log); err == nil || !strings.Contains(err.Error(), "no log") {
		t.Fatalf("recovered nothing: %v", err)
	}
	// Whoever asks may change his mind, and typing errors are not taken over.
	if err := Recover(dir, refuse, log); err == nil || !strings.Contains(err.Error(), "asked") {
		t.Fatalf("got %v", err)
	}
	for _, bad := range [][]Server{nil, {{"z@1", "z:7000"}}, {{survivor.id, ""}}} {
		if err := Recover(dir, func([]Peer) ([]Server, error) { return bad, nil }, log); err == nil {
			t.Fatalf("recovered with %v", bad)
		}
	}
	l := s.listen()
	err := Recover(dir, func(peers []Peer) ([]Server, error) {
		if len(peers) != 3 {
			return nil, fmt.Errorf("asked about %v", peers)
		}
		return []Server{{survivor.id, l.Addr().String()}}, nil
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := Recover(dir, refuse, log); err == nil || !strings.Contains(err.Error(), "asked") {
		t.Fatalf("a recovered node cannot be recovered again: %v", err)
	}
	again := s.startOn(survivor.id, l)
	if _, err := again.Propose(t.Context(), put("after")); err != nil {
		t.Fatal(err)
	}
	for _, fact := range []string{"fact0", "fact4", "after"} {
		if !has(again.state, fact) {
			t.Errorf("%s is lost", fact)
		}
	}
	// The group grows again.
	b := s.start("new@00000001")
	if err := again.AddNonvoter(b.server()); err != nil {
		t.Fatal(err)
	}
	same(t, []*member{again, b})
}

// A crash between the new snapshot and the deletion of the log leaves a
// recovered group: what is left in the log lies below the snapshot.
func TestRecoverIsOneStep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	all := s.group("a", "b", "c")
	lead := leader(t, all)
	if _, err := lead.Propose(t.Context(), put("fact")); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		m.stop()
	}
	dir := s.dirs[lead.id]
	log, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	l := s.listen()
	err = Recover(dir, func([]Peer) ([]Server, error) {
		return []Server{{lead.id, l.Addr().String()}}, nil
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, logFile), log, 0o600); err != nil { // as before the deletion
		t.Fatal(err)
	}
	again := s.startOn(lead.id, l)
	if _, err := again.Propose(t.Context(), put("after")); err != nil {
		t.Fatal(err)
	}
	if !has(again.state, "fact") {
		t.Error("what was committed is lost")
	}
	if peers, err := again.Peers(); err != nil || len(peers) != 1 {
		t.Errorf("peers %v, %v", peers, err)
	}
}
