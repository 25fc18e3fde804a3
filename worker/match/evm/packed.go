package evm

import (
	"encoding/json"

	"github.com/klauspost/compress/s2"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// packed is the compressed JSON of a monitor as it stands in a match. Documents
// resemble each other and are read only when they match, so with many monitors
// the memory counts for more than the time.
type packed string

// packing is what documents have in common. Packed documents never leave the
// process, so it may change.
var packing = s2.MakeDict([]byte(`"chain_configurations":[{"evm":{}}],"contract_spec":null},{"address":"0x`+
	`{"expression":null,"signature":"Approval(address,address,uint256)"}],"functions":[{"expression":"amount >= 100`+
	`","signature":"transferFrom(address,address,uint256)"},{"signature":"transfer(address,uint256)"`+
	`"transactions":[{"expression":"value > 0","status":"Success"},{"expression":null,"status":"Any"}],"name":"Large `+
	`"networks":["ethereum_mainnet"],"paused":true,"trigger_conditions":[{"arguments":["--verbose"],"language":"Python",`+
	`"script_path":"./config/filters/","timeout_ms":1000}],"triggers":["slack","email`+
	`{"addresses":[{"address":"0x","contract_spec":null}],"chain_configurations":[],"match_conditions":{"events":[`+
	`{"expression":"value > 1000000000 AND to == 0x","signature":"Transfer(address,address,uint256)"}],"functions":[],`+
	`"transactions":[]},"name":"monitor","networks":["ethereum"],"paused":false,"trigger_conditions":[],"triggers":["`), nil)

func pack(m *spec.Monitor) packed {
	// The document was read from JSON, so writing it cannot fail.
	doc, _ := m.MatchJSON(spec.EVM)
	out := make([]byte, s2.MaxEncodedLen(len(doc)))
	return packed(packing.Encode(out, doc))
}

func (p packed) json() json.RawMessage {
	doc, err := packing.Decode(nil, []byte(p))
	if err != nil { // only if memory was overwritten
		return nullJSON
	}
	return doc
}
