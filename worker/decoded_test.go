package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Cohorts of one node share the blocks that they judge.
func TestBlocksAreDecodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.unplaced = true
		for _, id := range []string{"a", "b", "c", "d"} {
			r.setTenant(id, simple())
			r.move(node, false, id)
		}
		p := r.start(-1)
		for range 10 {
			r.extend("net", 1)
			pass(time.Second)
		}
		r.drained("net")
		for _, id := range []string{"a", "b", "c", "d"} {
			r.wantHeights(id, "m", span(100, 108)...)
		}
		if got := p.metric("ozmo_worker_cohorts"); got != 5 {
			t.Errorf("%v cohorts, want those of the tenants and the main one", got)
		}
		r.locked(func() {
			for hash, n := range r.asked {
				if n != 1 {
					t.Errorf("block %v was fetched %d times", hash, n)
				}
			}
			if len(r.asked) != 9 {
				t.Errorf("%d blocks were fetched, want 9", len(r.asked))
			}
		})
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d decoded
		d.share(true)
		key := blockKey{"net", fsm.BlockRef{Height: 1}}
		loads := 0
		load := func(err error) func() (timedBlock, int, error) {
			return func() (timedBlock, int, error) {
				loads++
				<-time.After(time.Second)
				return timedBlock{block: loads}, 1, err
			}
		}
		// One's own end is not the others' failure.
		ending, end := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := d.get(ending, key, load(errors.New("cut off")))
			first <- err
		}()
		synctest.Wait()
		go func() {
			_, err := d.get(t.Context(), key, load(nil))
			second <- err
		}()
		synctest.Wait()
		end()
		if a, b := <-first, <-second; a == nil || b != nil || loads != 2 {
			t.Errorf("%v, %v after %d loads; want an error, none, 2", a, b, loads)
		}
		if _, err := d.get(t.Context(), key, load(nil)); err != nil || loads != 2 {
			t.Errorf("%v after %d loads, want the block that is kept", err, loads)
		}
		// A failure is told to those who wait, and forgotten.
		bad := blockKey{"net", fsm.BlockRef{Height: 2}}
		for range 2 {
			go func() {
				_, err := d.get(t.Context(), bad, load(errors.New("no such block")))
				first <- err
			}()
		}
		if a, b := <-first, <-first; a == nil || b == nil || loads != 3 {
			t.Errorf("%v, %v after %d loads; want two errors, 3", a, b, loads)
		}
		if _, err := d.get(t.Context(), bad, load(nil)); err != nil || loads != 4 {
			t.Errorf("%v after %d loads; want none, 4", err, loads)
		}
		// Waiting ends with one's own context.
		slow := blockKey{"net", fsm.BlockRef{Height: 3}}
		go func() {
			_, err := d.get(t.Context(), slow, load(nil))
			first <- err
		}()
		synctest.Wait()
		ended, stop := context.WithCancel(t.Context())
		stop()
		if _, err := d.get(ended, slow, load(nil)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		// What is kept is bounded, in number and in bytes, and nothing is for one alone.
		for i := range 3 * keepDecoded {
			if _, err := d.get(t.Context(), blockKey{"net", fsm.BlockRef{Height: uint64(10 + i)}}, load(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if len(d.kept) != keepDecoded || len(d.loads) != keepDecoded || d.bytes != keepDecoded {
			t.Errorf("%d blocks of %d bytes are kept, want %d", len(d.kept), d.bytes, keepDecoded)
		}
		huge := func() (timedBlock, int, error) { return timedBlock{}, keepDecodedBytes + 1, nil }
		if _, err := d.get(t.Context(), blockKey{"net", fsm.BlockRef{Height: 4}}, huge); err != nil || len(d.kept) != 0 || d.bytes != 0 {
			t.Errorf("%d blocks of %d bytes are kept after one that is too large", len(d.kept), d.bytes)
		}
		_, _ = d.get(t.Context(), key, load(nil))
		d.share(false)
		if len(d.kept) != 0 || len(d.loads) != 0 {
			t.Errorf("%d blocks are kept for nobody", len(d.kept))
		}
	})
}
