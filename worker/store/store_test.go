package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// sealer turns every secret into text that does not hold it, and back.
type sealer struct{ fail error }

func (s sealer) SealAll(_ context.Context, tenant string, list []*spec.Secret) error {
	if s.fail != nil {
		return s.fail
	}
	for _, x := range list {
		x.Type, x.Value = spec.SecretSealed, tenant+":"+rot(x.Value)
	}
	return nil
}

func (s sealer) OpenAll(tenant string, list []*spec.Secret) error {
	for _, x := range list {
		value, ok := strings.CutPrefix(x.Value, tenant+":")
		if x.Type != spec.SecretSealed || !ok {
			return errors.New("not sealed for this tenant")
		}
		*x = spec.Plain(rot(value))
	}
	return nil
}

// rot undoes itself.
func rot(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c >= '!' && c <= '~' {
			out[i] = '!' + (c-'!'+47)%94
		}
	}
	return string(out)
}

const abiOfToken = `[{"type":"event","name":"Transfer","anonymous":false,"inputs":[]}]`

// The secrets of the folder below: none may be found in what is stored.
var secretValues = []string{"rpc-key-of-acme", "hook-path-secret", "signing-key-secret", "header-value-secret", "slack-path-secret", "mail-password-secret", "viewing-key-secret"}

func network(slug string, chain spec.Chain, depth uint64) *spec.Network {
	id := uint64(1)
	return &spec.Network{
		Type: chain, Slug: slug, Name: slug, ChainID: &id, ConfirmationBlocks: depth, BlockTime: 12 * time.Second, Cron: "*/10 * * * * *",
		RPCURLs: []spec.RPCURL{{Type: "rpc", URL: spec.Plain("https://rpc.example/rpc-key-of-acme/" + slug), Weight: 100}},
	}
}

func folder() *spec.Folder {
	expression := "value > 5"
	signing := spec.Plain("signing-key-secret")
	header := spec.Plain("header-value-secret")
	mine := network("mine", spec.EVM, 7)
	mine.Watch = "mainnet"
	stellar := network("stellar", spec.Stellar, 1)
	stellar.ChainID = nil
	passphrase := "Public Global Stellar Network"
	stellar.NetworkPassphrase = &passphrase
	f := &spec.Folder{
		Networks: map[string]*spec.Network{"anvil": network("anvil", spec.EVM, 4), "mine": mine, "stellar": stellar},
		Triggers: map[string]*spec.Trigger{
			"hook": {
				Name: "Hook", Type: spec.TriggerWebhook, Retry: spec.DefaultRetryPolicy(),
				Webhook: &spec.Webhook{
					URL: spec.Plain("https://hook.example/hook-path-secret"), Method: "POST", Secret: &signing, PayloadMode: spec.PayloadTemplate,
					Headers: map[string]*spec.Secret{"X-Token": &header}, Message: &spec.Message{Title: "t", Body: "b"},
				},
			},
			"slack": {
				Name: "Slack", Type: spec.TriggerSlack, Retry: spec.DefaultRetryPolicy(),
				Slack: &spec.Slack{URL: spec.Plain("https://hooks.slack.com/slack-path-secret"), Message: spec.Message{Title: "t", Body: "b"}},
			},
			"mail": {
				Name: "Mail", Type: spec.TriggerEmail, Retry: spec.DefaultRetryPolicy(),
				Email: &spec.Email{
					Host: "smtp.example", Port: 465, Username: spec.Plain("user"), Password: spec.Plain("mail-password-secret"),
					Message: spec.Message{Title: "t", Body: "b"}, Sender: "a@example.org", Recipients: []string{"b@example.org"},
				},
			},
		},
		Monitors: map[string]*spec.Monitor{},
	}
	monitor := func(name string, change func(*spec.Monitor)) {
		m := &spec.Monitor{
			Name: name, Networks: []string{"mainnet"}, Triggers: []string{"hook"},
			Addresses: []spec.Address{
				{Address: "0x00000000000000000000000000000000000000aa", ContractSpec: []byte(abiOfToken), SpecChain: spec.EVM},
				{Address: "0x00000000000000000000000000000000000000bb"},
			},
			Match: spec.MatchConditions{
				Functions:    []spec.Signature{},
				Events:       []spec.Signature{{Signature: "Transfer()", Expression: &expression}},
				Transactions: []spec.Transaction{{Status: spec.StatusAny}},
			},
			TriggerConditions: []spec.TriggerCondition{}, ChainConfigurations: []spec.ChainConfiguration{},
		}
		change(m)
		f.Monitors[name] = m
	}
	monitor("shared", func(*spec.Monitor) {})
	monitor("same contract", func(m *spec.Monitor) { m.Networks = []string{"mainnet", "mainnet", "anvil"} })
	monitor("private", func(m *spec.Monitor) { m.Networks = []string{"anvil"} })
	monitor("watching", func(m *spec.Monitor) { m.Networks = []string{"mine"} })
	monitor("unsupported", func(m *spec.Monitor) { m.Networks = []string{"stellar"} })
	monitor("partly", func(m *spec.Monitor) { m.Networks = []string{"stellar", "mainnet", "unknown"} })
	monitor("paused", func(m *spec.Monitor) { m.Paused = true })
	monitor("sealed", func(m *spec.Monitor) {
		m.ChainConfigurations = []spec.ChainConfiguration{{
			Midnight: &spec.MidnightConfiguration{ViewingKeys: []spec.Secret{spec.Plain("viewing-key-secret")}},
		}}
	})
	return f
}

