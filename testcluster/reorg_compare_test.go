package testcluster

import (
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// firstHeight is the first block after the one that chains here begin with.
const firstHeight = 1001

// canonical lists the alerts that a tenant's monitor of all transfers has reason
// for.
func canonical(c *fakechain.Chain, tenant int) (out []farm.Canonical) {
	head := c.Head().Number
	for height := uint64(firstHeight); height <= head; height++ {
		b := c.At(height)
		for _, tx := range b.Txs {
			out = append(out, farm.Canonical{Alert: alertOf(tenant, tx), Block: b.Hash.String(), Above: head - height})
		}
	}
	return out
}
