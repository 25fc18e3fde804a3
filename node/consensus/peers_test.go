package consensus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// scene is a group in short: each word is "id:what", where what is made of
// V a voter, N a non-voter, K known and not in the group; then: nothing alive
// and stable, u unstable, h behind, l leaving, d dead for 10 s, D for 10 min,
// H for 2 h, W for 2 days. The first server leads.
func scene(words string, target int) PeersInput {
	in := PeersInput{Target: target, Members: map[string]Health{}, DeadFor: map[string]time.Duration{}}
	for i, w := range strings.Fields(words) {
		id, what, _ := strings.Cut(w, ":")
		if !strings.Contains(id, "@") {
			id += "@1"
		}
		if i == 0 {
			in.Self = id
		}
		h := Health{Alive: true, Stable: time.Minute}
		for _, c := range what[1:] {
			switch c {
			case 'u':
				h.Stable = time.Second
			case 'h':
				h.Behind = 1000
			case 'l':
				h.Leaving = true
			case 'd', 'D', 'H', 'W':
				h = Health{}
				in.DeadFor[id] = map[rune]time.Duration{'d': 10 * time.Second, 'D': 10 * time.Minute, 'H': 2 * time.Hour, 'W': 48 * time.Hour}[c]
			}
		}
		in.Members[id] = h
		s := Server{ID: id, Address: NameOf(id) + ":7000"}
		switch what[0] {
		case 'V', 'N':
			in.Peers = append(in.Peers, Peer{s, what[0] == 'V'})
		case 'K':
			in.Known = append(in.Known, s)
		}
	}
	return in
}

// at puts the last known server where another node was.
func at(name string) func(*PeersInput) {
	return func(in *PeersInput) { in.Known[len(in.Known)-1].Address = name + ":7000" }
}

