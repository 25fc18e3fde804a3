package proc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/history"
)

// longRun is from how many faults on a run takes its time.
const longRun = 50

// TestSoak runs three nodes with Redis through random faults, one after the
// other, while the chain grows and is reorganised, tenants are judged and clients
// race for join tokens. Then it compares what the receiver got with what the
// chain says, and what all saw with what one copy of the state could have shown.
//
// OZMO_SOAK_FAULTS says how many faults; OZMO_SOAK_SEED repeats a run's plan
// (not its timing).
func TestSoak(t *testing.T) {
	faults := int(setting(t, "OZMO_SOAK_FAULTS", 15))
	seed := setting(t, "OZMO_SOAK_SEED", uint64(time.Now().UnixNano()))
	longest := 10 * time.Second
	if faults < longRun {
		longest = 3 * time.Second
	}
	s := newSoak(t, seed)
	plan := PlanFaults(seed, faults, []string{"a", "b", "c"}, longest)
	fmt.Printf("soak: seed %d, %d faults\n", seed, faults)
	for i, f := range plan {
		fmt.Printf("soak: plan %d: %v\n", i+1, f)
	}

	s.cluster.Start(t)
	s.cluster.AwaitHealthy(t)
	s.observer = Observe(t, s.cluster, 40*time.Millisecond)
	s.tokens = useTokens(t, s.cluster, seed)
	for i, f := range plan {
		s.fault(t, i+1, f)
	}
	s.endRedis()
	s.judge(t, plan)
}

// soak is a run of faults.
type soak struct {
	chain    *Chain
	receiver *Receiver
	subjects []subject
	cluster  *Cluster
	driver   *driver
	observer *Observer
	tokens   *tokenClients

	redisDown FaultKind // empty: it works
	redisFor  int       // faults that it has been down for
	worst     map[FaultKind]time.Duration
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	dir := Dir(t)
	s := &soak{
		chain:    StartChain(t, dir, "--block-time", "0", "--rate", "15", "--seed", strconv.FormatUint(1+seed%1_000_000, 10)),
		receiver: NewReceiver(t), subjects: clusterSubjects(), worst: map[FaultKind]time.Duration{},
	}
	s.cluster = NewCluster(t, dir, ClusterOptions{Nodes: 3, Redis: true, Wires: true})
	setUp(t, s.cluster.Folder, s.chain, s.receiver, s.subjects)
	if _, err := s.chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	s.driver = drive(t, s.chain, blockTime, seed)
	return s
}

// await lets time pass, unless the chain stops.
func (s *soak) await(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-s.driver.done:
		t.Fatalf("the chain stands still: %v", s.driver.err)
	}
}

// target is the node that a fault is for, now.
func (s *soak) target(t *testing.T, target Target) *Member {
	t.Helper()
	switch target {
	case TheLeader:
		return s.cluster.Leader(t)
	case TheWatcher:
		return s.cluster.Holder(t, s.subjects[0].network)
	default:
		return s.cluster.Node(string(target))
	}
}

// fault makes one fault and waits until the cluster is over it.
func (s *soak) fault(t *testing.T, number int, f Fault) {
	t.Helper()
	s.await(t, f.Before)
	s.observer.Worst()
	var m *Member
	if f.Target != "" {
		m = s.target(t, f.Target)
		m.Log.notef("fault %d: %v", number, f)
	}
	began := time.Now()
	s.do(t, f, m)
	s.cluster.AwaitHealthy(t)
	recovered := time.Since(began)
	gap := s.observer.Worst()
	s.worst[f.Kind] = max(s.worst[f.Kind], gap)
	name := "-"
	if m != nil {
		name = m.Name
	}
	fmt.Printf("soak: fault %d: %v, node %s: healthy after %v, longest time without an announcement %v\n",
		number, f, name, recovered.Round(time.Millisecond), gap.Round(time.Millisecond))
	if s.redisDown != "" {
		if s.redisFor++; s.redisFor > 1 {
			s.endRedis()
		}
	}
}

func (s *soak) do(t *testing.T, f Fault, m *Member) {
	t.Helper()
	switch f.Kind {
	case KillNode:
		m.Kill()
		s.await(t, f.Lasts)
		m.Start(t)
	case PauseNode:
		m.Pause(t)
		s.await(t, f.Lasts)
		m.Resume(t)
	case CutNode:
		if !canTellOwner {
			fmt.Println("soak: on this system nodes cannot be cut off: the node is frozen instead")
			s.do(t, Fault{Kind: PauseNode, Lasts: f.Lasts}, m)
			return
		}
		switch f.Sides {
		case "out":
			s.cluster.Wires.Mute(m.Name, f.Cut)
		case "in":
			s.cluster.Wires.Deafen(m.Name, f.Cut)
		default:
			s.cluster.Wires.Isolate(m.Name, f.Cut)
		}
		s.await(t, f.Lasts)
		s.cluster.Wires.Heal()
	case RestartNode:
		m.Terminate(t, Patience)
		s.await(t, f.Lasts)
		m.Start(t)
	case WipeNode:
		m.Kill()
		m.WipeDisk(t)
		s.await(t, f.Lasts)
		m.Start(t)
	case KillAll:
		for _, m := range s.cluster.Members {
			m.Kill()
		}
		s.cluster.Start(t)
	case RedisKill, RedisFreeze, RedisFlush:
		s.endRedis()
		s.redisDown, s.redisFor = f.Kind, 0
		switch f.Kind {
		case RedisKill:
			s.cluster.Redis.Kill()
		case RedisFreeze:
			s.cluster.Redis.Pause()
		default:
			s.cluster.Redis.Flush()
			s.redisDown = ""
		}
	}
}

