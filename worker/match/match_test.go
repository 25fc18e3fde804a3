package match_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
)

func sample() *match.Match {
	expression := "value > 5 && <x>"
	return &match.Match{
		Chain: spec.EVM, Network: "net", MonitorName: "m", Transaction: "0x1",
		MatchedOn: match.MatchedOn{Events: []match.Condition{{Expression: &expression, Signature: "E(uint256)"}, {Signature: "F()"}}},
		Args: match.MatchedOnArgs{Events: []match.Call{
			{Signature: "E(uint256)", HexSignature: "0xee", Args: []match.Arg{{Name: "a", Kind: "uint256", Value: "1"}, {Name: "a", Kind: "uint256", Value: "2"}}},
			{Signature: "F()", HexSignature: "0xff", Args: []match.Arg{}},
		}},
		Vars:    map[string]string{"hash": "0x1", "value": "3"},
		Monitor: json.RawMessage(`{"name":"m","b":1,"a":12345678901234567890}`),
		Parts:   map[string]json.RawMessage{"logs": json.RawMessage(`[]`), "receipt": nil},
	}
}

func TestJSON(t *testing.T) {
	got, err := sample().JSON()
	want := `{"EVM":{"logs":[],"matched_on":{"events":[{"expression":"value > 5 && <x>","signature":"E(uint256)"},{"expression":null,"signature":"F()"}],` +
		`"functions":[],"transactions":[]},"matched_on_args":{"events":[{"args":[{"indexed":false,"kind":"uint256","name":"a","value":"1"},` +
		`{"indexed":false,"kind":"uint256","name":"a","value":"2"}],"hex_signature":"0xee","signature":"E(uint256)"},` +
		`{"args":[],"hex_signature":"0xff","signature":"F()"}],"functions":null},"monitor":{"a":12345678901234567890,"b":1,"name":"m"},` +
		`"network_slug":"net","receipt":null}}`
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	bad := sample()
	bad.Parts["logs"] = json.RawMessage(`[`)
	if _, err := bad.JSON(); err == nil {
		t.Error("bad JSON is written")
	}
}

func TestVariables(t *testing.T) {
	want := map[string]string{
		"monitor.name": "m", "transaction.hash": "0x1", "transaction.value": "3",
		"events.0.signature": "E(uint256)", "events.0.args.a": "2", "events.1.signature": "F()",
	}
	if diff := cmp.Diff(want, sample().Variables()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type named string

func (n named) MonitorName() string { return string(n) }

func init() {
	match.Register("Test", func(m *spec.Monitor) (match.Compiled, []match.Problem) {
		return named(m.Name), []match.Problem{{Path: "p", Severity: match.SeverityWarning, Message: "odd", Suggestion: "change it"}}
	})
}

func TestCompile(t *testing.T) {
	m, problems, err := match.Compile("Test", &spec.Monitor{Name: "n"})
	if err != nil || m.MonitorName() != "n" || len(problems) != 1 || match.HasErrors(problems) || problems[0].String() != "p: odd; change it" {
		t.Errorf("%v, %v, %v", m, problems, err)
	}
	if _, _, err := match.Compile("Dogecoin", &spec.Monitor{}); !errors.Is(err, match.ErrUnknownChain) {
		t.Errorf("unknown chain: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a chain can be registered twice")
		}
	}()
	match.Register("Test", nil)
}
