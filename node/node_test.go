package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const signingSecret = "a signing secret of the tests"

// receiver counts what webhooks bring, by delivery key.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	received map[string][]string // monitor -> transaction hashes, as they came
	keys     map[string]int
	refuse   int // status to answer with; 0 accepts
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, received: map[string][]string{}, keys: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != 0 {
		if r.refuse == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "3600")
		}
		w.WriteHeader(r.refuse)
		return
	}
	if err := webhook.Verify(req.Header, body, signingSecret, time.Hour); err != nil {
		r.t.Errorf("signature: %v", err)
	}
	var m struct {
		EVM struct {
			Monitor     struct{ Name string }
			Transaction struct{ Hash string }
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Errorf("body: %v", err)
	}
	r.received[m.EVM.Monitor.Name] = append(r.received[m.EVM.Monitor.Name], m.EVM.Transaction.Hash)
	r.keys[req.Header.Get("webhook-id")]++
}

func (r *receiver) set(refuse int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refuse
}

func (r *receiver) has(monitor string, tx fsm.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.received[monitor] {
		if h == tx.String() {
			return true
		}
	}
	return false
}

func (r *receiver) count(monitor string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.received[monitor])
}

type rig struct {
	t        *testing.T
	chain    *fakechain.Chain
	endpoint *fakechain.Endpoint
	receiver *receiver
	config   string
	data     string
	log      *logs.Buffer
	node     *node.Node
	allow    []string // for the egress guard
	http     node.HTTP
}

func newRig(t *testing.T) *rig {
	c := fakechain.New(fakechain.Options{First: 1000, TxPerBlock: -1})
	e, err := c.NewEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	r := &rig{
		t: t, chain: c, endpoint: e, receiver: newReceiver(t),
		config: t.TempDir(), log: &logs.Buffer{}, allow: []string{"127.0.0.0/8", "::1"},
	}
	// Socket paths are short on every system.
	r.data, err = os.MkdirTemp("", "ozmo") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(r.data) })
	r.write("networks/fake.json", fmt.Sprintf(`{"network_type":"EVM","slug":"fake","name":"Fake",
		"rpc_urls":[{"type_":"rpc","url":{"type":"plain","value":%q},"weight":100},{"type_":"rpc","url":{"type":"plain","value":%q},"weight":50}],
		"chain_id":1,"block_time_ms":1000,"confirmation_blocks":1,"cron_schedule":"*/1 * * * * *","poll_interval":"100ms"}`, e.URL(), e.WSURL()))
	r.write("triggers/hook.json", fmt.Sprintf(`{"hook":{"name":"Hook","trigger_type":"webhook","config":{
		"url":{"type":"plain","value":%q},"secret":{"type":"plain","value":%q},"payload_mode":"raw",
		"retry_policy":{"max_retries":0}}}}`, r.receiver.URL, signingSecret))
	r.monitor("monitors/all.json", "All transfers", "")
	return r
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.config, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) monitor(file, name, expression string) {
	quoted := "null"
	if expression != "" {
		b, _ := json.Marshal(expression)
		quoted = string(b)
	}
	r.write(file, fmt.Sprintf(`{"name":%q,"networks":["fake"],"paused":false,
		"addresses":[{"address":"0x%x","contract_spec":[{"type":"event","name":"Transfer","anonymous":false,"inputs":[
			{"name":"from","type":"address","indexed":true},{"name":"to","type":"address","indexed":true},{"name":"value","type":"uint256","indexed":false}]}]}],
		"match_conditions":{"functions":[],"events":[{"signature":"Transfer(address,address,uint256)","expression":%s}],"transactions":[]},
		"trigger_conditions":[],"triggers":["hook"]}`, name, fakechain.Token[:], quoted))
}

