package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/match"
)

// What a sample is made of. Nothing of it can be taken for a transaction of a
// chain, and it is the same each time: the retraction of a sample belongs to the
// sample that fired.
const (
	sampleMark   = "[sample] "
	sampleHeight = 1_234_567
	sampleValue  = "1000000000000000000"
)

var (
	sampleTx    = "0x" + strings.Repeat("5a", 32)
	sampleFrom  = "0x" + strings.Repeat("11", 20)
	sampleTo    = "0x" + strings.Repeat("22", 20)
	sampleBlock = fsm.BlockRef{Height: sampleHeight, Hash: fsm.Hash(slices.Repeat([]byte{0x5b}, 32))}
)

// sampleAlert is an alert that never was, of one of a tenant's monitors, or of
// none in particular. position orders the states of one sample as real ones are.
func sampleAlert(tenant string, m *spec.Monitor, state alert.State, at time.Time) (*alert.Alert, error) {
	if m == nil {
		m = &spec.Monitor{Name: "sample", Networks: []string{"sample_network"}}
		m.Match.Events = []spec.Signature{{Signature: "Transfer(address,address,uint256)"}}
		m.Addresses = []spec.Address{{Address: sampleTo, ContractSpec: json.RawMessage(sampleABI), SpecChain: spec.EVM}}
	}
	slug := "sample_network"
	if len(m.Networks) > 0 {
		slug = m.Networks[0]
	}
	found, err := sampleMatch(tenant, m, slug)
	if err != nil {
		return nil, err
	}
	body, err := found.JSON()
	if err != nil {
		return nil, err
	}
	return &alert.Alert{
		ID:     alert.NewID(tenant, "sample of "+m.Name, slug, sampleTx),
		Tenant: tenant, MonitorID: m.Name, MonitorName: found.MonitorName, Network: slug, NetworkSlug: slug,
		Block: sampleBlock, BlockTime: at, Seen: at, Tx: sampleTx, State: state, Position: positionOf(state),
		Variables: found.Variables(), Match: body,
	}, nil
}

// positionOf orders the states of a sample as an alert passes through them.
func positionOf(s alert.State) uint64 {
	order := []alert.State{alert.Fired, alert.Confirmed, alert.Retracted, alert.Reinstated}
	return uint64(slices.Index(order, s)) + 1 //nolint:gosec // found, or 0
}

const sampleABI = `[{"type":"event","name":"Transfer","inputs":[
	{"name":"from","type":"address","indexed":true},{"name":"to","type":"address","indexed":true},{"name":"value","type":"uint256"}]}]`

// sampleMatch is a match in which all conditions of a monitor were met at once.
func sampleMatch(tenant string, m *spec.Monitor, slug string) (*match.Match, error) {
	out := &match.Match{
		Key: match.Key{Tenant: tenant, Monitor: m.Name}, Chain: spec.EVM, Network: slug, MonitorName: sampleMark + m.Name,
		Block: sampleBlock, Transaction: sampleTx,
		Vars: map[string]string{"hash": sampleTx, "from": sampleFrom, "to": sampleTo, "value": sampleValue},
	}
	contracts := contractsOf(m)
	calls := func(kind string, list []spec.Signature) (on []match.Condition, args []match.Call) {
		for _, s := range list {
			on = append(on, match.Condition{Expression: s.Expression, Signature: s.Signature})
			args = append(args, contracts.call(kind, s.Signature))
		}
		return on, args
	}
	out.MatchedOn.Events, out.Args.Events = calls("event", m.Match.Events)
	out.MatchedOn.Functions, out.Args.Functions = calls("function", m.Match.Functions)
	for _, t := range m.Match.Transactions {
		out.MatchedOn.Transactions = append(out.MatchedOn.Transactions, match.TransactionCondition{Expression: t.Expression, Status: spec.StatusSuccess})
	}
	shown := *m
	shown.Name, shown.ChainConfigurations = out.MonitorName, nil // those may hold keys
	var err error
	if out.Monitor, err = json.Marshal(shown); err != nil {
		return nil, err
	}
	transaction, err := json.Marshal(map[string]any{
		"hash": sampleTx, "from": sampleFrom, "to": sampleTo, "value": "0xde0b6b3a7640000", "nonce": "0x1", "input": "0x", "type": "0x2",
		"gas": "0x5208", "blockHash": sampleBlock.Hash.String(), "blockNumber": "0x" + strconv.FormatUint(sampleHeight, 16), "transactionIndex": "0x0",
	})
	if err != nil {
		return nil, err
	}
	out.Parts = map[string]json.RawMessage{"logs": []byte("[]"), "receipt": []byte("null"), "transaction": transaction}
	return out, nil
}

