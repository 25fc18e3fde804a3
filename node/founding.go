package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/node/consensus"
)

// Nodes that found a cluster together must all begin with the same Raft
// configuration, and none of them may do so twice: a node that lost its disk
// would vote again. So each puts a pledge into its data directory (its identity,
// with the instance that founders have) before it tells the others that it is
// new, and pledges only while all of them answer and none has begun. It begins
// once all have pledged. A node without a pledge that finds the cluster begun, or
// itself known to have pledged, comes as another instance.

// foundingState is how far a node is with it.
type foundingState string

const (
	foundingNew foundingState = "new"   // pledged
	foundingSet foundingState = "set"   // has the first configuration
	foundingEnd foundingState = "begun" // the cluster has had a leader
)

// foundingAnswer is what founders tell each other.
type foundingAnswer struct {
	Node     string        `json:"node"`
	Cluster  string        `json:"cluster"`
	State    foundingState `json:"state"`
	Founders []string      `json:"founders,omitempty"` // sorted; empty: started without such a list
	Pledged  []string      `json:"pledged,omitempty"`  // whose pledges this process has seen
}

// founders is what this node knows of a founding.
type founders struct {
	mu      sync.Mutex
	pledged map[string]bool
	missing []string // who is waited for, and why
}

// await notes who is waited for; awaited tells.
func (f *founders) await(missing []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missing = missing
}

func (f *founders) awaited() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.missing
}

func (f *founders) note(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pledged == nil {
		f.pledged = map[string]bool{}
	}
	f.pledged[name] = true
}

func (f *founders) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for name := range f.pledged {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (n *Node) serveFounding(w http.ResponseWriter, _ *http.Request) {
	state := foundingNew
	switch {
	case n.state.View().Index() > 0 || n.begun.Load():
		state = foundingEnd
	case n.groupNow() != nil:
		state = foundingSet
	}
	a := foundingAnswer{Node: n.opts.Name, Cluster: n.clusterName(), State: state, Pledged: n.founders.list()}
	if n.pledged.Load() {
		a.Founders = n.opts.Founders
	}
	reply(w, a)
}

// foundingPause is how often founders ask each other.
const foundingPause = 200 * time.Millisecond

// foundTogether waits for the other founders and tells whether this node begins
// with them; otherwise it comes later, as another instance.
func (n *Node) foundTogether(ctx context.Context) (together bool, err error) {
	if !slices.Contains(n.opts.Founders, n.opts.Name) {
		return false, nil
	}
	id, err := n.opts.readIdentity()
	if err != nil {
		return false, err
	}
	pledged := id.Instance == founding
	n.pledged.Store(pledged)
	if id.Instance != "" && !pledged {
		return false, nil
	}
	said := ""
	defer n.founders.await(nil)
	for {
		answers, silent, err := n.askFounders(ctx)
		if err != nil {
			return false, err
		}
		var missing []string
		for _, name := range slices.Sorted(maps.Keys(silent)) {
			missing = append(missing, fmt.Sprintf("%s (%v)", name, silent[name]))
		}
		for _, a := range answers {
			if a.State == foundingNew && len(a.Founders) == 0 {
				missing = append(missing, a.Node+" (it is there, and not ready to begin)")
			}
		}
		n.founders.await(missing)
		begun := slices.ContainsFunc(answers, func(a foundingAnswer) bool { return a.State == foundingEnd })
		known := slices.ContainsFunc(answers, func(a foundingAnswer) bool { return slices.Contains(a.Pledged, n.opts.Name) })
		switch {
		case pledged && (begun || len(missing) == 0):
			return true, nil
		case !pledged && begun:
			return false, nil
		case !pledged && (known || len(silent) > 0):
			// Known: it has pledged and lost its disk since, so it waits until the
			// others have begun, which they can without it. Silent: whoever does not
			// answer may know of that, or have begun.
		case !pledged:
			if err := n.opts.writeIdentity(identity{Name: n.opts.Name, Instance: founding}); err != nil {
				return false, err
			}
			pledged = true
			n.pledged.Store(true)
			continue
		}
		if text := strings.Join(missing, ", "); text != said {
			said = text
			n.log.Info("waiting for the other founders of the cluster", "missing", text)
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(foundingPause):
		}
	}
}

// askFounders asks all others; silent are those that did not answer, and why.
func (n *Node) askFounders(ctx context.Context) (answers []foundingAnswer, silent map[string]error, err error) {
	others := slices.DeleteFunc(slices.Clone(n.opts.Founders), func(name string) bool { return name == n.opts.Name })
	for _, name := range others {
		if _, ok := n.membership.Peers[name]; !ok {
			return nil, nil, fmt.Errorf("--bootstrap names %q, whose address is not known: the bundle has %s", name, strings.Join(slices.Sorted(maps.Keys(n.membership.Peers)), ", "))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var (
		mu    sync.Mutex
		all   sync.WaitGroup
		given = map[string]foundingAnswer{}
	)
	silent = map[string]error{}
	for _, name := range others {
		address := n.membership.Peers[name]
		// Side by side: one that hangs must not use up the time of the others.
		all.Go(func() {
			var a foundingAnswer
			err := n.call(ctx, address, http.MethodGet, "/rpc/founding", nil, nil, &a)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent[name] = err
				return
			}
			given[name] = a
		})
	}
	all.Wait()
	for _, name := range others {
		a, ok := given[name]
		if !ok {
			continue
		}
		if err := n.checkFounder(name, a); err != nil {
			return nil, nil, err
		}
		if a.State != foundingNew || len(a.Founders) > 0 {
			n.founders.note(name)
		}
		answers = append(answers, a)
	}
	return answers, silent, nil
}

func (n *Node) checkFounder(name string, a foundingAnswer) error {
	switch {
	case a.Node != name:
		return fmt.Errorf("at the address of node %q is node %q: the bundles' addresses are mixed up", name, a.Node)
	case a.State != foundingEnd && len(a.Founders) > 0 && !slices.Equal(a.Founders, n.opts.Founders):
		return fmt.Errorf("the --bootstrap lists differ: this node has %s, node %q has %s: give all founders the same list",
			strings.Join(n.opts.Founders, ","), name, strings.Join(a.Founders, ","))
	}
	return nil
}

// newInstance tells a data directory from all others.
func newInstance() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// instantiate makes the data directory an instance of the node, unless it is
// one already.
func (n *Node) instantiate() error {
	id, err := n.opts.readIdentity()
	if err != nil {
		return err
	}
	if id.Instance == "" {
		id = identity{Name: n.opts.Name, Instance: newInstance()}
		if err := n.opts.writeIdentity(id); err != nil {
			return err
		}
	}
	n.instance = id.Instance
	return nil
}

// founderServers is the first Raft configuration of nodes that begin together.
func (n *Node) founderServers() []consensus.Server {
	out := make([]consensus.Server, len(n.opts.Founders))
	for i, name := range n.opts.Founders {
		address := n.membership.Peers[name]
		if name == n.opts.Name && address == "" {
			address = n.address
		}
		out[i] = consensus.Server{ID: serverID(name, founding), Address: address}
	}
	return out
}
