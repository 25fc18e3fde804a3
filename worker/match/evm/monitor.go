package evm

import (
	"strings"
	"unicode"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

func init() {
	shared := &ABIs{}
	match.Register(spec.EVM, func(m *spec.Monitor) (match.Compiled, []match.Problem) {
		return Compile(m, shared)
	})
}

// ABIs shares parsed ABIs between monitors. The zero value is ready.
type ABIs = abi.Cache

// Monitor is a compiled monitor. It is immutable and safe for concurrent use.
type Monitor struct {
	name    string
	doc     packed      // the document as it stands in a match
	targets []target    // distinct addresses, first entries win
	txs     []condition // transaction conditions that can hold, in order
	lent    *lent       // nil unless some address lacks an ABI for the function conditions

	paused                          bool
	hasEvents, hasFunctions, hasTxs bool // the configured list is not empty
	asksStatus                      bool // a condition has a status other than Any
	asksGas                         bool // an expression mentions gas_used
}

// target is a monitored address.
type target struct {
	address  chainevm.Address
	contract *contract // nil without a usable contract spec
}

// contract is what a monitor asks of contracts with one ABI.
type contract struct {
	abi   *abi.ABI
	rules []*rule
}

// rules are what the monitor asks of the address.
func (t *target) rules() []*rule {
	if t.contract == nil {
		return nil
	}
	return t.contract.rules
}

// rule is what a monitor asks of one event or function.
type rule struct {
	def   *abi.Definition
	conds []condition // alternatives that can hold, in the order of the document
}

// condition is one entry of a list of match conditions.
type condition struct {
	rule    *rule           // nil for a transaction condition
	program *expr.Program   // nil: always true
	index   uint32          // position in the list, for the rule that the first counts
	status  chainevm.Status // transaction conditions: StatusUnknown means Any
	texts   bool            // transaction conditions: the program reads hash or input
}

// expression is the text as configured, nil when there is none.
func (c *condition) expression() *string {
	if c.program == nil {
		return nil
	}
	source := c.program.Source()
	return &source
}

// MonitorName is the name as configured.
func (m *Monitor) MonitorName() string { return m.name }

// Paused reports whether the monitor is paused; an Index ignores it then.
func (m *Monitor) Paused() bool { return m.paused }

// gateOnly reports whether there are neither events nor functions, so that
// the addresses alone select transactions.
func (m *Monitor) gateOnly() bool { return !m.hasEvents && !m.hasFunctions }

// peerReads reports whether the peer would have fetched receipts for a block
// with that many logs (evm-matching, section 1).
func (m *Monitor) peerReads(logs int) bool { return m.asksGas || m.asksStatus && logs == 0 }

// parseAddress reads an address the way the peer compares it: without one
// leading 0x, white space and letter case.
func parseAddress(s string) (chainevm.Address, error) {
	digits := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(s, "0x"))
	if strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0X") {
		digits = "" // a second prefix never compares equal
	}
	return chainevm.ParseAddress(digits)
}