func shared() map[string]*spec.Network {
	// The private "anvil" goes before the shared one.
	return map[string]*spec.Network{"mainnet": network("mainnet", spec.EVM, 12), "anvil": network("anvil", spec.EVM, 1)}
}

func pack(t *testing.T, f *spec.Folder) *store.Packed {
	t.Helper()
	p, err := store.Pack(t.Context(), "acme", f, shared(), sealer{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// commit puts what was packed into an empty state.
func commit(t *testing.T, tenants map[string]*store.Packed) *fsm.View {
	t.Helper()
	s := fsm.New()
	var index uint64
	apply := func(c fsm.Command) {
		t.Helper()
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if _, err := s.Apply(index, entry); err != nil {
			t.Fatal(err)
		}
	}
	for id, p := range tenants {
		apply(&fsm.PutBlobs{Blobs: p.Blobs, At: 1})
		apply(&fsm.SetTenantVersion{Tenant: id, Manifest: p.Manifest, At: 1})
	}
	return s.View()
}

var secretsInClear = cmp.Comparer(func(a, b spec.Secret) bool { return a.Type == b.Type && a.Value == b.Value })

func TestRoundTrip(t *testing.T) {
	f := folder()
	p := pack(t, f)
	v := commit(t, map[string]*store.Packed{"acme": p})
	open := func(list []*spec.Secret) {
		t.Helper()
		if err := (sealer{}).OpenAll("acme", list); err != nil {
			t.Error(err)
		}
	}
	if got, want := len(p.Manifest.Docs), len(f.Networks)+len(f.Triggers)+len(f.Monitors); got != want {
		t.Fatalf("%d documents, want %d", got, want)
	}
	for _, d := range p.Manifest.Docs {
		var got, want any
		switch d.Kind {
		case fsm.DocNetwork:
			n, err := store.Network(v, d)
			if err != nil {
				t.Fatal(err)
			}
			open(n.Secrets())
			got, want = n, f.Networks[d.ID]
		case fsm.DocTrigger:
			tr, err := store.Trigger(v, d)
			if err != nil {
				t.Fatal(err)
			}
			open(tr.Secrets())
			got, want = tr, f.Triggers[d.ID]
		case fsm.DocMonitor:
			m, err := store.Monitor(v, d)
			if err != nil {
				t.Fatal(err)
			}
			open(m.Secrets())
			got, want = m, f.Monitors[d.ID]
		default:
			t.Fatalf("document %+v", d)
		}
		if diff := cmp.Diff(want, got, secretsInClear); diff != "" {
			t.Errorf("%s %q differs after the round trip (-packed +loaded):\n%s", d.Kind, d.ID, diff)
		}
	}
	if diff := cmp.Diff(folder(), f, secretsInClear); diff != "" {
		t.Errorf("packing changed the folder:\n%s", diff)
	}
}

func TestNoSecretIsStored(t *testing.T) {
	p := pack(t, folder())
	ps, err := store.PackShared(t.Context(), shared(), sealer{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range slices.Concat(p.Blobs, ps.Blobs) {
		for _, secret := range secretValues {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%q is stored in clear: %s", secret, b)
			}
		}
	}
}

func TestContractsAreShared(t *testing.T) {
	p := pack(t, folder())
	hash := fsm.HashBlob([]byte(abiOfToken))
	uses, stored := 0, 0
	for _, d := range p.Manifest.Docs {
		if slices.Contains(d.Refs, hash) {
			uses++
		}
	}
	for _, b := range p.Blobs {
		if fsm.HashBlob(b) == hash {
			stored++
		}
	}
	if uses != 8 || stored != 1 {
		t.Errorf("the contract is used by %d monitors and stored %d times, want 8, once", uses, stored)
	}
}

func TestWatches(t *testing.T) {
	p := pack(t, folder())
	want := map[string]string{
		"shared":        "[{mainnet mainnet 0 }]",
		"same contract": "[{mainnet mainnet 0 } {acme/anvil anvil 4 }]",
		"private":       "[{acme/anvil anvil 4 }]",
		"watching":      "[{mainnet mine 7 }]",
		"unsupported":   "[]",
		"partly":        "[{mainnet mainnet 0 }]",
		"paused":        "[]",
		"sealed":        "[{mainnet mainnet 0 }]",
	}
	for _, d := range p.Manifest.Docs {
		if d.Kind == fsm.DocMonitor {
			if got := fmt.Sprint(d.Watches); got != want[d.ID] {
				t.Errorf("monitor %q watches %s, want %s", d.ID, got, want[d.ID])
			}
		}
	}
	for _, d := range p.Manifest.Docs {
		if n := folder().Networks[d.ID]; d.Kind == fsm.DocNetwork && d.Depth != n.ConfirmationBlocks {
			t.Errorf("network %q has the depth %d, want %d", d.ID, d.Depth, n.ConfirmationBlocks)
		}
	}
	if got := fmt.Sprint(p.Manifest.Wanted); got != "[acme/anvil mainnet]" {
		t.Errorf("wanted %s", got)
	}
}

func TestPackIsDeterministic(t *testing.T) {
	first := pack(t, folder())
	for range 20 {
		again := pack(t, folder())
		if diff := cmp.Diff(first.Manifest, again.Manifest); diff != "" {
			t.Fatalf("manifests differ:\n%s", diff)
		}
		if diff := cmp.Diff(first.Blobs, again.Blobs); diff != "" {
			t.Fatalf("blobs differ:\n%s", diff)
		}
	}
	seen := map[fsm.Hash]bool{}
	for _, b := range first.Blobs {
		if seen[fsm.HashBlob(b)] {
			t.Error("a blob is listed twice")
		}
		seen[fsm.HashBlob(b)] = true
	}
	changed := folder()
	changed.Triggers["slack"].Slack.URL = spec.Plain("https://hooks.slack.com/another")
	if cmp.Equal(first.Manifest, pack(t, changed).Manifest) {
		t.Error("a changed secret does not change the manifest")
	}
}

func TestPackNamesWhatFails(t *testing.T) {
	failed := errors.New("no such variable")
	for kind, f := range map[string]*spec.Folder{
		`network "anvil"`:  {Networks: map[string]*spec.Network{"anvil": network("anvil", spec.EVM, 1)}},
		`trigger "slack"`:  {Triggers: map[string]*spec.Trigger{"slack": folder().Triggers["slack"]}},
		`monitor "sealed"`: {Monitors: map[string]*spec.Monitor{"sealed": folder().Monitors["sealed"]}},
	} {
		_, err := store.Pack(t.Context(), "acme", f, nil, sealer{fail: failed})
		if !errors.Is(err, failed) || !strings.Contains(err.Error(), `tenant "acme", `+kind) {
			t.Errorf("error %v, want one that names %s", err, kind)
		}
	}
}

func TestFindNetwork(t *testing.T) {
	ps, err := store.PackShared(t.Context(), shared(), sealer{})
	if err != nil {
		t.Fatal(err)
	}
	v := commit(t, map[string]*store.Packed{"acme": pack(t, folder()), fsm.Shared: ps})
	for key, want := range map[string]struct {
		owner string
		depth uint64
	}{"mainnet": {fsm.Shared, 12}, "anvil": {fsm.Shared, 1}, "acme/anvil": {"acme", 4}} {
		n, owner, err := store.FindNetwork(v, key)
		if err != nil || owner != want.owner || n.ConfirmationBlocks != want.depth {
			t.Errorf("%s: %v of %q, %v", key, n, owner, err)
		}
		owner, slug := store.Owner(key)
		if store.Key(owner, slug) != key {
			t.Errorf("key %q becomes %q", key, store.Key(owner, slug))
		}
	}
	for _, key := range []string{"unknown", "acme/unknown", "nobody/anvil"} {
		if _, _, err := store.FindNetwork(v, key); !errors.Is(err, fsm.ErrNotFound) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v, want ErrNotFound", key, err)
		}
	}
	acme, _ := v.Tenant("acme")
	if got := store.DepthsOn(acme.Current, "mainnet", 12, 64); !slices.Equal(got, []uint64{7, 12}) {
		t.Errorf("depths on mainnet %v, want 7 and 12", got)
	}
	if got := store.DepthsOn(acme.Current, "acme/anvil", 0, 64); !slices.Equal(got, []uint64{4}) {
		t.Errorf("depths on acme/anvil %v, want 4", got)
	}
}

func TestMissingContent(t *testing.T) {
	v := fsm.New().View()
	d := fsm.Doc{Kind: fsm.DocMonitor, ID: "m", Hash: fsm.Hash{1}}
	if _, err := store.Monitor(v, d); !errors.Is(err, fsm.ErrNotFound) || !strings.Contains(err.Error(), `monitor "m"`) {
		t.Errorf("error %v", err)
	}
	p := &store.Packed{Blobs: [][]byte{[]byte("no JSON")}}
	d = fsm.Doc{Kind: fsm.DocTrigger, ID: "t", Hash: fsm.HashBlob(p.Blobs[0])}
	p.Manifest.Docs = []fsm.Doc{d}
	v = commit(t, map[string]*store.Packed{"acme": p})
	if _, err := store.Trigger(v, d); err == nil || !strings.Contains(err.Error(), `trigger "t"`) {
		t.Errorf("error %v", err)
	}
}

func TestTriggers(t *testing.T) {
	p := pack(t, folder())
	v := commit(t, map[string]*store.Packed{"acme": p})
	triggers := store.NewTriggers(sealer{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got, err := triggers.Find(v, "acme", &p.Manifest, "hook")
			if err != nil || got.Webhook.Secret.Value != "signing-key-secret" || got.Webhook.Headers["X-Token"].Value != "header-value-secret" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	all.Wait()
	a, _ := triggers.Find(v, "acme", &p.Manifest, "hook")
	b, _ := triggers.Find(v, "acme", &p.Manifest, "hook")
	if a != b {
		t.Error("a trigger is read twice")
	}
	if _, err := triggers.Find(v, "acme", &p.Manifest, "none"); !errors.Is(err, fsm.ErrNotFound) || !strings.Contains(err.Error(), `trigger "none"`) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	// Another tenant's secrets do not open, also when they were opened before.
	if got, err := triggers.Find(v, "beta", &p.Manifest, "hook"); err == nil {
		t.Errorf("another tenant's trigger opened: %+v", got)
	}
}
