package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/client/files"
	"github.com/ozmo-dev/ozmo/testcluster/vectors"
)

// vectorFolder is the folder that a vector's documents make, with what they refer to.
func vectorFolder(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var v struct {
		Input struct {
			Network  object   `json:"network"`
			Monitors []object `json:"monitors"`
		} `json:"input"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{"networks/vector.json": v.Input.Network, "filters/README": ""}
	triggers := object{"spare": webhookDoc("Spare", plain("https://hooks.example/spare"))}
	for i, m := range v.Input.Monitors {
		out[fmt.Sprintf("monitors/m%d.json", i)] = m
		ids, _ := m["triggers"].([]any)
		for _, id := range ids {
			triggers[id.(string)] = webhookDoc("Trigger "+id.(string), object{"type": "environment", "value": hookVariable})
		}
		conditions, _ := m["trigger_conditions"].([]any)
		for _, c := range conditions {
			out[strings.TrimPrefix(c.(object)["script_path"].(string), "./")] = "true\n"
		}
	}
	out["triggers/all.json"] = triggers
	return out
}

// readBack reads a folder as its documents.
func readBack(t *testing.T, dir string) *files.Documents {
	t.Helper()
	f, err := files.Open(t.Context(), dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, problems, err := f.Tenant(t.Context(), "any")
	if err != nil || problems.Err() != nil {
		t.Fatalf("%s: %v %v", dir, err, problems.Err())
	}
	return d
}

// Whatever OpenZeppelin Monitor's own documents hold, a folder that is imported and
// exported again is the same, and applying it changes nothing.
func TestRoundTripOfVectors(t *testing.T) {
	apiNode(t)
	t.Setenv(hookVariable, hookValue)
	same := 0
	for _, area := range []string{"evm", "stellar", "solana"} {
		for _, c := range vectors.Files(t, area) {
			dir := write(t, vectorFolder(t, c.Data))
			tenant := c.Name[:min(len(c.Name), 63)]
			if r := ozmo(t, "config", "check", dir); r.code != exitOK {
				continue // it is meant to be refused
			}
			ozmo(t, "tenant", "import", dir, "--tenant", tenant).want(t, exitOK, "tenant "+tenant+": version 1, ", "")
			out := filepath.Join(t.TempDir(), "out")
			ozmo(t, "export", "--tenant", tenant, out).want(t, exitOK, "document", "")
			before, after := readBack(t, dir), readBack(t, out)
			differences, err := files.Compare(after, before, true)
			if err != nil || len(differences) != 0 {
				t.Errorf("%s: %+v, %v", c.Name, differences, err)
			}
			if before.Count() != after.Count() {
				t.Errorf("%s: %d documents, then %d", c.Name, before.Count(), after.Count())
			}
			ozmo(t, "apply", "-f", out, "--tenant", tenant).want(t, exitOK, "unchanged, version 1", "")
			same++
		}
	}
	if same < 50 {
		t.Errorf("only %d folders could be imported", same)
	}
	t.Logf("%d folders went there and back", same)
}