func (s *soak) endRedis() {
	switch s.redisDown {
	case RedisKill:
		s.cluster.Redis.Start()
	case RedisFreeze:
		s.cluster.Redis.Resume()
	}
	s.redisDown = ""
}

// judge lets everything come to rest and says what became of it.
func (s *soak) judge(t *testing.T, plan []Fault) {
	t.Helper()
	s.tokens.end()
	info := s.driver.rest(t)
	s.cluster.AwaitCaughtUp(t, s.chain)
	s.observer.Stop()

	got := checkIdentity(t, s.receiver.Deliveries(t))
	var total outcome
	for i := range s.subjects {
		o, _ := s.subjects[i].compare(t, s.cluster.Members[i%3].Node, s.chain, info.Head.Number, got, s.driver.dead)
		total.skipped += o.skipped
		total.lost += o.lost
		total.blocks += o.blocks
	}
	s.checkSequences(t)
	for _, fault := range s.observer.Agreement.Check() {
		t.Errorf("history: %s", fault)
	}
	ops := s.tokens.recorder.Operations()
	if err := history.CheckTokens(ops); err != nil {
		t.Errorf("history: %v", err)
	}
	outcomes := map[history.TokenOutcome]int{}
	for _, o := range ops {
		outcomes[o.Outcome]++
	}
	if outcomes[history.Done] == 0 || outcomes[history.Taken] == 0 {
		t.Errorf("the clients' history proves nothing: %v", outcomes)
	}
	status, err := s.cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.DeadLetter > 0 {
		t.Errorf("%d deliveries were given up", status.DeadLetter)
	}
	s.cluster.Terminate(t)
	s.report(t, plan, got, total, ops, outcomes)
}

// checkSequences checks that all nodes tell the same unbroken sequences.
func (s *soak) checkSequences(t *testing.T) {
	t.Helper()
	for _, subject := range s.subjects {
		var first string
		for _, m := range s.cluster.Members {
			c, err := m.client.Coverage(t.Context(), subject.tenant, subject.network, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := history.CheckSequence(c.Rows); err != nil {
				t.Errorf("node %s, tenant %s, network %s: %v", m.Name, subject.tenant, subject.network, err)
			}
			if text := fmt.Sprint(c.Head, c.Rows); first == "" {
				first = text
			} else if text != first {
				t.Errorf("nodes %s and %s tell different coverage of tenant %s on %s:\n%s\n%s",
					s.cluster.Members[0].Name, m.Name, subject.tenant, subject.network, first, text)
			}
		}
	}
}

func (s *soak) report(t *testing.T, plan []Fault, got received, total outcome, ops []history.TokenOp, outcomes map[history.TokenOutcome]int) {
	t.Helper()
	kinds := map[FaultKind]int{}
	for _, f := range plan {
		kinds[f.Kind]++
	}
	var list []string
	var worst time.Duration
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		list = append(list, fmt.Sprintf("%s %d (%v)", kind, kinds[kind], s.worst[kind].Round(time.Millisecond)))
		if kind != KillAll {
			worst = max(worst, s.worst[kind])
		}
	}
	views, indexes := s.observer.Agreement.Views()
	fmt.Printf("soak: faults by kind (longest time without an announcement): %s\n", strings.Join(list, ", "))
	fmt.Printf("soak: %d reorganisations meanwhile, %d blocks died of them; epochs: %v\n", s.driver.reorgs, len(s.driver.dead), s.observer.Agreement.Epochs())
	fmt.Printf("soak: history: %d operations (%d done, %d taken, %d unsure) linearizable=%v; %d views of nodes at %d log indexes agree=%v\n",
		len(ops), outcomes[history.Done], outcomes[history.Taken], outcomes[history.Unsure], history.CheckTokens(ops) == nil,
		views, indexes, len(s.observer.Agreement.Check()) == 0)
	fmt.Printf("soak: %d faults, %d blocks judged by %d tenants, %d alerts, %d skipped, %d lost, %d duplicates (same key), worst failover %v\n",
		len(plan), total.blocks, len(s.subjects), len(got.facts), total.skipped, total.lost, got.duplicates, worst.Round(time.Millisecond))
	if total.skipped > 0 || total.lost > 0 {
		t.Errorf("%d skipped, %d lost", total.skipped, total.lost)
	}
}

// A leader that is cut off is one no more, whichever way it is cut off.
func TestWires(t *testing.T) {
	if !canTellOwner {
		t.Skip("streams cannot be told by the process that opened them on this system")
	}
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", blockTime.String(), "--rate", "10")
	receiver := NewReceiver(t)
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3, Wires: true})
	setUp(t, c.Folder, chain, receiver, clusterSubjects()[:1])
	c.Start(t)
	c.AwaitHealthy(t)
	for _, cut := range []Cut{Hold, Reset} {
		leader := c.Leader(t)
		c.Wires.Isolate(leader.Name, cut)
		Eventually(t, "another leader", func(ctx context.Context) error {
			for _, m := range c.Members {
				if m == leader {
					continue
				}
				if s, err := m.Local(ctx); err == nil && s.Leader != "" && s.Leader != leader.Name {
					return nil
				}
			}
			return fmt.Errorf("%s still leads", leader.Name)
		})
		Eventually(t, "the end of the old leadership", func(ctx context.Context) error {
			if err := leader.Ready(ctx); err == nil {
				return fmt.Errorf("%s is ready, although it is cut off", leader.Name)
			}
			return leader.Running()
		})
		c.Wires.Heal()
		c.AwaitHealthy(t)
	}
	c.Terminate(t)
}
