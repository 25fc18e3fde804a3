package testcluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
)

// signingSecret is what every webhook here is signed with.
const signingSecret = "the receiver's secret"

// Folder is the folder of documents.
func (c *Cluster) Folder() string { return filepath.Join(c.dir, "config") }

// doc is a document or a part of one.
type doc map[string]any

// Write puts a document into the folder.
func (c *Cluster) Write(path string, document any) {
	c.t.Helper()
	data, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		c.t.Fatal(err)
	}
	path = filepath.Join(c.Folder(), filepath.FromSlash(path))
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// writeFolder writes all networks, and a monitor and a webhook for each tenant.
func (c *Cluster) writeFolder() {
	for i, slug := range c.opts.Networks {
		c.Write("networks/"+slug+".json", doc{
			"network_type": "EVM", "slug": slug, "name": slug, "chain_id": i + 1,
			"rpc_urls":      []doc{{"type_": "rpc", "url": plain("https://" + slug + ".example"), "weight": 100}},
			"block_time_ms": c.opts.BlockTime.Milliseconds(), "confirmation_blocks": Depth, "cron_schedule": "*/1 * * * * *",
			"max_past_blocks": "unlimited",
		})
	}
	for i := range c.opts.Tenants {
		c.WriteTenant(TenantName(i))
	}
}

// WriteTenant writes a tenant's documents: a monitor of every transfer, on all
// networks, and its webhook.
func (c *Cluster) WriteTenant(tenant string) {
	c.Write("tenants/"+tenant+"/triggers/hook.json", doc{"hook": doc{
		"name": "hook", "trigger_type": "webhook",
		"config": doc{
			"url": plain(c.Receiver.URL + "/" + tenant), "method": "POST", "secret": plain(signingSecret), "payload_mode": "raw",
			"retry_policy": doc{"max_retries": 0},
		},
	}})
	c.writeMonitor("tenants/"+tenant+"/monitors/transfers.json", "transfers")
}

// writeMonitor writes a monitor of every transfer, on all networks.
func (c *Cluster) writeMonitor(path, name string) {
	var expression any
	if c.opts.Idle {
		expression = "value > 1000000000000"
	}
	c.Write(path, doc{
		"name": name, "paused": false, "networks": c.opts.Networks, "triggers": []string{"hook"},
		"addresses": []doc{{"address": fmt.Sprintf("0x%x", fakechain.Token[:]), "contract_spec": []doc{{
			"type": "event", "name": "Transfer", "anonymous": false,
			"inputs": []doc{
				{"name": "from", "type": "address", "indexed": true},
				{"name": "to", "type": "address", "indexed": true},
				{"name": "value", "type": "uint256", "indexed": false},
			},
		}}}},
		"match_conditions": doc{
			"functions": []doc{}, "transactions": []doc{},
			"events": []doc{{"signature": "Transfer(address,address,uint256)", "expression": expression}},
		},
		"trigger_conditions": []doc{},
	})
}

func plain(value string) doc { return doc{"type": "plain", "value": value} }
