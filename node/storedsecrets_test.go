package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// tokens is a receiver that remembers which value of X-Token each transaction came
// with.
type tokens struct {
	*httptest.Server

	mu   sync.Mutex
	with map[string]string // transaction -> tokens
}

func newTokens(t *testing.T) *tokens {
	k := &tokens{with: map[string]string{}}
	k.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			EVM struct{ Transaction struct{ Hash string } }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.with[m.EVM.Transaction.Hash] += r.Header.Get("X-Token")
	}))
	t.Cleanup(k.Close)
	return k
}

// hook is the rig's trigger, with a header that is a secret.
func (k *tokens) hook(r *rig, secret string) {
	r.t.Helper()
	r.write("triggers/hook.json", fmt.Sprintf(`{"hook":{"name":"Hook","trigger_type":"webhook","config":{
		"url":{"type":"plain","value":%q},"payload_mode":"raw","headers":{"X-Token":%s}}}}`, k.URL, secret))
}

func (k *tokens) expect(r *rig, tx fsm.Hash, want string) {
	r.t.Helper()
	eventually.Nil(r.t, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if got := k.with[tx.String()]; got != want {
			return fmt.Errorf("%s came with %q, want %q\n%s", tx, got, want, r.log)
		}
		return nil
	})
}

func TestStoredSecret(t *testing.T) {
	r := newRig(t)
	k := newTokens(t)
	k.hook(r, `{"type":"stored","value":"hook-token"}`)
	r.start()
	c := client.New(r.data)
	set := func(value string) {
		t.Helper()
		if err := c.SetSecret(t.Context(), api.Secret{Tenant: "default", Name: "hook-token", Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []api.SecretStatus {
		t.Helper()
		list, err := c.Secrets(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if text := r.log.String(); !strings.Contains(text, `trigger \"hook\" refers to the stored secret \"hook-token\"`) || !strings.Contains(text, "ozmo secret set default hook-token") {
		t.Errorf("the import does not say what is missing:\n%s", text)
	}
	if l := list(); len(l) != 1 || l[0].Name != "hook-token" || !l[0].Set.IsZero() || !slices.Equal(l[0].Triggers, []string{"hook"}) {
		t.Errorf("before it is set: %+v", l)
	}

	// Without the secret deliveries wait, and say for what.
	waiting := r.transfer(1)
	eventually.Nil(t, func() error {
		for o := range r.node.View().OutboxOf("default") {
			if strings.Contains(o.Reason, "ozmo secret set default hook-token") {
				return nil
			}
			return fmt.Errorf("it waits because of %q", o.Reason)
		}
		return errors.New("nothing is in the outbox")
	})
	if n := r.node.Status().DeadLetter; n > 0 {
		t.Errorf("%d dead letters", n)
	}
	for o := range r.node.View().OutboxOf("default") {
		if d, err := c.ShowDelivery(t.Context(), o.Key); err != nil || d.Destination != k.URL {
			t.Errorf("it goes to %q, %v", d.Destination, err)
		}
	}
	set("the first value")
	k.expect(r, waiting, "the first value")

	// Another value serves from the next send on, without a restart.
	k.expect(r, r.transfer(2), "the first value")
	set("the second value")
	k.expect(r, r.transfer(3), "the second value")
	if l := list(); len(l) != 1 || l[0].Set.IsZero() || !slices.Equal(l[0].Triggers, []string{"hook"}) {
		t.Errorf("once it is set: %+v", l)
	}
	if v := r.node.Status().Tenants[0].Version; v != 1 {
		t.Errorf("the documents have version %d: a secret is no change of them", v)
	}

	// The values are nowhere but in memory.
	var archive bytes.Buffer
	if err := c.Backup(t.Context(), &archive, false); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(archive.Bytes(), []byte("hook-token")) {
		t.Error("the archive does not hold the secret at all")
	}
	holdsNo(t, "the archive", archive.Bytes(), "the first value", "the second value")
	holdsNo(t, "the log", []byte(r.log.String()), "the first value", "the second value")
	if shown, err := json.Marshal(list()); err != nil {
		t.Error(err)
	} else {
		holdsNo(t, "the list", shown, "value\"")
	}

	for what, err := range map[string]error{
		"unknown tenant": c.SetSecret(t.Context(), api.Secret{Tenant: "none", Name: "x", Value: "x"}),
		"another name":   c.DeleteSecret(t.Context(), "default", "x", true),
	} {
		if err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, s := range []api.Secret{{Tenant: "default", Name: "a b", Value: "hunter2"}, {Tenant: "default", Name: "x"}, {Tenant: "default", Name: "x", Value: strings.Repeat("hunter2", 10_000)}} {
		if err := c.SetSecret(t.Context(), s); !errors.Is(err, api.ErrBadRequest) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", s, err)
		}
	}
	// Restarted, it is still there.
	r.stop()
	filesHoldNo(t, r.data, "the first value", "the second value")
	r.start()
	k.expect(r, r.transfer(4), "the second value")

	c = client.New(r.data)
	if err := c.DeleteSecret(t.Context(), "default", "hook-token", false); err == nil || !strings.Contains(err.Error(), `in use by trigger "hook"`) {
		t.Errorf("a secret in use was deleted: %v", err)
	}
	k.expect(r, r.transfer(5), "the second value")
	if err := c.DeleteSecret(t.Context(), "default", "hook-token", true); err != nil {
		t.Fatal(err)
	}
	waiting = r.transfer(6)
	eventually.Nil(t, func() error {
		if r.node.Status().Outbox == 0 {
			return errors.New("nothing is in the outbox")
		}
		return nil
	})
	set("the third value")
	k.expect(r, waiting, "the third value")
	// No document names it any more.
	k.hook(r, `"plain"`)
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteSecret(t.Context(), "default", "hook-token", false); err != nil {
		t.Error(err)
	}
	if l := list(); len(l) > 0 {
		t.Errorf("left: %+v", l)
	}
}

func holdsNo(t *testing.T, what string, data []byte, values ...string) {
	t.Helper()
	for _, v := range values {
		if bytes.Contains(data, []byte(v)) {
			t.Errorf("%s holds %q", what, v)
		}
	}
}

func filesHoldNo(t *testing.T, dir string, values ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		holdsNo(t, path, data, values...)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A private network whose address is a stored secret is watched once it is set, and
// anew where it changes.
func TestStoredSecretOfANetwork(t *testing.T) {
	r := newRig(t)
	second, err := r.chain.NewEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	r.monitor("tenants/acme/monitors/own.json", "Own", "")
	data, err := os.ReadFile(filepath.Join(r.config, "tenants/acme/monitors/own.json"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("tenants/acme/monitors/own.json", strings.Replace(string(data), `"networks":["fake"]`, `"networks":["own"]`, 1))
	r.write("tenants/acme/networks/own.json", `{"network_type":"EVM","slug":"own","name":"Own",
		"rpc_urls":[{"type_":"rpc","url":{"type":"stored","value":"own-url"},"weight":100}],
		"chain_id":1,"block_time_ms":1000,"confirmation_blocks":1,"cron_schedule":"*/1 * * * * *","poll_interval":"100ms"}`)
	hook, err := os.ReadFile(filepath.Join(r.config, "triggers/hook.json"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("tenants/acme/triggers/hook.json", string(hook))
	r.begin() // not ready before its networks have begun
	c := client.New(r.data)
	eventually.Nil(t, func() error {
		if !strings.Contains(r.log.String(), "ozmo secret set acme own-url") {
			return errors.New("the watcher does not say what is missing")
		}
		return nil
	})
	set := func(url string) {
		t.Helper()
		if err := c.SetSecret(t.Context(), api.Secret{Tenant: "acme", Name: "own-url", Value: url}); err != nil {
			t.Fatal(err)
		}
	}
	seen := func() {
		t.Helper()
		eventually.Nil(t, func() error {
			n, ok := r.node.View().Network("acme/own")
			tip, _ := n.Branch.Tip()
			if !ok || tip.Height != r.chain.Head().Number {
				return fmt.Errorf("the head is %d, that of the chain %d\n%s", tip.Height, r.chain.Head().Number, r.log)
			}
			return nil
		})
	}
	set(r.endpoint.URL())
	seen()
	r.expect("Own", r.transfer(1))
	if calls := second.Calls(); len(calls) > 0 {
		t.Errorf("calls to an endpoint that nobody has named: %v", calls)
	}
	set(second.URL())
	r.chain.Extend(3)
	eventually.Nil(t, func() error {
		if len(second.Calls()) == 0 {
			return errors.New("the new address is not used")
		}
		return nil
	})
	r.expect("Own", r.transfer(2))
	seen()
}

// Secrets in files and variables that change are taken over while the node runs,
// and their documents stay as they are.
func TestRotatedSecrets(t *testing.T) {
	r := newRig(t)
	k := newTokens(t)
	k.hook(r, `{"type":"file","value":"token.txt"}`)
	r.write("token.txt", "one\n")
	r.start()
	k.expect(r, r.transfer(1), "one")
	rotate := func() error { return r.node.Rotate(t.Context()) }
	version := func(want uint64) {
		t.Helper()
		if v := r.node.Status().Tenants[0].Version; v != want {
			t.Errorf("version %d, want %d\n%s", v, want, r.log)
		}
	}
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	version(1)
	r.write("token.txt", "two\n")
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	version(2)
	k.expect(r, r.transfer(2), "two")
	r.stop()
	r.start()
	version(2) // that the secret has changed is no news any more
	k.expect(r, r.transfer(3), "two")

	// It is being written: nothing changes, and nothing is forgotten.
	if err := os.Remove(filepath.Join(r.config, "token.txt")); err != nil {
		t.Fatal(err)
	}
	if err := rotate(); !errors.Is(err, spec.ErrSecretNotFound) {
		t.Errorf("without the file: %v", err)
	}
	version(2)
	r.write("token.txt", "three")
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	version(3)
	k.expect(r, r.transfer(4), "three")

	// Documents that somebody edits are not taken over with a secret.
	r.monitor("monitors/edited.json", "Edited", "value > 5")
	r.write("token.txt", "four")
	if err := rotate(); err == nil || !strings.Contains(err.Error(), "SIGHUP") {
		t.Errorf("with an edited folder: %v", err)
	}
	version(3)
	if err := rotate(); err != nil {
		t.Errorf("told twice: %v", err)
	}
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	version(4)
	k.expect(r, r.transfer(5), "four")

	t.Setenv("OZMO_TEST_ROTATED", "from the environment")
	k.hook(r, `{"type":"environment","value":"OZMO_TEST_ROTATED"}`)
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	version(5)
	t.Setenv("OZMO_TEST_ROTATED", "from a newer one")
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	version(6)
	k.expect(r, r.transfer(4), "from a newer one")
}

// A registration that commits late, when its process has ended, does nothing to the
// process of now.
func TestLateRegistrationDoesNoHarm(t *testing.T) {
	r := newRig(t)
	r.start()
	r.expect("All transfers", r.transfer(1))
	r.stop()
	r.start()
	before, ok := r.node.View().Node("test")
	if !ok || before.Boot == 0 {
		t.Fatalf("%+v", before)
	}
	for _, after := range []uint64{1, 2, before.Boot} { // of its first run, and of those since
		late := &fsm.RegisterNode{Name: "test", Server: before.Server, Address: "10.9.9.9:7000", Roles: fsm.AllRoles, After: after}
		if _, err := r.node.Propose(t.Context(), late); !errors.Is(err, fsm.ErrConflict) {
			t.Errorf("after %d: %v", after-1, err)
		}
	}
	if now, _ := r.node.View().Node("test"); *now != *before {
		t.Errorf("the node is %+v now, was %+v", now, before)
	}
	r.expect("All transfers", r.transfer(2))
	select {
	case err := <-r.node.Failed():
		t.Errorf("the node has ended: %v", err)
	default:
	}
}
