package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// standard is a chain that makes blocks on demand, a receiver and a node for
// one subject, not started yet.
type standard struct {
	chain    *Chain
	receiver *Receiver
	node     *Node
	subject  subject
}

func newStandard(t testing.TB, monitors ...string) *standard {
	t.Helper()
	dir := Dir(t)
	s := &standard{
		chain:    StartChain(t, dir, "--block-time", "0", "--rate", "0"),
		receiver: NewReceiver(t),
		node:     NewNode(t, dir),
		subject:  subject{tenant: "alice", network: "devnet", slug: "devnet", depth: 2, monitors: monitors},
	}
	setUp(t, s.node.Folder, s.chain, s.receiver, []subject{s.subject})
	return s
}

// blocks makes n blocks with one transfer each and returns the transfers.
func (s *standard) blocks(t testing.TB, n int) (txs []string) {
	t.Helper()
	for range n {
		tx, err := s.chain.Transfer(t.Context(), len(txs)%9, 9, "1000000")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.chain.Commit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		txs = append(txs, tx)
	}
	return txs
}

func (s *standard) start(t testing.TB, more ...string) {
	t.Helper()
	s.node.Start(t, more...)
	s.node.AwaitReady(t)
}

func TestSecondProcessIsRefused(t *testing.T) {
	s := newStandard(t, "transfers")
	s.start(t)
	mark := s.node.Log.Mark()
	other := Start(t, s.node.Log, "ozmo", "serve", "--config", s.node.Folder.Dir, "--data", s.node.Data, "--listen", FreeAddress(t))
	if code := other.Exit(t, Patience); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if _, err := s.node.Log.Line(mark, "another ozmo runs on this data directory"); err != nil {
		t.Error(err)
	}
	s.blocks(t, 6) // the first one is none the worse for it
	s.subject.checkRest(t, s.node, s.chain, s.receiver)
	s.node.Terminate(t, Patience)
}

