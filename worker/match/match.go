package match

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Key names a monitor across tenants.
type Key struct {
	Tenant  string
	Monitor string // the monitor's id
}

// Match is one monitor's conditions met by one transaction.
type Match struct {
	Key
	Chain       spec.Chain
	Network     string       // slug
	MonitorName string       // as configured
	Block       fsm.BlockRef // the block that was judged
	Transaction string       // hash or signature of the transaction, as templates show it
	MatchedOn   MatchedOn
	Args        MatchedOnArgs

	// Vars are the chain's transaction variables: names after "transaction.".
	Vars map[string]string
	// Monitor is the monitor's document as it stands in the match.
	Monitor json.RawMessage
	// Parts are the chain's own keys of the match object, such as "logs" and
	// "transaction"; "matched_on", "matched_on_args", "monitor" and "network_slug"
	// are added to them.
	Parts map[string]json.RawMessage
}

// MatchedOn lists the conditions that held.
type MatchedOn struct {
	Events       []Condition            `json:"events"`
	Functions    []Condition            `json:"functions"`
	Transactions []TransactionCondition `json:"transactions"`
}

// Condition is an event or function condition that held. Signature is the
// contract's spelling, not the configured one.
type Condition struct {
	Expression *string `json:"expression"` // as configured, nil when there was none
	Signature  string  `json:"signature"`
}

// TransactionCondition is a transaction condition that held, with the actual
// status.
type TransactionCondition struct {
	Expression *string `json:"expression"`
	Status     string  `json:"status"`
}

// MatchedOnArgs holds the arguments, each list parallel to that of MatchedOn.
type MatchedOnArgs struct {
	Events    []Call `json:"events"`
	Functions []Call `json:"functions"`
}

// Call is the arguments of one event or call.
type Call struct {
	Args         []Arg  `json:"args"`
	HexSignature string `json:"hex_signature"`
	Signature    string `json:"signature"`
}

// Arg is one argument in text form.
type Arg struct {
	Indexed bool   `json:"indexed"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Value   string `json:"value"`
}

// JSON is the match object that scripts and raw webhooks receive: one key
// naming the chain, everything inside in alphabetical order (evm-matching,
// section 6).
func (m *Match) JSON() ([]byte, error) {
	inner := make(map[string]any, len(m.Parts)+4)
	parts := map[string]json.RawMessage{"monitor": m.Monitor}
	maps.Copy(parts, m.Parts)
	for key, raw := range parts {
		value, err := ordered(raw)
		if err != nil {
			return nil, fmt.Errorf("match of monitor %q, transaction %s: %s: %w", m.MonitorName, m.Transaction, key, err)
		}
		inner[key] = value
	}
	on := m.MatchedOn
	on.Events, on.Functions, on.Transactions = orEmpty(on.Events), orEmpty(on.Functions), orEmpty(on.Transactions)
	args := m.Args
	if len(args.Events) == 0 {
		args.Events = nil
	}
	if len(args.Functions) == 0 {
		args.Functions = nil
	}
	inner["matched_on"] = on
	inner["matched_on_args"] = args
	inner["network_slug"] = m.Network

	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // expressions are full of < and >
	if err := enc.Encode(map[spec.Chain]any{m.Chain: inner}); err != nil {
		return nil, fmt.Errorf("match of monitor %q, transaction %s: %w", m.MonitorName, m.Transaction, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// ordered reads JSON so that writing it again orders its keys and changes no
// number. Nothing is null.
func ordered(raw json.RawMessage) (value any, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&value)
	return value, err
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
