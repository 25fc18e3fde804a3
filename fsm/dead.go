package fsm

import (
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Dead is a dead letter: a delivery that was given up.
type Dead struct {
	Outgoing
	DiedAt int64 `codec:"x"` // Unix milliseconds
}

// KeepDead bounds the dead letters of one tenant: of more, those that died first
// are forgotten without a word.
const KeepDead = 1000

// deaths is a tenant's dead letters by the time they died, then by key.
type deaths = iradix.Tree[struct{}]

// DeadLetters yields the deliveries that were given up, by key.
func (v *View) DeadLetters() iter.Seq[*Dead] { return values(v.dead) }

// DeadLen is the number of dead letters.
func (v *View) DeadLen() int { return v.dead.Len() }

func (v *View) putDead(d *Dead) {
	v.dropDead(d.Key)
	put(&v.dead, []byte(d.Key), d)
	v.indexDead(d)
	index, _ := get(v.deaths, []byte(d.Tenant))
	for index.Len() > KeepDead {
		oldest, _, _ := index.Root().Minimum()
		v.dropDead(string(oldest[len(timeKey(0)):]))
		index, _ = get(v.deaths, []byte(d.Tenant))
	}
}

func (v *View) dropDead(key string) {
	d, ok := get(v.dead, []byte(key))
	if !ok {
		return
	}
	del(&v.dead, []byte(key))
	index, _ := get(v.deaths, []byte(d.Tenant))
	del(&index, deathKey(d))
	if index.Len() == 0 {
		del(&v.deaths, []byte(d.Tenant))
		return
	}
	put(&v.deaths, []byte(d.Tenant), index)
}

// indexDead notes when a dead letter died.
func (v *View) indexDead(d *Dead) {
	index, ok := get(v.deaths, []byte(d.Tenant))
	if !ok {
		index = iradix.New[struct{}]()
	}
	put(&index, deathKey(d), struct{}{})
	put(&v.deaths, []byte(d.Tenant), index)
}

func deathKey(d *Dead) []byte { return append(timeKey(d.DiedAt), d.Key...) }

// PurgeDead forgets dead letters.
type PurgeDead struct {
	Keys []string `codec:"k"`
}

// Type is TypePurgeDead.
func (*PurgeDead) Type() Type { return TypePurgeDead }

func (c *PurgeDead) apply(t *tx) (any, error) {
	for _, k := range c.Keys {
		t.dropDead(k)
	}
	t.touch(TopicOutbox)
	return nil, nil
}
