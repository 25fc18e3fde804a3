package testcluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
)

// source is a chain and what makes it grow: blocks with one transfer each.
type source struct {
	chain *fakechain.Chain
	slug  string
	every time.Duration

	mu     sync.Mutex
	nonce  uint64
	made   map[fsm.Hash]time.Time // when a block came to be
	first  uint64                 // height of the first block with a transfer; 0: none yet
	quit   chan struct{}
	ending sync.WaitGroup
}

func newSource(slug string, id uint64, every time.Duration) *source {
	return &source{
		slug: slug, every: every, made: map[fsm.Hash]time.Time{},
		chain: fakechain.New(fakechain.Options{ChainID: id, First: 1000, TxPerBlock: -1, Seed: id}),
	}
}

// transfer is one nobody made before.
func (s *source) transfer() []fakechain.Tx {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce++
	var from fakechain.Address
	binary.BigEndian.PutUint64(from[12:], s.nonce)
	return []fakechain.Tx{fakechain.Transfer(from, fakechain.Address{1}, s.nonce)}
}

func (s *source) note(b *fakechain.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[b.Hash] = time.Now()
	if s.first == 0 {
		s.first = b.Number
	}
}

func (s *source) extend(transfers int) *fakechain.Block {
	var txs []fakechain.Tx
	for range transfers {
		txs = append(txs, s.transfer()...)
	}
	b := s.chain.ExtendWith(txs...)
	s.note(b)
	return b
}

// Extend adds a block with so many transfers to a network's chain.
func (c *Cluster) Extend(network string, transfers int) *fakechain.Block {
	return c.chains[network].extend(transfers)
}

// Reorg replaces the newest depth blocks of a network's chain by n others, with
// other transfers.
func (c *Cluster) Reorg(network string, depth, n int) *fakechain.Block {
	s := c.chains[network]
	branch := make([][]fakechain.Tx, n)
	for i := range branch {
		branch[i] = s.transfer()
	}
	head := s.chain.ReorgWith(depth, branch...)
	for b := head; n > 0; n-- {
		s.note(b)
		b = s.chain.ByHash(b.Parent)
	}
	return head
}

// Traffic has every chain grow until StopTraffic, each at moments of its own.
func (c *Cluster) Traffic() {
	for _, s := range c.chains {
		s.start()
	}
}

// StopTraffic ends Traffic.
func (c *Cluster) StopTraffic() {
	for _, s := range c.chains {
		s.stop()
	}
}

func (s *source) start() {
	quit := make(chan struct{})
	s.mu.Lock()
	s.quit = quit
	s.mu.Unlock()
	s.ending.Go(func() {
		wait := rand.N(s.every)
		for {
			select {
			case <-quit:
				return
			case <-time.After(wait):
			}
			wait = s.every
			s.extend(1)
		}
	})
}

func (s *source) stop() {
	s.mu.Lock()
	quit := s.quit
	s.quit = nil
	s.mu.Unlock()
	if quit != nil {
		close(quit)
		s.ending.Wait()
	}
}

// Rest ends the traffic and waits until everything is announced everywhere,
// judged and delivered, and no tenant is on the move.
func (c *Cluster) Rest() {
	c.t.Helper()
	c.StopTraffic()
	for _, s := range c.chains {
		for range Depth {
			s.extend(1) // so that the blocks before lie deep enough
		}
	}
	c.Eventually(settleWithin, c.atRest)
}

func (c *Cluster) atRest() error {
	leader := c.Leader()
	if leader == nil {
		return errors.New("no leader")
	}
	v := leader.Node().View()
	for _, m := range c.Running() {
		if err := m.Ready(); err != nil {
			return err
		}
		if i := m.Node().View().Index(); i != v.Index() {
			return fmt.Errorf("node %s is at log index %d, %s at %d", m.Name, i, leader.Name, v.Index())
		}
	}
	if err := c.Placed(v); err != nil && !c.opts.Empty {
		return err
	}
	for slug, s := range c.chains {
		n, ok := v.Network(slug)
		if !ok {
			return fmt.Errorf("network %s is not there", slug)
		}
		tip, _ := n.Branch.Tip()
		if head := s.chain.Head(); tip.Hash != head.Hash {
			return fmt.Errorf("network %s: %v is announced, the chain is at %v", slug, tip, head.Ref())
		}
		for cursor := range v.Cursors(slug) {
			if cursor.Position+1 != n.Next {
				return fmt.Errorf("network %s: cohort %q has judged up to %d of %d", slug, cursor.Cohort, cursor.Position, n.Next-1)
			}
		}
	}
	if n := v.OutboxLen(); n > 0 {
		return fmt.Errorf("%d deliveries are still in the outbox", n)
	}
	return nil
}
