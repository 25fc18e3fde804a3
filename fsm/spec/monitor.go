package spec

import (
	"encoding/json"
	"slices"
)

// Monitor says what to look for on which networks: one file in monitors/.
type Monitor struct {
	Name                string
	Networks            []string // slugs, or file stems until a folder has resolved them
	Paused              bool
	Addresses           []Address
	Match               MatchConditions
	TriggerConditions   []TriggerCondition
	Triggers            []string // trigger ids; one listed twice fires twice
	ChainConfigurations []ChainConfiguration

	// Mode (extension mode) is "", ModeInstant, ModeConfirmed, ModeBoth or
	// ModeFinalized.
	Mode string
}

// The values of Monitor.Mode.
const (
	ModeInstant   = "instant"
	ModeConfirmed = "confirmed"
	ModeBoth      = "both"
	ModeFinalized = "finalized"
)

// Address is a monitored account or contract.
type Address struct {
	Address string // as written, never normalised
	// ContractSpec is the bytes of the document, white space included; nil when
	// absent. An ABI inside a wrapping object is unwrapped.
	ContractSpec json.RawMessage
	// SpecChain is the chain that the shape of ContractSpec tells: EVM, Stellar,
	// Solana, or "" without one.
	SpecChain Chain
}

// MatchConditions are alternatives within each list.
type MatchConditions struct {
	Functions    []Signature
	Events       []Signature
	Transactions []Transaction
}

// Signature is a condition on a function or event.
type Signature struct {
	Signature  string // as written, never trimmed
	Expression *string
}

// The values of Transaction.Status.
const (
	StatusAny     = "Any"
	StatusSuccess = "Success"
	StatusFailure = "Failure"
)

// Transaction is a condition on a whole transaction.
type Transaction struct {
	Status     string
	Expression *string
}

// TriggerCondition is a script that may drop a match.
type TriggerCondition = Script

// ChainConfiguration holds settings for one chain. Only Midnight has any.
type ChainConfiguration struct {
	EVM, Stellar, Solana bool // the empty object was given
	Midnight             *MidnightConfiguration
}

// MidnightConfiguration holds the viewing keys of a monitor.
type MidnightConfiguration struct {
	ViewingKeys []Secret
}

// Secrets returns pointers to every secret of the document, so that a caller can
// seal or resolve them in place.
func (m *Monitor) Secrets() []*Secret {
	var out []*Secret
	for _, c := range m.ChainConfigurations {
		if c.Midnight == nil {
			continue
		}
		for i := range c.Midnight.ViewingKeys {
			out = append(out, &c.Midnight.ViewingKeys[i])
		}
	}
	return out
}

// The wire forms have their keys in alphabetical order, as the peer emits them
// inside a match.
type monitorWire struct {
	Addresses           []addressWire            `json:"addresses"`
	ChainConfigurations []chainConfigurationWire `json:"chain_configurations"`
	Match               matchConditionsWire      `json:"match_conditions"`
	Mode                string                   `json:"mode,omitempty"`
	Name                string                   `json:"name"`
	Networks            []string                 `json:"networks"`
	Paused              bool                     `json:"paused"`
	TriggerConditions   []scriptWire             `json:"trigger_conditions"`
	Triggers            []string                 `json:"triggers"`
}

type addressWire struct {
	Address      string          `json:"address"`
	ContractSpec json.RawMessage `json:"contract_spec"`
}

type matchConditionsWire struct {
	Events       []signatureWire   `json:"events"`
	Functions    []signatureWire   `json:"functions"`
	Transactions []transactionWire `json:"transactions"`
}

type signatureWire struct {
	Expression *string `json:"expression"`
	Signature  string  `json:"signature"`
}

type transactionWire struct {
	Expression *string `json:"expression"`
	Status     string  `json:"status"`
}

type chainConfigurationWire struct {
	EVM      *struct{}     `json:"evm,omitempty"`
	Midnight *midnightWire `json:"midnight,omitempty"`
	Solana   *struct{}     `json:"solana,omitempty"`
	Stellar  *struct{}     `json:"stellar,omitempty"`
}

type midnightWire struct {
	ViewingKeys []Secret `json:"viewing_keys"`
}

// MarshalJSON writes the document with the peer's field names, every list
// present, and secrets in clear. White space inside contract specs is dropped.
func (m Monitor) MarshalJSON() ([]byte, error) { return Encode(m.wire()) }

// MatchJSON is the monitor as it stands inside the match of a block of a chain:
// without viewing keys, and on EVM without contract specs.
func (m *Monitor) MatchJSON(chain Chain) ([]byte, error) {
	w := m.wire()
	for i := range w.ChainConfigurations {
		if c := &w.ChainConfigurations[i]; c.Midnight != nil {
			c.Midnight = &midnightWire{ViewingKeys: []Secret{}}
		}
	}
	if chain == EVM {
		for i := range w.Addresses {
			w.Addresses[i].ContractSpec = nil
		}
	}
	return Encode(w)
}

func (m *Monitor) wire() monitorWire {
	w := monitorWire{
		Addresses:           make([]addressWire, len(m.Addresses)),
		ChainConfigurations: make([]chainConfigurationWire, len(m.ChainConfigurations)),
		Match: matchConditionsWire{
			Events:       wireSignatures(m.Match.Events),
			Functions:    wireSignatures(m.Match.Functions),
			Transactions: make([]transactionWire, len(m.Match.Transactions)),
		},
		Mode:              m.Mode,
		Name:              m.Name,
		Networks:          orEmpty(m.Networks),
		Paused:            m.Paused,
		TriggerConditions: make([]scriptWire, len(m.TriggerConditions)),
		Triggers:          orEmpty(m.Triggers),
	}
	for i, a := range m.Addresses {
		w.Addresses[i] = addressWire{Address: a.Address, ContractSpec: a.ContractSpec}
	}
	for i, t := range m.Match.Transactions {
		w.Match.Transactions[i] = transactionWire{Expression: t.Expression, Status: t.Status}
	}
	for i, c := range m.TriggerConditions {
		w.TriggerConditions[i] = scriptWire(c)
	}
	for i, c := range m.ChainConfigurations {
		w.ChainConfigurations[i] = c.wire()
	}
	return w
}

func wireSignatures(list []Signature) []signatureWire {
	out := make([]signatureWire, len(list))
	for i, s := range list {
		out[i] = signatureWire{Expression: s.Expression, Signature: s.Signature}
	}
	return out
}

func (c ChainConfiguration) wire() chainConfigurationWire {
	present := func(given bool) *struct{} {
		if given {
			return &struct{}{}
		}
		return nil
	}
	w := chainConfigurationWire{EVM: present(c.EVM), Solana: present(c.Solana), Stellar: present(c.Stellar)}
	if c.Midnight != nil {
		w.Midnight = &midnightWire{ViewingKeys: orEmpty(slices.Clone(c.Midnight.ViewingKeys))}
	}
	return w
}

// UnmarshalJSON reads a stored document: ParseMonitor with OriginState.
func (m *Monitor) UnmarshalJSON(data []byte) error {
	got, problems := ParseMonitor(data, WithOrigin(OriginState))
	if err := problems.Err(); err != nil {
		return err
	}
	*m = *got
	return nil
}
