package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sample() *Alert {
	block := fsm.BlockRef{Height: 19_000_000, Hash: fsm.Hash{0xaa, 31: 0x01}}
	tx := "0x" + strings.Repeat("1f", 32)
	return &Alert{
		ID:          NewID("acme", "large-transfers", "ethereum_mainnet", tx),
		Tenant:      "acme",
		MonitorID:   "large-transfers",
		MonitorName: "Large transfers",
		Network:     "ethereum_mainnet",
		NetworkSlug: "ethereum_mainnet",
		Block:       block,
		BlockTime:   time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC),
		Tx:          tx,
		State:       Fired,
		Variables:   map[string]string{"monitor.name": "Large transfers", "events.0.args.note": "<b>&\u2028\"é"},
		Match:       json.RawMessage(`{"EVM":{"logs":[],"note":"a<b>&c"}}`),
		Version:     7,
		Position:    123_456,
	}
}

// TestIdentitiesAreFrozen pins the hashes: a change here means that every
// alert in flight during an upgrade is sent twice.
func TestIdentitiesAreFrozen(t *testing.T) {
	a := sample()
	if got, want := a.ID.String(), "568149ea1da77c30d22ec25ef60a63f5"; got != want {
		t.Errorf("id = %s, want %s", got, want)
	}
	for _, tc := range []struct {
		occurrence int
		state      State
		want       string
	}{
		{0, Fired, "38e51f64f5c8d5c1c66b0017494db1cf"},
		{1, Fired, "1cc3c255240d53cc9b633c82e4a576d6"},
		{0, Retracted, "2b7b69a4bcb1d45e6e5e27ecccfb87b5"},
		{0, Reinstated, "df0948a0fc66cb7f5cda006fa24e88b0"},
	} {
		if got := NewKey(a.ID, "ops", tc.occurrence, a.Block.Hash, tc.state).String(); got != tc.want {
			t.Errorf("key(%d, %s) = %s, want %s", tc.occurrence, tc.state, got, tc.want)
		}
	}
}

func TestIDSurvivesAReorganisation(t *testing.T) {
	a, b := sample(), sample()
	b.Block = fsm.BlockRef{Height: a.Block.Height + 1, Hash: fsm.Hash{1}}
	b.ID = NewID(b.Tenant, b.MonitorID, b.Network, b.Tx)
	if a.ID != b.ID {
		t.Errorf("the alert changed its id with its block: %s, %s", a.ID, b.ID)
	}
	if NewKey(a.ID, "t", 0, a.Block.Hash, Fired) == NewKey(b.ID, "t", 0, b.Block.Hash, Fired) {
		t.Error("two blocks share a delivery key")
	}
}

// Moving a character from one field to the next must change the hash: without
// lengths, tenant "ab" + monitor "c" would be tenant "a" + monitor "bc".
func TestFieldsDoNotRunTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := rapid.StringMatching(`[a-c/]{0,4}`)
		draw := func(name string) [4]string {
			return [4]string{field.Draw(t, name+"0"), field.Draw(t, name+"1"), field.Draw(t, name+"2"), field.Draw(t, name+"3")}
		}
		a, b := draw("a"), draw("b")
		same := NewID(a[0], a[1], a[2], a[3]) == NewID(b[0], b[1], b[2], b[3])
		if same != (a == b) {
			t.Fatalf("%q and %q: same id = %t", a, b, same)
		}
	})
}

func TestDeliveriesCountOccurrences(t *testing.T) {
	a := sample()
	got := Deliveries(a, []string{"ops", "slack", "ops"})
	if len(got) != 3 {
		t.Fatalf("%d deliveries, want 3", len(got))
	}
	if got[0].Key == got[2].Key {
		t.Error("a trigger listed twice has one key: it would fire once")
	}
	if got[0].Key != NewKey(a.ID, "ops", 0, a.Block.Hash, Fired) || got[2].Key != NewKey(a.ID, "ops", 1, a.Block.Hash, Fired) {
		t.Error("occurrences are not counted per trigger")
	}
	// Another trigger in between must not shift them.
	if again := Deliveries(a, []string{"slack", "ops", "ops"}); again[2].Key != got[2].Key {
		t.Error("the order of other triggers changes a key")
	}
}

func TestTextForms(t *testing.T) {
	id := sample().ID
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("ParseID(%s) = %s, %v", id, got, err)
	}
	for _, bad := range []string{"", "12", strings.Repeat("g", 32), strings.Repeat("0", 34)} {
		if _, err := ParseID(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("ParseID(%q) = %v, want ErrBadID", bad, err)
		}
		if _, err := ParseKey(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("ParseKey(%q) = %v, want ErrBadID", bad, err)
		}
	}
	for _, s := range States {
		if got, err := ParseState(s.String()); err != nil || got != s {
			t.Errorf("ParseState(%s) = %s, %v", s, got, err)
		}
	}
	if _, err := ParseState("unknown"); !errors.Is(err, ErrBadState) {
		t.Errorf("ParseState(unknown) = %v, want ErrBadState", err)
	}
	if _, err := json.Marshal(State(0)); !errors.Is(err, ErrBadState) {
		t.Errorf("the zero state was written: %v", err)
	}
}

func TestStoredFormIsFrozen(t *testing.T) {
	d := &Deliveries(sample(), []string{"ops"})[0]
	got, err := EncodeDelivery(d)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "delivery.v1.json")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("stored form changed:\n%s\nwant\n%s", got, want)
	}
	back, err := DecodeDelivery(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Errorf("read back differs (-written +read):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := EncodeDelivery(&Deliveries(sample(), []string{"ops"})[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrCorrupt},
		{"no version", `{}`, ErrCorrupt},
		{"newer", `{"v":2,"delivery":"of another shape"}`, ErrNewerVersion},
		{"no delivery", `{"v":1}`, ErrCorrupt},
		{"no alert", `{"v":1,"delivery":{"key":"` + strings.Repeat("1", 32) + `"}}`, ErrCorrupt},
		{"no state", strings.Replace(string(good), `"state":"fired"`, `"status":"fired"`, 1), ErrCorrupt},
		{"bad state", strings.Replace(string(good), `"state":"fired"`, `"state":"burnt"`, 1), ErrCorrupt},
		{"cut", string(good[:len(good)-1]), ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := DecodeDelivery([]byte(tc.text)); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	// A field added by a later release of the same version is ignored.
	if _, err := DecodeDelivery(bytes.Replace(good, []byte(`"delivery":{`), []byte(`"delivery":{"later":1,`), 1)); err != nil {
		t.Errorf("an unknown field is refused: %v", err)
	}
}

func TestEncodeRefusesBrokenMatch(t *testing.T) {
	a := sample()
	a.Match = json.RawMessage(`{`)
	if _, err := EncodeDelivery(&Deliveries(a, []string{"ops"})[0]); err == nil {
		t.Error("a broken match object was stored")
	}
}

func FuzzDecodeDelivery(f *testing.F) {
	good, err := EncodeDelivery(&Deliveries(sample(), []string{"ops"})[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"v":1,"delivery":{"alert":{"match":null}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := DecodeDelivery(data)
		if err != nil {
			return
		}
		out, err := EncodeDelivery(d)
		if err != nil {
			t.Fatalf("read but cannot be written: %v", err)
		}
		again, err := DecodeDelivery(out)
		if err != nil {
			t.Fatalf("written but cannot be read: %v", err)
		}
		if rewritten, err := EncodeDelivery(again); err != nil || !bytes.Equal(out, rewritten) {
			t.Fatalf("differs after a round trip: %v\n%s\n%s", err, out, rewritten)
		}
	})
}
