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
		position   uint64
		want       string
	}{
		{0, Fired, 123_456, "38e51f64f5c8d5c1c66b0017494db1cf"},
		{0, Fired, 0, "38e51f64f5c8d5c1c66b0017494db1cf"},
		{1, Fired, 123_456, "1cc3c255240d53cc9b633c82e4a576d6"},
		{0, Retracted, 123_456, "be74bb2127cefbfc1fe05c7b78c0b2b8"},
		{0, Retracted, 123_457, "32dafa44f9f397ba51b6696b6f3cece0"},
		{0, Reinstated, 123_456, "a154507c9c8db759b1af9cdcb47280b1"},
		{0, Confirmed, 123_456, "5962e1abdd0ecd45327054f5beacee68"},
	} {
		if got := NewKey(a.ID, "ops", tc.occurrence, a.Block.Hash, tc.state, tc.position).String(); got != tc.want {
			t.Errorf("key(%d, %s, %d) = %s, want %s", tc.occurrence, tc.state, tc.position, got, tc.want)
		}
	}
}

// A replay of the past does not know at which position an alert fired and must
// find its key; of the other states each occasion is another delivery.
func TestPositionCountsForWhatComesAgain(t *testing.T) {
	id := sample().ID
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.SampledFrom(States).Draw(t, "state")
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		same := NewKey(id, "ops", 0, fsm.Hash{1}, state, a) == NewKey(id, "ops", 0, fsm.Hash{1}, state, b)
		if want := state == Fired || a == b; same != want {
			t.Fatalf("%s at %d and %d: same key = %t, want %t", state, a, b, same, want)
		}
	})
}

