package spec

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/vectors"
)

type vector struct {
	Input struct {
		Kind      string            `json:"kind"`
		Document  json.RawMessage   `json:"document"`
		Documents []json.RawMessage `json:"documents"`
		Context   *struct {
			Networks []json.RawMessage `json:"networks"`
			Triggers []string          `json:"triggers"`
		} `json:"context"`
	} `json:"input"`
	Expect struct {
		Valid  bool   `json:"valid"`
		Reason string `json:"reason"`
	} `json:"expect"`
}

// problems loads the documents of a case as a folder would.
func (v vector) problems(t *testing.T) Problems {
	t.Helper()
	opts := []Option{WithResolver(t.Context(), LocalResolver{}), WithScripts(os.DirFS(t.TempDir()))}
	docs := v.Input.Documents
	if v.Input.Document != nil {
		docs = append(docs, v.Input.Document)
	}
	var all Problems
	byName, bySlug := names{}, names{}
	unique := func(seen names, name string) {
		if _, taken := seen.taken(name, ""); taken {
			all = append(all, Problem{Message: "duplicate " + name, Severity: SeverityError})
		}
	}
	for _, doc := range docs {
		switch v.Input.Kind {
		case "network":
			n, ps := ParseNetwork(doc, opts...)
			all = append(all, ps...)
			if n != nil {
				unique(byName, n.Name)
				unique(bySlug, n.Slug)
				roundTrip(t, n)
			}
		case "trigger":
			tr, ps := ParseTrigger(doc, opts...)
			all = append(all, ps...)
			if tr != nil {
				unique(byName, tr.Name)
				roundTrip(t, tr)
			}
		case "monitor":
			m, ps := ParseMonitor(doc, opts...)
			all = append(all, ps...)
			if m == nil {
				continue
			}
			unique(byName, m.Name)
			roundTrip(t, m)
			if v.Input.Context != nil {
				all = append(all, CheckReferences(m, v.references(t))...)
			}
		default:
			t.Fatalf("unknown kind %q", v.Input.Kind)
		}
	}
	return all
}

func (v vector) references(t *testing.T) References {
	t.Helper()
	networks := make(map[string]*Network)
	for _, doc := range v.Input.Context.Networks {
		n, ps := ParseNetwork(doc)
		if err := ps.Err(); err != nil {
			t.Fatalf("network of the context: %v", err)
		}
		networks[n.Slug] = n
	}
	return NewReferences(networks, nil, v.Input.Context.Triggers)
}

// roundTrip checks that a document marshals to one that reads the same.
func roundTrip[T any](t interface {
	Helper()
	Fatalf(string, ...any)
}, doc *T,
) {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	var back T
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatalf("reading back %s: %v", data, err)
	}
	if !Equal(doc, &back) {
		again, _ := json.Marshal(&back)
		t.Fatalf("round trip changed the document:\n%s\n%s", data, again)
	}
}

func TestConformance(t *testing.T) {
	passed, failed := 0, 0
	for _, c := range vectors.Files(t, "config") {
		ok := t.Run("config/"+c.Name, func(t *testing.T) {
			var v vector
			if err := json.Unmarshal(c.Data, &v); err != nil {
				t.Fatal(err)
			}
			problems := v.problems(t)
			if valid := len(problems.Errors()) == 0; valid != v.Expect.Valid {
				t.Errorf("valid = %v, want %v (%s); problems:\n%v", valid, v.Expect.Valid, v.Expect.Reason, problems)
			}
			if testing.Verbose() && len(problems) > 0 {
				t.Logf("%s\n%v", v.Expect.Reason, problems)
			}
		})
		if ok {
			passed++
		} else {
			failed++
		}
	}
	vectors.Summary("config", passed, 0, failed, "")
}

// The documents that go with the cases of other areas are valid too.
func TestVectorDocuments(t *testing.T) {
	networks, monitors := 0, 0
	for _, area := range []string{"evm", "stellar", "solana"} {
		for _, c := range vectors.Files(t, area) {
			var v struct {
				Input struct {
					Network  json.RawMessage   `json:"network"`
					Monitors []json.RawMessage `json:"monitors"`
				} `json:"input"`
			}
			if err := json.Unmarshal(c.Data, &v); err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			if v.Input.Network != nil {
				networks++
				n, ps := ParseNetwork(v.Input.Network, WithFile(c.Name))
				if err := ps.Err(); err != nil {
					t.Error(err)
					continue
				}
				roundTrip(t, n)
			}
			for _, doc := range v.Input.Monitors {
				monitors++
				m, ps := ParseMonitor(doc, WithFile(c.Name))
				if err := ps.Err(); err != nil {
					t.Error(err)
					continue
				}
				roundTrip(t, m)
			}
		}
	}
	if networks == 0 || monitors == 0 {
		t.Errorf("found %d networks and %d monitors", networks, monitors)
	}
	t.Logf("%d networks, %d monitors", networks, monitors)
}