func TestPlanPeers(t *testing.T) {
	for _, c := range []struct {
		name   string
		words  string
		target int
		change func(*PeersInput)
		want   string // "" for nothing
	}{
		{"one node", "a:V", 3, nil, ""},
		{"a new node follows", "a:V b:K", 3, nil, "add b@1"},
		{"two nodes keep one voter", "a:V b:N", 3, nil, ""},
		{"a pair that was begun as one stays", "a:V b:V", 3, nil, ""},
		{"three nodes: the first of two seats", "a:V b:N c:N", 3, nil, "promote b@1"},
		{"three nodes: the second", "a:V b:V c:N", 3, nil, "promote c@1"},
		{"not before both are ready", "a:V b:N c:Nu", 3, nil, ""},
		{"not while it is behind", "a:V b:N c:Nh", 3, nil, ""},
		{"not when it leaves", "a:V b:N c:Nl", 3, nil, ""},
		{"enough voters", "a:V b:V c:V d:N e:N", 3, nil, ""},
		{"four voters are no better", "a:V b:V c:V d:N", 5, nil, ""},
		{"towards five", "a:V b:V c:V d:N e:N", 5, nil, "promote d@1"},
		{"five", "a:V b:V c:V d:V e:N", 5, nil, "promote e@1"},
		{"a short absence", "a:V b:V c:Vd d:N", 3, nil, ""},
		{"a dead voter, nobody to replace it", "a:V b:V c:VD", 3, nil, ""},
		{"nobody stable to replace it", "a:V b:V c:VD d:Nu", 3, nil, ""},
		{"a dead voter's seat is taken first", "a:V b:V c:VD d:N", 3, nil, "promote d@1"},
		{"then it loses its own", "a:V b:V c:VD d:V", 3, nil, "demote c@1"},
		{"two dead of five, one to replace them", "a:V b:V c:V d:VD e:VD f:N", 5, nil, "promote f@1"},
		{"then one loses its seat", "a:V b:V c:V d:VD e:VD f:V", 5, nil, "demote d@1"},
		{"and the other keeps it", "a:V b:V c:V d:ND e:VD f:V", 5, nil, ""},
		{"it came back in between", "a:V b:V c:V d:V", 3, nil, "demote d@1"},
		{"a lost majority cannot be planned away", "a:V b:VD c:VD d:N", 3, nil, ""},
		{"a drained voter is replaced", "a:V b:V c:Vl d:N", 3, nil, "promote d@1"},
		{"and then demoted", "a:V b:V c:Vl d:V", 3, nil, "demote c@1"},
		{"a drained voter without a replacement stays", "a:V b:V c:Vl", 3, nil, ""},
		{"a drained leader hands over", "a:Vl b:V c:V", 3, nil, "transfer leadership to b@1"},
		{"to who is furthest", "a:Vl b:Vh c:V", 3, nil, "transfer leadership to c@1"},
		{"not to who leaves too", "a:Vl b:Vl c:V", 3, nil, "transfer leadership to c@1"},
		{"a drained single leader is replaced first", "a:Vl b:N", 3, nil, "promote b@1"},
		{"then hands over", "a:Vl b:V", 3, nil, "transfer leadership to b@1"},
		{"then is demoted", "b:V a:Vl", 3, nil, "demote a@1"},
		{"nobody to hand over to", "a:Vl", 3, nil, ""},
		{"a dead non-voter, a while", "a:V b:ND", 3, nil, ""},
		{"a dead non-voter, longer", "a:V b:NH", 3, nil, "remove b@1"},
		{"one that had a seat, longer", "a:V b:NH", 3, func(in *PeersInput) { in.Replaced = map[string]bool{"b@1": true} }, ""},
		{"one that had a seat, a day", "a:V b:NW", 3, func(in *PeersInput) { in.Replaced = map[string]bool{"b@1": true} }, "remove b@1"},
		{"a dead voter that nobody replaced stays", "a:V b:V c:VW", 3, nil, ""},
		{"a lost disk", "a:V b:V c@1:Vd c@2:K", 3, nil, "remove c@1"},
		{"a lost disk when the majority is lost too", "a:V b:Vd c@1:Vd c@2:K", 3, nil, ""},
		{"a lost disk: the new server", "a:V b:V c@2:K", 3, nil, "add c@2"},
		{"a lost disk while another voter is away", "a:V b:V c:V d:Vd e@1:Vd e@2:K", 5, nil, "remove e@1"},
		{"a lost non-voter", "a:V c@1:Nd c@2:K", 3, nil, "remove c@1"},
		{"the same disk elsewhere is no loss", "a:V b:V c:V", 3, func(in *PeersInput) { in.Known = []Server{{"c@1", "elsewhere:7000"}} }, ""},
		{"another node at a dead voter's address", "a:V b:V c:Vd d:K", 3, at("c"), "demote c@1"},
		{"then the dead one makes room", "a:V b:V c:Nd d:K", 3, at("c"), "remove c@1"},
		{"then the new one joins", "a:V b:V d:K", 3, at("c"), "add d@1"},
		{"another node at an address, majority lost", "a:V b:Vd c:Vd d:K", 3, at("c"), ""},
		{"the same for a dead non-voter", "a:V b:Vd c:Nd d:K", 3, at("c"), ""},
		{"another node at a live server's address", "a:V b:V c:V d:K", 3, at("c"), ""},
		{"what is to be removed displaces nobody", "a:V b:V c:Vd d:K", 3, func(in *PeersInput) { at("c")(in); in.Remove = []string{"d"} }, ""},
		{"a dead node displaces nobody", "a:V b:V c:Vd d:Kd", 3, at("c"), ""},
		{"remove a non-voter", "a:V b:N", 3, func(in *PeersInput) { in.Remove = []string{"b"} }, "remove b@1"},
		{"remove a voter", "a:V b:V c:V", 3, func(in *PeersInput) { in.Remove = []string{"c"} }, "demote c@1"},
		{"remove a voter that can be replaced", "a:V b:V c:V d:N", 3, func(in *PeersInput) { in.Remove = []string{"c"} }, "promote d@1"},
		{"remove a dead voter", "a:V b:V c:Vd", 3, func(in *PeersInput) { in.Remove = []string{"c"} }, "demote c@1"},
		{"remove one of a pair", "a:V b:V", 3, func(in *PeersInput) { in.Remove = []string{"b"} }, "demote b@1"},
		{"not when the majority needs it", "a:V b:V c:Vd", 3, func(in *PeersInput) { in.Remove = []string{"b"} }, ""},
		{"remove the leader", "a:V b:V c:V", 3, func(in *PeersInput) { in.Remove = []string{"a"} }, "transfer leadership to b@1"},
		{"remove the only voter", "a:V", 3, func(in *PeersInput) { in.Remove = []string{"a"} }, ""},
		{"what is to be removed is not added again", "a:V b:K", 3, func(in *PeersInput) { in.Remove = []string{"b"} }, ""},
		{"fewer voters wanted", "a:V b:V c:V d:V e:V", 3, nil, "demote e@1"},
		{"fewer voters wanted: the dead first", "a:V b:VD c:V d:V e:V", 3, nil, "demote b@1"},
		{"two voters at one address cannot be", "a:V b:K c:K", 3, func(in *PeersInput) {
			in.Known[0].Address = "a:7000"
		}, "add c@1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := scene(c.words, c.target)
			if c.change != nil {
				c.change(&in)
			}
			got := ""
			for _, ch := range PlanPeers(in) {
				got += ch.String()
				if ch.Reason == "" {
					t.Error("no reason")
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// drawPeers draws a group that a leader leads: a majority of its voters lives.
func drawPeers(rt *rapid.T) PeersInput {
	in := PeersInput{
		Self: "n0@1", Target: rapid.SampledFrom([]int{3, 5}).Draw(rt, "target"),
		Members: map[string]Health{"n0@1": {Alive: true, Stable: time.Hour, Leaving: rapid.Float64().Draw(rt, "leaves") < 0.1}},
		DeadFor: map[string]time.Duration{}, Replaced: map[string]bool{},
		Peers: []Peer{{Server{"n0@1", "n0:7000"}, true}},
	}
	n := rapid.IntRange(0, 8).Draw(rt, "others")
	for i := range n {
		label := func(s string) string { return fmt.Sprintf("%s%d", s, i+1) }
		name := label("n")
		s := Server{name + "@1", name + ":7000"}
		h := Health{Alive: rapid.Float64().Draw(rt, label("alive")) < 0.75}
		if h.Alive {
			h.Stable = time.Duration(rapid.SampledFrom([]int{0, 9, 10, 3600}).Draw(rt, label("stable"))) * time.Second
			h.Behind = rapid.SampledFrom([]uint64{0, 249, 250, 9999}).Draw(rt, label("behind"))
			h.Leaving = rapid.Float64().Draw(rt, label("leaving")) < 0.15
		} else {
			in.DeadFor[s.ID] = time.Duration(rapid.SampledFrom([]int{1, 300, 3600, 86400}).Draw(rt, label("dead"))) * time.Second
		}
		switch kind := rapid.SampledFrom([]string{"voter", "voter", "non-voter", "known"}).Draw(rt, label("kind")); {
		case kind == "voter":
			in.Peers = append(in.Peers, Peer{s, true})
		case kind == "non-voter":
			in.Peers = append(in.Peers, Peer{s, false})
		case h.Alive:
			in.Known = append(in.Known, s)
		}
		in.Members[s.ID] = h
		if !h.Alive && rapid.Float64().Draw(rt, label("wiped")) < 0.3 {
			again := Server{name + "@2", name + ":7000"}
			in.Known = append(in.Known, again)
			in.Members[again.ID] = Health{Alive: true, Stable: time.Hour}
		}
		if !h.Alive && rapid.Float64().Draw(rt, label("displaced")) < 0.3 {
			other := Server{label("m") + "@1", name + ":7000"}
			in.Known = append(in.Known, other)
			in.Members[other.ID] = Health{Alive: true, Stable: time.Hour}
		}
		if rapid.Float64().Draw(rt, label("remove")) < 0.1 {
			in.Remove = append(in.Remove, name)
		}
		if rapid.Bool().Draw(rt, label("replaced")) {
			in.Replaced[s.ID] = true
		}
	}
	if live, all := count(in); !quorate(live, all) {
		rt.Skip("nobody could lead")
	}
	return in
}

func count(in PeersInput) (live, voters int) {
	for _, p := range in.Peers {
		if p.Voter {
			voters++
			if p.ID == in.Self || in.Members[p.ID].Alive {
				live++
			}
		}
	}
	return live, voters
}

// make carries a change out.
func (in PeersInput) make(c PeerChange) PeersInput {
	in.Peers = slices.Clone(in.Peers)
	at := slices.IndexFunc(in.Peers, func(p Peer) bool { return p.ID == c.Server.ID })
	switch c.Kind {
	case AddPeer:
		in.Peers = append(in.Peers, Peer{c.Server, false})
		in.Known = slices.DeleteFunc(slices.Clone(in.Known), func(s Server) bool { return s == c.Server })
	case PromotePeer:
		in.Peers[at].Voter = true
	case DemotePeer:
		in.Peers[at].Voter = false
		in.Replaced = maps.Clone(in.Replaced)
		in.Replaced[c.Server.ID] = !in.Members[c.Server.ID].Alive
	case RemovePeer:
		in.Peers = slices.Delete(in.Peers, at, at+1)
		if in.Members[c.Server.ID].Alive {
			in.Known = append(slices.Clone(in.Known), c.Server)
		}
	case TransferLead:
		in.Self = c.Server.ID
	}
	return in
}

func TestPlanPeersIsSafe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := drawPeers(rt)
		before := fmt.Sprint(in)
		plan := PlanPeers(in)
		if fmt.Sprint(in) != before {
			rt.Fatal("the input was changed")
		}
		if len(plan) > 1 {
			rt.Fatalf("%d changes at a time", len(plan))
		}
		if fmt.Sprint(PlanPeers(in)) != fmt.Sprint(plan) {
			rt.Fatal("not deterministic")
		}
		for _, c := range plan {
			check(rt, in, c)
		}
	})
}

// check holds a single change against the rules.
func check(rt *rapid.T, in PeersInput, c PeerChange) {
	h := in.Members[c.Server.ID]
	at := slices.IndexFunc(in.Peers, func(p Peer) bool { return p.ID == c.Server.ID })
	if c.Reason == "" {
		rt.Fatalf("%v: no reason", c)
	}
	if c.Server.ID == in.Self {
		rt.Fatalf("%v: the leader itself", c)
	}
	if (c.Kind == AddPeer) != (at < 0) {
		rt.Fatalf("%v: it is or is not in the group", c)
	}
	after := in.make(c)
	live, voters := count(after)
	if !quorate(live, voters) {
		rt.Fatalf("%v: leaves %d live of %d voters", c, live, voters)
	}
	if c.Kind == PromotePeer {
		if in.Peers[at].Voter || !h.Alive || h.Leaving || h.Stable < promoteAfter || h.Behind >= promoteWithin || slices.Contains(in.Remove, NameOf(c.Server.ID)) {
			rt.Fatalf("%v: not fit for a vote: %+v", c, h)
		}
		if voters > in.Target+1 {
			rt.Fatalf("%v: %d voters, %d wanted", c, voters, in.Target)
		}
	}
	if c.Kind == TransferLead && (!in.Peers[at].Voter || !h.Alive || h.Leaving) {
		rt.Fatalf("%v: cannot lead", c)
	}
	if c.Kind == RemovePeer && in.Peers[at].Voter && h.Alive {
		rt.Fatalf("%v: a live voter is demoted first", c)
	}
	addresses := map[string]bool{}
	for _, p := range after.Peers {
		if addresses[p.Address] {
			rt.Fatalf("%v: two servers at %s", c, p.Address)
		}
		addresses[p.Address] = true
	}
	// How many more voters may die: less only when somebody asks for it.
	was, all := count(in)
	spare, spareAfter := was-(all/2+1), live-(voters/2+1)
	asked := len(in.Remove) > 0 || all > in.Target
	if spareAfter < spare && !asked {
		rt.Fatalf("%v: may lose %d instead of %d more voters", c, spareAfter, spare)
	}
}

// Following the plan comes to an end, and to a good one.
func TestPlanPeersConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := drawPeers(rt)
		var made []string
		for {
			plan := PlanPeers(in)
			if len(plan) == 0 {
				break
			}
			check(rt, in, plan[0])
			made = append(made, plan[0].String())
			if len(made) > 60 {
				rt.Fatalf("no end: %v", made)
			}
			in = in.make(plan[0])
		}
		// Who is left out is in a live server's way.
		for _, s := range in.Known {
			taken := slices.ContainsFunc(in.Peers, func(p Peer) bool {
				return p.Address == s.Address && (p.ID == in.Self || in.Members[p.ID].Alive)
			})
			if !taken && !slices.Contains(in.Remove, NameOf(s.ID)) {
				rt.Fatalf("%s is not in the group, after %v", s.ID, made)
			}
		}
		_, voters := count(in)
		healthy := true
		fit := 0
		for _, p := range in.Peers {
			h := in.Members[p.ID]
			if p.ID == in.Self || (h.Alive && !h.Leaving && (p.Voter || h.Stable >= promoteAfter && h.Behind < promoteWithin)) {
				fit++
			} else if p.Voter {
				healthy = false
			}
		}
		if healthy && len(in.Remove) == 0 && !in.Members[in.Self].Leaving {
			if want := odd(min(fit, in.Target)); voters < want || voters > in.Target {
				rt.Fatalf("%d voters of %d fit servers, want %d, after %v", voters, fit, want, made)
			}
		}
	})
}
