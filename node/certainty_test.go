package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/consensus"
)

// A leader that was frozen promises nothing before a majority has confirmed that it
// still leads.
func TestLeaderIsConfirmedAfterABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = time.Second
		asked, deposed := 0, error(nil)
		c := newCertainty(ttl, func(context.Context) error { asked++; return deposed })
		held := newContact(ttl, func() uint64 { return 10 })
		// As in beatOnce and acceptHeartbeat of the leader's own heartbeat.
		beat := func() error {
			sent := time.Now()
			err := c.beat(t.Context())
			if err == nil {
				held.note(sent, 10)
			}
			return err
		}
		if err := beat(); err != nil || asked != 1 || !held.Held() {
			t.Fatalf("a new leader: %v, asked %d times", err, asked)
		}
		for range 50 {
			<-time.After(ttl / 5)
			if err := beat(); err != nil || asked != 1 {
				t.Fatalf("it beats as it should: %v, asked %d times", err, asked)
			}
		}
		// Frozen, and another one leads.
		deposed = consensus.ErrNotLeader
		for i, frozen := range []time.Duration{ttl / 2, 2 * ttl, 10 * time.Second} {
			<-time.After(frozen)
			if err := beat(); !errors.Is(err, consensus.ErrNotLeader) || asked != 2+i {
				t.Fatalf("after %v: %v, asked %d times", frozen, err, asked)
			}
			if frozen >= ttl && held.Held() {
				t.Errorf("after %v it acts", frozen)
			}
		}
		// It was not deposed after all.
		deposed = nil
		if err := beat(); err != nil || !held.Held() {
			t.Errorf("confirmed: %v", err)
		}
		before := asked
		<-time.After(ttl / 5)
		if err := beat(); err != nil || asked != before {
			t.Errorf("confirmed a moment ago: %v, asked once more", err)
		}
	})
}

// Contact counts from before the question whether this node leads: one that is
// frozen while it waits for the answer comes too late.
func TestFrozenWhileItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = time.Second
		c := newCertainty(ttl, func(context.Context) error { <-time.After(3 * ttl); return nil })
		held := newContact(ttl, func() uint64 { return 10 })
		sent := time.Now()
		others := make(chan error, 1)
		go func() {
			<-time.After(ttl)
			others <- c.beat(t.Context())
		}()
		if err := c.beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		held.note(sent, 10)
		if held.Held() {
			t.Error("it acts on a promise of long ago")
		}
		if err := <-others; !errors.Is(err, consensus.ErrNotLeader) {
			t.Errorf("another node's heartbeat, meanwhile: %v", err)
		}
		// What was confirmed is how things were when it was asked.
		again := make(chan struct{})
		go func() { defer close(again); _ = c.beat(t.Context()) }()
		synctest.Wait()
		select {
		case <-again:
			t.Error("it takes the late answer for a fresh one")
		default:
		}
		<-again
	})
}
