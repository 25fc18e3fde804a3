package secrets

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

func testKey(first byte) Key {
	key := Key{first}
	for i := 1; i < len(key); i++ {
		key[i] = byte(i)
	}
	return key
}

// TestSealedFormIsFrozen pins the sealed text: a change would leave every
// stored secret unreadable.
func TestSealedFormIsFrozen(t *testing.T) {
	k := New(testKey(0))
	const want = "v1.67231199.slGOC82YCEY3Mlv6KRd5D6uvmocV-ZTQB6XOUIRj6-twpxpSstco7X0Y4jp4y84"
	if got := k.Seal("hunter2", "tenant acme"); got != want {
		t.Errorf("sealed = %s, want %s", got, want)
	}
	if got, err := k.Open(want, "tenant acme"); err != nil || got != "hunter2" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

func TestSealIsDeterministicAndBound(t *testing.T) {
	k := New(testKey(0))
	rapid.Check(t, func(t *rapid.T) {
		plain, context := rapid.String().Draw(t, "plain"), rapid.String().Draw(t, "context")
		sealed := k.Seal(plain, context)
		if again := New(testKey(0)).Seal(plain, context); again != sealed {
			t.Fatalf("sealed differently: %s, %s", sealed, again)
		}
		if got, err := k.Open(sealed, context); err != nil || got != plain {
			t.Fatalf("Open = %q, %v", got, err)
		}
		other := rapid.String().Filter(func(s string) bool { return s != context }).Draw(t, "other")
		if _, err := k.Open(sealed, other); !errors.Is(err, ErrTampered) {
			t.Fatalf("opened in context %q: %v", other, err)
		}
	})
}

// A nonce shared by two values would give both away. Context and value must
// therefore not run together in what the nonce is made of.
func TestNoncesDiffer(t *testing.T) {
	k := New(testKey(0))
	nonce := func(plain, context string) string { return strings.Split(k.Seal(plain, context), ".")[2][:32] }
	if nonce("bc", "a") == nonce("c", "ab") {
		t.Error("two different values share a nonce")
	}
}

func TestOpenRefusesEveryChange(t *testing.T) {
	k := New(testKey(0))
	sealed := k.Seal("a secret of some length", "t")
	for i := range len(sealed) {
		for _, c := range []byte{'A', 'B', '.', '\n', sealed[i] ^ 1} {
			if c == sealed[i] {
				continue
			}
			changed := sealed[:i] + string(rune(c)) + sealed[i+1:]
			if got, err := k.Open(changed, "t"); err == nil {
				t.Fatalf("%q at %d: opened as %q", c, i, got)
			}
		}
		if _, err := k.Open(sealed[:i], "t"); err == nil {
			t.Fatalf("cut at %d: opened", i)
		}
	}
	if _, err := k.Open(sealed+"\n", "t"); !errors.Is(err, ErrNotSealed) {
		t.Errorf("line end appended: %v, want ErrNotSealed", err)
	}
	if _, err := New(testKey(1)).Open(sealed, "t"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("another key: %v, want ErrUnknownKey", err)
	}
	forged := strings.Replace(New(testKey(1)).Seal("x", "t"), New(testKey(1)).ID(), k.ID(), 1)
	if _, err := k.Open(forged, "t"); !errors.Is(err, ErrTampered) {
		t.Errorf("another key under our id: %v, want ErrTampered", err)
	}
	for _, text := range []string{"", "v1", "v1.", "v2." + k.ID() + ".AAAA", "hunter2"} {
		if _, err := k.Open(text, "t"); !errors.Is(err, ErrNotSealed) {
			t.Errorf("Open(%q) = %v, want ErrNotSealed", text, err)
		}
	}
}

func TestSealAllAndOpenAll(t *testing.T) {
	k := New(testKey(0))
	url, key := spec.Plain("https://h.example/k"), spec.Plain("")
	list := []*spec.Secret{&url, &key}
	if err := k.SealAll("acme", list); err != nil {
		t.Fatal(err)
	}
	first := []spec.Secret{url, key}
	for _, s := range first {
		if s.Type != spec.SecretSealed || strings.Contains(s.Value, "example") {
			t.Errorf("not sealed: type %q", s.Type)
		}
	}
	if err := k.SealAll("acme", list); err != nil || url != first[0] || key != first[1] {
		t.Errorf("sealing again changed what was sealed: %v", err)
	}
	if err := k.SealAll("other", list); !errors.Is(err, ErrTampered) {
		t.Errorf("another tenant's sealed secret was taken: %v", err)
	}
	if err := k.OpenAll("other", list); !errors.Is(err, ErrTampered) || url != first[0] {
		t.Errorf("opened for another tenant: %v", err)
	}
	if err := k.OpenAll("acme", list); err != nil || url != spec.Plain("https://h.example/k") || key != spec.Plain("") {
		t.Errorf("OpenAll: %v", err)
	}
	if err := k.OpenAll("acme", list); err != nil {
		t.Errorf("plain secrets are refused: %v", err)
	}
}

func TestSealAllChangesNothingOnError(t *testing.T) {
	k := New(testKey(0))
	plain, reference := spec.Plain("x"), spec.Secret{Type: spec.SecretEnvironment, Value: "TOKEN"}
	list := []*spec.Secret{&plain, &reference}
	for name, f := range map[string]func(string, []*spec.Secret) error{"SealAll": k.SealAll, "OpenAll": k.OpenAll} {
		if err := f("acme", list); !errors.Is(err, ErrUnresolved) {
			t.Errorf("%s: %v, want ErrUnresolved", name, err)
		}
		if plain != spec.Plain("x") || reference.Type != spec.SecretEnvironment {
			t.Errorf("%s changed a part", name)
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	key := testKey(0x61)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != "[sealing key]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if diff := cmp.Diff("[sealing key]", key.String()); diff != "" {
		t.Error(diff)
	}
}

func FuzzOpen(f *testing.F) {
	k := New(testKey(0))
	f.Add(k.Seal("", ""), "")
	f.Add(k.Seal("hunter2", "acme"), "acme")
	f.Add("v1."+k.ID()+".", "acme")
	f.Add("v1.00000000.AAAA", "")
	f.Fuzz(func(t *testing.T, sealed, context string) {
		plain, err := k.Open(sealed, context)
		if err != nil {
			if !errors.Is(err, ErrNotSealed) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrTampered) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if again := k.Seal(plain, context); again != sealed {
			t.Fatalf("%q opens, but is not what sealing gives", sealed)
		}
	})
}

// A stored secret opens for its tenant and under its name alone, and is not to be
// taken for one of a document.
func TestStoredSecrets(t *testing.T) {
	k := New(testKey(0))
	sealed := k.SealStored("acme", "hook", "hunter2")
	if got, err := k.OpenStored("acme", "hook", sealed); err != nil || got != "hunter2" {
		t.Errorf("OpenStored = %q, %v", got, err)
	}
	for _, other := range [][2]string{{"beta", "hook"}, {"acme", "hook2"}, {"acme", ""}, {"", "hook"}} {
		if _, err := k.OpenStored(other[0], other[1], sealed); !errors.Is(err, ErrTampered) {
			t.Errorf("opened as %q: %v", other, err)
		}
	}
	if _, err := k.Open(sealed, "acme"); !errors.Is(err, ErrTampered) {
		t.Errorf("opened as a document's: %v", err)
	}
	if _, err := k.OpenStored("acme", "hook", k.Seal("x", "acme")); !errors.Is(err, ErrTampered) {
		t.Errorf("a document's secret opened as a stored one: %v", err)
	}
	name := spec.Secret{Type: spec.SecretStored, Value: "hook"}
	plain := spec.Plain("x")
	if err := k.SealAll("acme", []*spec.Secret{&name, &plain}); err != nil || name.Type != spec.SecretStored || name.Value != "hook" || plain.Type != spec.SecretSealed {
		t.Errorf("a stored secret's name was sealed: %v, %v", name.Type, err)
	}
	if err := k.OpenAll("acme", []*spec.Secret{&name}); !errors.Is(err, ErrUnresolved) {
		t.Errorf("a name was opened as if it were the value: %v", err)
	}
}