// contracts are the entries of a monitor's contract specifications.
type contracts []contractEntry

type contractEntry struct {
	Type   string          `json:"type"`
	Name   string          `json:"name"`
	Inputs []contractInput `json:"inputs"`
}

type contractInput struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Indexed bool   `json:"indexed"`
}

func contractsOf(m *spec.Monitor) (out contracts) {
	for _, a := range m.Addresses {
		var list contracts
		if json.Unmarshal(a.ContractSpec, &list) == nil { // what is not one of EVM's names no arguments
			out = append(out, list...)
		}
	}
	return out
}

// call makes up the arguments of an event or function: named as its contract
// names them, or by their place where no contract does.
func (c contracts) call(kind, signature string) match.Call {
	name, params, _ := strings.Cut(strings.TrimSpace(signature), "(")
	types := splitTypes(strings.TrimSuffix(strings.TrimSpace(params), ")"))
	var inputs []contractInput
	for i, t := range types {
		inputs = append(inputs, contractInput{Name: strconv.Itoa(i), Type: t})
	}
	for _, e := range c {
		if e.Type == kind && e.Name == name && len(e.Inputs) == len(types) {
			inputs = e.Inputs
			break
		}
	}
	hash := sha256.Sum256([]byte(signature))
	out := match.Call{Signature: signature, HexSignature: "0x" + hex.EncodeToString(hash[:4])}
	for _, in := range inputs {
		out.Args = append(out.Args, match.Arg{Name: in.Name, Kind: in.Type, Indexed: in.Indexed, Value: sampleArg(in)})
	}
	return out
}

// splitTypes cuts a parameter list at the commas that are in no tuple.
func splitTypes(params string) []string {
	var out []string
	deep, start := 0, 0
	for i, r := range params {
		switch r {
		case '(':
			deep++
		case ')':
			deep--
		case ',':
			if deep == 0 {
				out = append(out, strings.TrimSpace(params[start:i]))
				start = i + 1
			}
		}
	}
	if last := strings.TrimSpace(params[start:]); last != "" {
		out = append(out, last)
	}
	return out
}

// sampleArg makes up a value of a type, in the form that a match has it in.
func sampleArg(in contractInput) string {
	switch t := in.Type; {
	case strings.HasSuffix(t, "]"), strings.HasPrefix(t, "("), t == "tuple":
		return "[]"
	case t == "address" && in.Name == "from":
		return sampleFrom
	case t == "address":
		return sampleTo
	case t == "bool":
		return "true"
	case t == "string":
		return "sample"
	case strings.HasPrefix(t, "bytes"):
		return "0x5a5a"
	case strings.HasPrefix(t, "uint"), strings.HasPrefix(t, "int"):
		if bits, err := strconv.Atoi(strings.TrimLeft(t, "uint")); err == nil && bits < 64 {
			return "42"
		}
		return sampleValue
	default:
		return "sample"
	}
}

// sampleTrigger is a copy of a trigger whose messages say that they are samples.
func sampleTrigger(t *spec.Trigger) *spec.Trigger {
	out := *t
	mark := func(m spec.Message) spec.Message {
		m.Title = sampleMark + m.Title
		return m
	}
	switch {
	case t.Slack != nil:
		c := *t.Slack
		c.Message = mark(c.Message)
		out.Slack = &c
	case t.Discord != nil:
		c := *t.Discord
		c.Message = mark(c.Message)
		out.Discord = &c
	case t.Telegram != nil:
		c := *t.Telegram
		c.Message = mark(c.Message)
		out.Telegram = &c
	case t.Email != nil:
		c := *t.Email
		c.Message = mark(c.Message)
		out.Email = &c
	case t.PagerDuty != nil:
		c := *t.PagerDuty
		c.Message = mark(c.Message)
		out.PagerDuty = &c
	case t.Webhook != nil && t.Webhook.Message != nil:
		c := *t.Webhook
		m := mark(*c.Message)
		c.Message = &m
		out.Webhook = &c
	}
	return &out
}
