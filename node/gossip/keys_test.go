package gossip_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/node/gossip"
)

func key(k byte) []byte { return []byte(strings.Repeat(string(rune('a'+k)), 32)) }

func encrypted(keys ...[]byte) func(*gossip.Options) {
	return func(o *gossip.Options) { o.Keys = keys }
}

func TestKeyRotationLosesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		peers := startAll(t, n, []string{"a", "b", "c"}, encrypted(key(0)))
		for _, keys := range [][][]byte{{key(0), key(1)}, {key(1), key(0)}, {key(1)}} {
			var ids []string
			for _, k := range keys {
				ids = append(ids, gossip.KeyID(k))
			}
			for _, p := range peers { // one after the other, as it happens
				for range 2 { // again: nothing changes
					if err := p.SetKeys(keys); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(ids, p.KeyIDs()); diff != "" {
					t.Error(diff)
				}
				never(t, 3*time.Second, allAlive(peers))
			}
		}
		for _, p := range peers {
			if got := p.metric(t, "ozmo_gossip_packets_dropped_total", "key"); got != 0 {
				t.Errorf("%s could not read %v packets", p.name, got)
			}
		}
		// A node with the old key is out.
		late := start(t, n, "d", encrypted(key(0)))
		expectErr(t, late.Join(t.Context(), []string{"a:7000"}), gossip.ErrOtherKeys)
	})
}

func TestSetKeysErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network(t)
		plain, secret := start(t, n, "a"), start(t, n, "b", encrypted(key(0), key(1), key(2)))
		if err := plain.SetKeys(nil); err != nil || plain.KeyIDs() != nil {
			t.Errorf("%v, %v", err, plain.KeyIDs())
		}
		expectErr(t, plain.SetKeys([][]byte{key(0)}), gossip.ErrKeys)
		expectErr(t, secret.SetKeys(nil), gossip.ErrKeys)
		expectErr(t, secret.SetKeys([][]byte{key(1), []byte("short")}), gossip.ErrKeys)
		if got := secret.KeyIDs(); len(got) != 3 || got[0] != gossip.KeyID(key(0)) {
			t.Errorf("a refused change changed the keys: %v", got)
		}
		expectErr(t, plain.Join(t.Context(), []string{"b:7000"}), gossip.ErrOtherKeys)
		expectErr(t, secret.Join(t.Context(), []string{"a:7000"}), gossip.ErrOtherKeys)
	})
}

func TestOtherClusterIsRefused(t *testing.T) {
	for title, with := range map[string]func(*gossip.Options){"plaintext": func(*gossip.Options) {}, "encrypted": encrypted(key(0))} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := network(t)
				var log strings.Builder
				a := start(t, n, "a", with, logging(&log))
				b := start(t, n, "b", with, known("a"), func(o *gossip.Options) { o.Cluster = "prod" })
				err := b.Join(t.Context(), []string{"a:7000"})
				expectErr(t, err, gossip.ErrOtherCluster)
				for _, word := range []string{"a:7000", `"test"`, `"prod"`} {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%q does not say %s", err, word)
					}
				}
				<-time.After(time.Minute) // of trying
				for _, p := range []*peer{a, b} {
					if got := len(p.Members()); got != 1 {
						t.Errorf("%s has %d members", p.name, got)
					}
				}
				synctest.Wait()
				if got := strings.Count(log.String(), "level=WARN"); got == 0 || got > 4 {
					t.Errorf("%d warnings of a stranger:\n%s", got, log.String())
				}
			})
		})
	}
}
