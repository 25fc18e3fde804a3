package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

func (s sealer) OpenStored(tenant, name, sealed string) (string, error) {
	value, ok := strings.CutPrefix(sealed, tenant+"/"+name+":")
	if !ok {
		return "", errors.New("not sealed for this tenant and name")
	}
	return rot(value), nil
}

// keeper is a sealer that leaves the names of stored secrets alone.
type keeper struct{ sealer }

func (k keeper) SealAll(ctx context.Context, tenant string, list []*spec.Secret) error {
	own := slices.DeleteFunc(slices.Clone(list), func(s *spec.Secret) bool { return s.Type == spec.SecretStored })
	return k.sealer.SealAll(ctx, tenant, own)
}

// keeping is a state with a tenant whose trigger and network name stored secrets.
type keeping struct {
	t     *testing.T
	state *fsm.State
	index uint64
	p     *store.Packed
}

func newKeeping(t *testing.T) *keeping {
	f := folder()
	f.Triggers["hook"].Webhook.URL = spec.Secret{Type: spec.SecretStored, Value: "hook-url"}
	f.Triggers["hook"].Webhook.Headers["X-Token"] = &spec.Secret{Type: spec.SecretStored, Value: "hook-token"}
	f.Triggers["slack"].Slack.URL = spec.Secret{Type: spec.SecretStored, Value: "hook-url"}
	f.Networks["anvil"].RPCURLs[0].URL = spec.Secret{Type: spec.SecretStored, Value: "anvil-url"}
	p, err := store.Pack(t.Context(), "acme", f, shared(), keeper{})
	if err != nil {
		t.Fatal(err)
	}
	k := &keeping{t: t, state: fsm.New(), p: p}
	k.apply(&fsm.PutBlobs{Blobs: k.p.Blobs, At: 1})
	k.apply(&fsm.SetTenantVersion{Tenant: "acme", Manifest: k.p.Manifest, At: 1})
	return k
}

func (k *keeping) apply(c fsm.Command) {
	k.t.Helper()
	entry, err := fsm.Encode(c)
	if err != nil {
		k.t.Fatal(err)
	}
	k.index++
	if _, err := k.state.Apply(k.index, entry); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeping) set(name, value string) {
	k.t.Helper()
	k.apply(&fsm.PutSecret{Tenant: "acme", Name: name, Sealed: []byte("acme/" + name + ":" + rot(value)), At: 1})
}

func TestStoredSecretsOfTriggers(t *testing.T) {
	k := newKeeping(t)
	triggers := store.NewTriggers(sealer{})
	find := func(id string) (*spec.Trigger, error) {
		return triggers.Find(k.state.View(), "acme", &k.p.Manifest, id)
	}
	missing := func(name string) {
		t.Helper()
		_, err := find("hook")
		if !errors.Is(err, store.ErrNoSecret) || errors.Is(err, fsm.ErrNotFound) || !strings.Contains(err.Error(), "ozmo secret set acme "+name) {
			t.Fatalf("error %v, want that %s is missing, which may be mended", err, name)
		}
	}
	missing("hook-url")
	k.set("hook-url", "https://hook.example/one")
	missing("hook-token")
	k.set("hook-token", "first")
	first, err := find("hook")
	if err != nil || first.Webhook.URL != spec.Plain("https://hook.example/one") || *first.Webhook.Headers["X-Token"] != spec.Plain("first") || *first.Webhook.Secret != spec.Plain("signing-key-secret") {
		t.Fatalf("%v", err)
	}
	slack, err := find("slack")
	if err != nil || slack.Slack.URL != spec.Plain("https://hook.example/one") {
		t.Fatalf("%v", err)
	}
	if again, _ := find("hook"); again != first {
		t.Error("a trigger is read twice though nothing has changed")
	}
	// Another value is seen at once, in what is handed out from then on.
	k.set("hook-token", "second")
	second, err := find("hook")
	if err != nil || *second.Webhook.Headers["X-Token"] != spec.Plain("second") {
		t.Fatalf("after the secret was changed: %v", err)
	}
	if *first.Webhook.Headers["X-Token"] != spec.Plain("first") {
		t.Error("a trigger that was handed out has changed")
	}
	if again, _ := find("slack"); again != slack {
		t.Error("a trigger is read again for a secret that it does not name")
	}
	k.apply(&fsm.DropSecret{Tenant: "acme", Name: "hook-token"})
	missing("hook-token")
	k.set("hook-token", "third")
	if third, err := find("hook"); err != nil || *third.Webhook.Headers["X-Token"] != spec.Plain("third") {
		t.Fatalf("set again: %v", err)
	}
	// What does not open is an error that may be mended as well.
	k.apply(&fsm.PutSecret{Tenant: "acme", Name: "hook-url", Sealed: []byte("beta/hook-url:x"), At: 1})
	if _, err := find("hook"); err == nil || errors.Is(err, fsm.ErrNotFound) || !strings.Contains(err.Error(), `stored secret "hook-url"`) {
		t.Errorf("another tenant's value was opened: %v", err)
	}
}

func TestOpenSecretsTellsWithWhat(t *testing.T) {
	k := newKeeping(t)
	k.set("anvil-url", "https://rpc.example/one")
	v := k.state.View()
	n, owner, err := store.FindNetwork(v, "acme/anvil")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := store.OpenSecrets(v, owner, n.Secrets(), sealer{})
	if err != nil || n.RPCURLs[0].URL != spec.Plain("https://rpc.example/one") || !stored.Fresh(v, owner) {
		t.Fatalf("%v, %v", stored, err)
	}
	k.set("hook-url", "another")
	if !stored.Fresh(k.state.View(), owner) {
		t.Error("stale because of a secret that it does not name")
	}
	k.set("anvil-url", "https://rpc.example/two")
	if stored.Fresh(k.state.View(), owner) {
		t.Error("fresh though the secret has another value")
	}
	if !store.Stored(nil).Fresh(v, owner) {
		t.Error("a document without stored secrets is stale")
	}
	// One that is missing is waited for.
	k.apply(&fsm.DropSecret{Tenant: "acme", Name: "anvil-url"})
	if n, _, err = store.FindNetwork(k.state.View(), "acme/anvil"); err != nil {
		t.Fatal(err)
	}
	stored, err = store.OpenSecrets(k.state.View(), owner, n.Secrets(), sealer{})
	if !errors.Is(err, store.ErrNoSecret) || !stored.Fresh(k.state.View(), owner) {
		t.Fatalf("%v, %v", stored, err)
	}
	k.set("anvil-url", "https://rpc.example/three")
	if stored.Fresh(k.state.View(), owner) {
		t.Error("nobody is told that the secret is there")
	}
}

func TestSecretUses(t *testing.T) {
	k := newKeeping(t)
	v := k.state.View()
	acme, _ := v.Tenant("acme")
	got, err := store.SecretUses(v, acme)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]*store.SecretUse{
		"hook-url":   {Triggers: []string{"hook", "slack"}},
		"hook-token": {Triggers: []string{"hook"}},
		"anvil-url":  {Networks: []string{"anvil"}},
	}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