func TestEndpointsDownAtStart(t *testing.T) {
	dir := Dir(t)
	address := FreeAddress(t)
	probe := StartChain(t, Dir(t), "--block-time", "0", "--rate", "0") // tells the token's address, which is always the same
	receiver := NewReceiver(t)
	n := NewNode(t, dir)
	later := *probe
	later.RPC, later.WS = "http://"+address, "ws://"+address
	s := subject{tenant: "alice", network: "devnet", slug: "devnet", depth: 2, monitors: []string{"transfers"}}
	setUp(t, n.Folder, &later, receiver, []subject{s})
	probe.Kill()

	n.Start(t)
	n.AwaitStarted(t)
	Eventually(t, "the log's word on the dead endpoints", func(context.Context) error {
		if err := n.Running(); err != nil {
			return err
		}
		_, err := n.Log.Line(0, "no head from any endpoint", "network=devnet")
		return err
	})
	if err := n.Ready(t.Context()); err == nil {
		t.Error("the node is ready without a single block")
	}
	chain := StartChain(t, dir, "--listen", address, "--block-time", blockTime.String(), "--rate", "10", "--reorg-every", "10", "--reorg-depth", "3")
	if chain.Token != probe.Token {
		t.Fatalf("token %s, it was %s", chain.Token, probe.Token)
	}
	n.AwaitReady(t)
	Eventually(t, "alerts", func(context.Context) error {
		if got := len(receiver.Deliveries(t)); got < 20 {
			return fmt.Errorf("%d deliveries", got)
		}
		return n.Running()
	})
	checkIdentity(t, receiver.Deliveries(t))
	c, err := n.Client().Coverage(t.Context(), s.tenant, s.network, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if next, skipped := s.checkRows(t, c.Rows, fsm.Judged, fsm.Superseded, fsm.RolledBack, fsm.Pending); skipped > 0 || next < 5 {
		t.Errorf("%d positions skipped of %d", skipped, next-1)
	}
	n.Terminate(t, Patience)
}

func TestCheckpoints(t *testing.T) {
	s := newStandard(t, "transfers")
	s.blocks(t, 40)
	info, err := s.chain.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := info.Head.Number - 10
	missed := []uint64{12, 15, 16, last - 1}
	dir := filepath.Join(filepath.Dir(s.node.Data), "checkpoints")
	state := Folder{dir}
	state.WriteText(t, "devnet_last_block.txt", fmt.Sprintln(last))
	list := []Doc{{"block_number": 20, "status": "Recovered"}}
	for _, h := range missed {
		list = append(list, Doc{"block_number": h, "status": "Pending"})
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	state.WriteText(t, "devnet_missed_blocks.json", string(data))

	s.start(t, "--checkpoints", dir)
	s.node.AwaitCaughtUp(t, s.chain)
	s.node.Kill()
	s.blocks(t, 5)
	s.start(t, "--checkpoints", dir) // has no say any more
	s.node.AwaitCaughtUp(t, s.chain)

	want := slices.Clone(missed)
	for h := last + 1; h <= info.Head.Number+5-s.subject.depth; h++ {
		want = append(want, h)
	}
	heights := map[uint64]bool{}
	list2 := s.receiver.Deliveries(t)
	for _, d := range list2 {
		heights[d.Height] = true
	}
	if got := slices.Sorted(maps.Keys(heights)); !slices.Equal(got, want) {
		t.Errorf("alerts of heights %v, want %v", got, want)
	}
	got := checkIdentity(t, list2)
	txs, hashes := chainFacts(t, s.chain, 1, info.Head.Number+5)
	for _, h := range missed {
		expected := s.subject.expected(s.chain, txs, hashes, h, h, "transfers")
		if lost := got.missing(expected); len(lost) > 0 {
			t.Errorf("lost: %+v", lost)
		}
		s.subject.checkProof(t, s.node, h, h, expected)
	}
	to := info.Head.Number + 5 - s.subject.depth
	s.subject.checkProof(t, s.node, last+1, to, s.subject.expected(s.chain, txs, hashes, last+1, to, "transfers"))
	s.node.Terminate(t, Patience)
}

func TestTerminate(t *testing.T) {
	s := newStandard(t, "transfers", "large")
	hang := make(chan struct{})
	s.receiver.Refuse = hangOn("large", hang)
	s.start(t)
	s.blocks(t, 4)
	if _, err := s.chain.Transfer(t.Context(), 0, 9, largeValue+"0"); err != nil {
		t.Fatal(err)
	}
	s.blocks(t, 4)
	Eventually(t, "the delivery that hangs, in the outbox", func(ctx context.Context) error {
		status, err := s.node.Client().Status(ctx)
		if err == nil && status.Outbox == 0 {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
	s.blocks(t, 3)
	s.node.Terminate(t, 15*time.Second)
	if _, err := os.Stat(filepath.Join(s.node.Data, "ozmo.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	close(hang)
	s.blocks(t, 5)
	s.start(t)
	s.subject.checkRest(t, s.node, s.chain, s.receiver)
	s.node.Terminate(t, Patience)
}

func TestTerminateWhileStarting(t *testing.T) {
	s := newStandard(t, "transfers")
	for range 3 {
		s.node.Start(t)
		// The socket is there before the node has a leader, which takes half a second.
		Eventually(t, "the socket", func(ctx context.Context) error {
			if err := s.node.Running(); err != nil {
				return err
			}
			_, err := s.node.Client().Status(ctx)
			return err
		})
		s.node.Terminate(t, Patience)
	}
	s.start(t)
	s.blocks(t, 5)
	s.subject.checkRest(t, s.node, s.chain, s.receiver)
	s.node.Terminate(t, Patience)
}

// What a node has begun to send when it is told to stop, it finishes and
// records: a planned restart repeats nothing.
func TestTerminateRepeatsNothing(t *testing.T) {
	s := newStandard(t, "transfers", "large", "failing", "calls")
	s.receiver.Refuse = func(*http.Request, Delivery) int {
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond)
		return 0
	}
	if err := s.chain.SetRate(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	if _, err := s.chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	d := drive(t, s.chain, blockTime/2, 1)
	for range 5 {
		s.start(t)
		before := len(s.receiver.Deliveries(t))
		Eventually(t, "deliveries", func(context.Context) error {
			if len(s.receiver.Deliveries(t)) < before+10 {
				return errors.New("too few")
			}
			return s.node.Running()
		})
		s.node.Terminate(t, Patience)
	}
	s.start(t)
	info := d.rest(t)
	s.node.AwaitCaughtUp(t, s.chain)
	got := checkIdentity(t, s.receiver.Deliveries(t))
	if o := s.subject.check(t, s.node, s.chain, info.Head.Number, got, d.dead); o.lost > 0 || o.skipped > 0 || got.duplicates > 0 {
		t.Errorf("%d lost, %d skipped, %d of %d alerts came twice", o.lost, o.skipped, got.duplicates, len(got.facts))
	}
	s.node.Terminate(t, Patience)
}
