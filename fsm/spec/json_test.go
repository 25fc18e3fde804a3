package spec

import (
	"encoding/json"
	"strings"
	"testing"
)

// People read what they have written; what is stored stays as json.Marshal writes it.
func TestEncode(t *testing.T) {
	const text = `{"name":"A & B","networks":["main"],"match_conditions":{"functions":[],"events":[],"transactions":[{"status":"Any","expression":"value > 1 && value < 5"}]},` +
		`"trigger_conditions":[],"triggers":[],"addresses":[],"paused":false}`
	m, problems := ParseMonitor([]byte(strings.ReplaceAll(text, "&&", "AND")))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	read, err := Encode(map[string]any{"m": m, "secret": Plain("a<b"), "header": headerWire(Plain("x>y"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"value > 1 AND value < 5"`, `"A & B"`, `"a<b"`, `"x>y"`} {
		if !strings.Contains(string(read), want) || strings.HasSuffix(string(read), "\n") {
			t.Errorf("no %s in %s", want, read)
		}
	}
	stored, err := json.Marshal(m)
	if err != nil || !strings.Contains(string(stored), `value \u003e 1`) || strings.ContainsAny(string(stored), "<>&") {
		t.Errorf("%v: %s", err, stored)
	}
	if _, err := Encode(func() {}); err == nil {
		t.Error("a function was written")
	}
}
