package fakechain

import "testing"

func TestSwitch(t *testing.T) {
	c := New(Options{First: 10})
	c.Extend(4)
	a := c.Head()
	tx := c.At(12).Txs[0]
	b := c.ReorgWith(3, nil, nil, nil, nil)
	if c.Find(tx.Hash) != nil || c.Head() != b {
		t.Errorf("the transaction of a dead block is in %v", c.Find(tx.Hash))
	}
	head := c.Switch(a, nil, nil)
	if head.Number != a.Number+2 || c.At(a.Number) != a || c.At(12) != c.Find(tx.Hash) {
		t.Errorf("the head is %v", head.Ref())
	}
	if again := c.Switch(b); again != b || c.Head() != b || c.At(head.Number) != nil {
		t.Errorf("the head is %v", c.Head().Ref())
	}
	for h := c.Head().Number; h > 10; h-- {
		if c.At(h).Parent != c.At(h-1).Hash {
			t.Errorf("block %d does not follow", h)
		}
	}
}

func TestForgetDead(t *testing.T) {
	c := New(Options{First: 10})
	c.Extend(4)
	early := c.Head()
	c.Reorg(2, 3)
	c.ForgetDead()
	late := c.Head()
	c.Reorg(1, 2)
	for _, b := range []*Block{early, late} {
		if c.ByHash(b.Hash) != nil || c.Find(b.Txs[0].Hash) != nil {
			t.Errorf("block %v is known", b.Ref())
		}
	}
	if c.ByHash(c.At(11).Hash) == nil || c.ByHash(c.Head().Hash) == nil {
		t.Error("blocks of the canonical branch are gone")
	}
}
