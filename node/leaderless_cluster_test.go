package node_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// A node that finds no leader says so, as for other commands, before whoever asks
// takes it for dead.
func TestWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 1})
		alone := c.Member("a")
		c.Partition([]string{"a"}, []string{"b", "c"})
		c.Eventually(settle, func() error {
			if alone.Node().Status().Leader != "" {
				return errors.New("it takes somebody for the leader")
			}
			return nil
		})
		c.Write("tenants/t000/monitors/more.json", monitorDoc("more", false, "hook"))
		for what, ask := range map[string]func() error{
			"set": func() error {
				return alone.Node().SetSecret(t.Context(), api.Secret{Tenant: "t000", Name: "x", Value: "y"})
			},
			"delete": func() error { return alone.Node().DeleteSecret(t.Context(), "t000", "x", false) },
			"import": func() error { _, err := alone.Node().Import(t.Context(), c.Folder()); return err },
			"enrol":  func() error { return node.Enrol(t.Context(), alone.Node(), "d", pki.NewToken([32]byte{1}).Reveal()) },
			"list":   func() error { _, err := alone.Node().Secrets(t.Context(), "t000"); return err },
		} {
			began := time.Now()
			err := ask()
			if took := time.Since(began); !errors.Is(err, api.ErrUnavailable) || !errors.Is(err, consensus.ErrNoLeader) || took > 6*time.Second {
				t.Errorf("%s: %v after %v", what, err, took)
			}
		}
	})
}