// begin is start that does not wait until the node is ready.
func (r *rig) begin() {
	r.t.Helper()
	n, err := node.New(node.Options{
		DataDir: r.data, Name: "test", Bootstrap: true, ClusterListen: "127.0.0.1:0", Config: r.config, Listen: "127.0.0.1:0", Console: io.Discard,
		EgressAllow: r.allow, HTTP: r.http,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		_ = n.Stop()
		r.t.Fatalf("%v\n%s", err, r.log)
	}
	r.node = n
	r.t.Cleanup(r.stop)
}

func (r *rig) start() {
	r.t.Helper()
	r.begin()
	eventually.Nil(r.t, func() error {
		for _, c := range r.node.Ready() {
			if c.Err != nil {
				return fmt.Errorf("%s: %w", c.Name, c.Err)
			}
		}
		return nil
	})
}

func (r *rig) stop() {
	if r.node == nil {
		return
	}
	if err := r.node.Stop(); err != nil {
		r.t.Errorf("stop: %v", err)
	}
	r.node = nil
}

var (
	alice = fakechain.Address{0xa1}
	bob   = fakechain.Address{0xb0}
)

// transfer puts a transfer into a block and another block on top, so that the
// transfer is due at depth 1.
func (r *rig) transfer(amount uint64) fsm.Hash {
	b := r.chain.ExtendWith(fakechain.Transfer(alice, bob, amount))
	r.chain.Extend(1)
	return b.Txs[0].Hash
}

func (r *rig) expect(monitor string, tx fsm.Hash) {
	r.t.Helper()
	eventually.Nil(r.t, func() error {
		if !r.receiver.has(monitor, tx) {
			return fmt.Errorf("monitor %q: no alert for %s\n%s", monitor, tx, r.log)
		}
		return nil
	})
}

func TestAlertsArriveAndAreProved(t *testing.T) {
	r := newRig(t)
	r.start()
	first := r.transfer(5)
	r.expect("All transfers", first)
	from := r.chain.Head().Number - 1
	r.stop()
	missed := r.transfer(6) // while nobody watches
	r.start()
	if v := r.node.Status().Tenants[0].Version; v != 1 {
		t.Errorf("an unchanged folder became version %d at the restart", v)
	}
	r.expect("All transfers", missed)
	last := r.transfer(7)
	r.expect("All transfers", last)
	if n := r.receiver.count("All transfers"); n != 3 {
		t.Errorf("%d deliveries, want 3", n)
	}

	c := client.New(r.data)
	var v *api.Verification
	eventually.Nil(t, func() (err error) {
		v, err = c.Verify(t.Context(), "default", "fake", from, r.chain.Head().Number-1, nil)
		if err == nil && !v.Proved() {
			err = fmt.Errorf("not proved: %+v", v)
		}
		return err
	})
	if v.Expected != 3 || v.Confirmed != 3 {
		t.Errorf("verify: %+v, want 3 expected and confirmed", v)
	}
	// Without a range: everything that was judged.
	if all, err := c.Verify(t.Context(), "default", "fake", 0, 0, nil); err != nil || !all.Proved() || all.Confirmed != 3 {
		t.Errorf("verify of everything: %+v, %v", all, err)
	}
	cov, err := c.Coverage(t.Context(), "default", "fake", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := cov.Rows[0].FromPosition
	for _, row := range cov.Rows {
		if row.FromPosition != next {
			t.Errorf("coverage has a gap before position %d: %+v", next, cov.Rows)
		}
		next = row.ToPosition + 1
	}
}

func TestReorganisationIsJudgedAnew(t *testing.T) {
	r := newRig(t)
	r.start()
	kept := fakechain.Transfer(alice, bob, 1)
	block := r.chain.ExtendWith(kept, fakechain.Transfer(alice, bob, 2))
	r.chain.Extend(1)
	both := block.Txs
	r.expect("All transfers", both[0].Hash)
	r.expect("All transfers", both[1].Hash)
	branch := r.chain.ReorgWith(2, []fakechain.Tx{both[0], fakechain.Transfer(bob, alice, 9)}, nil, nil)
	fresh := r.chain.At(branch.Number - 2).Txs[1].Hash
	r.expect("All transfers", fresh)
	eventually.Nil(t, func() error {
		if n := r.receiver.count("All transfers"); n != 4 {
			return fmt.Errorf("%d deliveries, want 4: two blocks with two transfers each", n)
		}
		return nil
	})
	r.receiver.mu.Lock()
	defer r.receiver.mu.Unlock()
	for key, n := range r.receiver.keys {
		if n != 1 {
			t.Errorf("key %s came %d times", key, n)
		}
	}
}

func TestReceiverDownIsNoLoss(t *testing.T) {
	r := newRig(t)
	r.start()
	r.receiver.set(http.StatusServiceUnavailable)
	tx := r.transfer(5)
	eventually.Nil(t, func() error {
		if s := r.node.Status(); s.Outbox != 1 {
			return fmt.Errorf("outbox holds %d, want 1", s.Outbox)
		}
		return nil
	})
	r.stop()
	r.receiver.set(0)
	r.start() // what is in the outbox survives
	r.expect("All transfers", tx)
	eventually.Nil(t, func() error {
		if s := r.node.Status(); s.Outbox != 0 {
			return fmt.Errorf("outbox holds %d, want 0", s.Outbox)
		}
		return nil
	})
}

func TestSecretsAreSealedOnDisk(t *testing.T) {
	r := newRig(t)
	t.Setenv("OZMO_TEST_HOOK_SECRET", signingSecret)
	r.write("triggers/hook.json", fmt.Sprintf(`{"hook":{"name":"Hook","trigger_type":"webhook","config":{
		"url":{"type":"plain","value":%q},"secret":{"type":"environment","value":"OZMO_TEST_HOOK_SECRET"},"payload_mode":"raw",
		"headers":{"Authorization":"Bearer of-the-header"}}}}`, r.receiver.URL+"/path-of-the-hook"))
	r.start()
	r.expect("All transfers", r.transfer(1))
	metrics, err := http.Get("http://" + r.node.Listen() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(metrics.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := metrics.Body.Close(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	shown := map[string]string{"log": r.log.String(), "metrics": string(text)}
	err = filepath.WalkDir(r.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		shown[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) < 5 {
		t.Fatalf("only %d places looked at", len(shown))
	}
	for where, data := range shown {
		for _, secret := range []string{signingSecret, "of-the-header", "path-of-the-hook"} {
			if strings.Contains(data, secret) {
				t.Errorf("%s holds %q in clear", where, secret)
			}
		}
	}
}