func TestIDSurvivesAReorganisation(t *testing.T) {
	a, b := sample(), sample()
	b.Block = fsm.BlockRef{Height: a.Block.Height + 1, Hash: fsm.Hash{1}}
	b.ID = NewID(b.Tenant, b.MonitorID, b.Network, b.Tx)
	if a.ID != b.ID {
		t.Errorf("the alert changed its id with its block: %s, %s", a.ID, b.ID)
	}
	if NewKey(a.ID, "t", 0, a.Block.Hash, Fired, 1) == NewKey(b.ID, "t", 0, b.Block.Hash, Fired, 1) {
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
	if got[0].Key != NewKey(a.ID, "ops", 0, a.Block.Hash, Fired, a.Position) || got[2].Key != NewKey(a.ID, "ops", 1, a.Block.Hash, Fired, a.Position) {
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

// golden compares with a file, or rewrites it.
func golden(t *testing.T, name string, got []byte) (want []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// What a release has stored every later one reads. The compressed bytes may
// change with the library, their content may not.
func TestStoredFormIsFrozen(t *testing.T) {
	d := &Deliveries(sample(), []string{"ops"})[0]
	d.After = Key{1, 2, 3}
	for _, tc := range []struct {
		name   string
		encode func() ([]byte, error)
		decode func([]byte) (any, error)
		want   any
	}{
		{"delivery", func() ([]byte, error) { return EncodeDelivery(d) }, func(b []byte) (any, error) { return DecodeDelivery(b) }, d},
		{"alert", func() ([]byte, error) { return EncodeAlert(d.Alert, true) }, func(b []byte) (any, error) { return DecodeAlert(b) }, d.Alert},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stored, err := tc.encode()
			if err != nil {
				t.Fatal(err)
			}
			text, err := expand(stored)
			if err != nil {
				t.Fatal(err)
			}
			if want := golden(t, tc.name+".v1.json", text); !bytes.Equal(text, want) {
				t.Errorf("the stored form changed:\n%s\nwant\n%s", text, want)
			}
			back, err := tc.decode(golden(t, tc.name+".v1.zst", stored))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, back); diff != "" {
				t.Errorf("read back differs (-written +read):\n%s", diff)
			}
		})
	}
}

func TestAlertIsStoredWithoutItsMatch(t *testing.T) {
	a := sample()
	short, err := EncodeAlert(a, false)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeAlert(short)
	if err != nil {
		t.Fatal(err)
	}
	if a.Match == nil || back.Match != nil {
		t.Errorf("match %s, stored as %s", a.Match, back.Match)
	}
	back.Match = a.Match
	if diff := cmp.Diff(a, back); diff != "" {
		t.Errorf("read back differs (-written +read):\n%s", diff)
	}
}

// stored is a stored form of any text.
func stored(text string) []byte { return compressor.EncodeAll([]byte(text), []byte{Version}) }

func TestDecodeRefuses(t *testing.T) {
	good, err := EncodeDelivery(&Deliveries(sample(), []string{"ops"})[0])
	if err != nil {
		t.Fatal(err)
	}
	text, err := expand(good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, next string) []byte { return stored(strings.Replace(string(text), old, next, 1)) }
	for _, tc := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrCorrupt},
		{"version alone", []byte{Version}, ErrCorrupt},
		{"plain JSON", text, ErrNewerVersion}, // '{' is greater than any version so far
		{"no version", []byte{0, 1}, ErrCorrupt},
		{"newer", append([]byte{Version + 1}, "of another shape"...), ErrNewerVersion},
		{"not compressed", append([]byte{Version}, text...), ErrCorrupt},
		{"nothing", stored(`{}`), ErrCorrupt},
		{"no alert", stored(`{"key":"` + strings.Repeat("1", 32) + `"}`), ErrCorrupt},
		{"no key", change(`"key":`, `"kay":`), ErrCorrupt},
		{"no state", change(`"state":"fired"`, `"status":"fired"`), ErrCorrupt},
		{"bad state", change(`"state":"fired"`, `"state":"burnt"`), ErrCorrupt},
		{"cut", good[:len(good)-1], ErrCorrupt},
		{"damaged", append(bytes.Clone(good[:len(good)-5]), good[len(good)-5]^1, 0, 0, 0, 0), ErrCorrupt},
		{"more than may be stored", compressor.EncodeAll(make([]byte, MaxStored+1), []byte{Version}), ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := DecodeDelivery(tc.data); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	// A field added by a later release of the same version is ignored.
	if _, err := DecodeDelivery(change(`{"key"`, `{"later":1,"key"`)); err != nil {
		t.Errorf("an unknown field is refused: %v", err)
	}
	if _, err := DecodeAlert(good); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a delivery read as an alert: %v, want ErrCorrupt", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	broken, large := sample(), sample()
	broken.Match = json.RawMessage(`{`)
	large.Match = json.RawMessage(`"` + strings.Repeat("x", MaxStored) + `"`)
	for _, a := range []*Alert{broken, large} {
		if _, err := EncodeDelivery(&Deliveries(a, []string{"ops"})[0]); err == nil || a == large && !errors.Is(err, ErrTooLarge) {
			t.Errorf("a match object of %d bytes was stored: %v", len(a.Match), err)
		}
		if _, err := EncodeAlert(a, true); err == nil {
			t.Error("an alert was stored that cannot be read")
		}
		if _, err := EncodeAlert(a, false); err != nil {
			t.Errorf("without its match, an alert is not stored: %v", err)
		}
	}
}

func FuzzDecodeDelivery(f *testing.F) {
	good, err := EncodeDelivery(&Deliveries(sample(), []string{"ops"})[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(stored(`{"alert":{"match":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, DecodeDelivery, EncodeDelivery)
	})
}

func FuzzDecodeAlert(f *testing.F) {
	good, err := EncodeAlert(sample(), true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(stored(`{"id":"00","state":"confirmed"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, DecodeAlert, func(a *Alert) ([]byte, error) { return EncodeAlert(a, true) })
	})
}

// FuzzDecodeText gets past the compression, which random bytes seldom do.
func FuzzDecodeText(f *testing.F) {
	good, err := EncodeDelivery(&Deliveries(sample(), []string{"ops"})[0])
	if err != nil {
		f.Fatal(err)
	}
	text, err := expand(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"alert":{"match":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, stored(text), DecodeDelivery, EncodeDelivery)
	})
}

// roundTrip checks that what can be read can be written, and stays the same.
func roundTrip[T any](t *testing.T, data []byte, decode func([]byte) (*T, error), encode func(*T) ([]byte, error)) {
	t.Helper()
	v, err := decode(data)
	if err != nil {
		return
	}
	out, err := encode(v)
	if err != nil {
		t.Fatalf("read but cannot be written: %v", err)
	}
	again, err := decode(out)
	if err != nil {
		t.Fatalf("written but cannot be read: %v", err)
	}
	if rewritten, err := encode(again); err != nil || !bytes.Equal(out, rewritten) {
		t.Fatalf("differs after a round trip: %v\n%x\n%x", err, out, rewritten)
	}
}
