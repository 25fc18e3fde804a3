package journal

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// What a node has fired is in its own journal alone. With the node, or its disk,
// that is lost: those who stay keep up to which height of each network it may be.

var (
	bucketServers = []byte("servers") // server ids of the cluster's nodes, as last seen
	bucketLost    = []byte("lost")    // network -> height
	keyServers    = []byte("known")   // there once the servers have been noted
)

// Follow notes which servers a cluster has, and the heads of its networks. Where
// one has gone that was there the last time, other nodes' journals no longer hold
// everything up to these heights. So it is where this journal is a new one and
// should not be.
func (j *Journal) Follow(servers []string, heads map[string]uint64, begun bool) (gone []string, err error) {
	err = j.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketServers)
		known := b.Get(keyServers) != nil
		var old []string
		if err := b.ForEach(func(k, v []byte) error {
			if len(v) == 0 {
				old = append(old, string(k))
			}
			return nil
		}); err != nil {
			return err
		}
		for _, s := range old {
			if slices.Contains(servers, s) {
				continue
			}
			gone = append(gone, s)
			if err := b.Delete([]byte(s)); err != nil {
				return err
			}
		}
		for _, s := range servers {
			if err := b.Put([]byte(s), nil); err != nil {
				return err
			}
		}
		if err := b.Put(keyServers, []byte{1}); err != nil {
			return err
		}
		if len(gone) > 0 || !known && begun {
			return lose(tx, heads)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return gone, nil
}

// Lose notes that nobody's journal needs to have everything up to these heights.
func (j *Journal) Lose(heads map[string]uint64) error {
	return j.db.Update(func(tx *bbolt.Tx) error { return lose(tx, heads) })
}

func lose(tx *bbolt.Tx, heads map[string]uint64) error {
	b := tx.Bucket(bucketLost)
	for network, height := range heads {
		if old := b.Get([]byte(network)); old != nil && binary.BigEndian.Uint64(old) >= height {
			continue
		}
		if err := b.Put([]byte(network), binary.BigEndian.AppendUint64(nil, height)); err != nil {
			return err
		}
	}
	return nil
}

// LostUpTo is the greatest height of a network of which, as far as this node knows,
// some journal is lost; 0: none is.
func (j *Journal) LostUpTo(network string) (height uint64) {
	_ = j.db.View(func(tx *bbolt.Tx) error { // a closed file has nothing to tell
		if v := tx.Bucket(bucketLost).Get([]byte(network)); v != nil {
			height = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	return height
}
