package main

import (
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

func TestArtifactIsOfThisSource(t *testing.T) {
	source, err := os.ReadFile("contracts/Token.sol")
	if err != nil {
		t.Fatal(err)
	}
	token, err := loadToken()
	if err != nil {
		t.Fatal(err)
	}
	if got := crypto.Keccak256Hash(source); got != token.artifact.SourceHash {
		t.Errorf("Token.json was compiled from source %s, Token.sol is %s: compile it again (contracts/README.md)",
			token.artifact.SourceHash, got)
	}
	if !strings.HasPrefix(token.artifact.Compiler, "0.8.37") {
		t.Errorf("compiler %q, want 0.8.37 as contracts/README.md says", token.artifact.Compiler)
	}
}

func TestArtifactHasTheInterface(t *testing.T) {
	token, err := loadToken()
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string]string{
		"name": "name()", "symbol": "symbol()", "decimals": "decimals()", "totalSupply": "totalSupply()",
		"balanceOf": "balanceOf(address)", "allowance": "allowance(address,address)",
		"transfer": "transfer(address,uint256)", "approve": "approve(address,uint256)",
		"transferFrom": "transferFrom(address,address,uint256)",
		"order":        "order((address,uint256,string))", "tag": "tag(bytes4,uint96,bytes32[])",
	}
	for name, want := range methods {
		if got := token.abi.Methods[name].Sig; got != want {
			t.Errorf("method %s is %q, want %q", name, got, want)
		}
	}
	events := map[string]string{
		"Transfer": "Transfer(address,address,uint256)", "Approval": "Approval(address,address,uint256)",
		"Ordered": "Ordered(address,(address,uint256,string))", "Tagged": "Tagged(bytes4,uint96,bytes32[])",
	}
	for name, want := range events {
		if got := token.abi.Events[name].Sig; got != want {
			t.Errorf("event %s is %q, want %q", name, got, want)
		}
	}
}
