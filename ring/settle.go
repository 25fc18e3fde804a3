package ring

import "slices"

// reasonNoPlace marks a tenant that stays with a node that has too many,
// because no other has a place. It is never told.
const reasonNoPlace Reason = "no place"

// settle leaves everything where it is, as far as that may stay, and follows the
// pins. It returns the tenants that are to be placed, and those whose pin is to be
// tried again then.
func (p *plan) settle() (pending, again []int32) {
	loads := make([]int64, len(p.nodes))
	var pinned, incoming, free []int32
	for i := range p.tenants {
		t, n := &p.tenants[i], p.was[i]
		if n != nowhere {
			loads[n] += p.weight[i]
		}
		pin := p.find(t.Pin)
		switch {
		case n != nowhere && t.Moving:
			p.fixed[i] = true
			p.put(int32(i), n)
		case pin == nowhere:
			free = append(free, int32(i))
		case pin == n:
			pinned = append(pinned, int32(i))
		default:
			incoming = append(incoming, int32(i))
			free = append(free, int32(i))
		}
	}
	p.before = p.balanceOf(loads)

	slices.SortFunc(pinned, p.order)
	for _, i := range pinned {
		if n := p.was[i]; p.nodes[n].full() {
			free = append(free, i)
		} else {
			p.fixed[i] = true
			p.put(i, n)
		}
	}
	evicted := p.keep(free)
	slices.SortFunc(incoming, p.order)
	for _, i := range incoming {
		// What a crowded node gives up is placed first: it may have to stay.
		if n := p.find(p.tenants[i].Pin); p.nodes[n].crowded || !p.bringIn(i, n) {
			again = append(again, i)
		}
	}
	p.takeBack(evicted)
	for _, i := range free {
		if p.at[i] == nowhere {
			if p.was[i] == nowhere {
				p.reason[i] = p.reasonFor(p.tenants[i].Node)
			}
			pending = append(pending, i)
		}
	}
	return pending, again
}

// keep leaves the tenants where they are, but for the last in placing order of
// nodes that have too many.
func (p *plan) keep(free []int32) (evicted []int32) {
	over := false
	for _, i := range free {
		n := p.was[i]
		if n == nowhere {
			continue
		}
		p.put(i, n)
		p.lowest = min(p.lowest, p.tenants[i].Priority)
		p.nodes[n].crowded = p.nodes[n].tenants > p.nodes[n].places
		over = over || p.nodes[n].crowded
	}
	if !over {
		return nil
	}
	last := slices.Clone(free)
	slices.SortFunc(last, func(a, b int32) int { return p.order(b, a) })
	for _, i := range last {
		if n := p.at[i]; n != nowhere && p.nodes[n].tenants > p.nodes[n].places {
			p.take(i)
			p.reason[i] = ReasonLoadRebalance
			evicted = append(evicted, i)
		}
	}
	return evicted
}

// takeBack returns to crowded nodes what they have places for after all, since
// pinned tenants left.
func (p *plan) takeBack(evicted []int32) {
	for n := range p.nodes {
		p.nodes[n].crowded = false
	}
	for _, i := range slices.Backward(evicted) {
		if p.at[i] != nowhere {
			continue
		}
		if n := p.was[i]; p.nodes[n].tenants < p.nodes[n].places {
			p.put(i, n)
			p.reason[i] = ""
		} else {
			p.nodes[n].crowded = true
		}
	}
}

// bringIn moves a tenant to the node it is pinned to. If that is full, its last
// tenant in placing order goes, if there is another place for it: perhaps the one
// that becomes free. Otherwise the pin is void for now.
func (p *plan) bringIn(i, n int32) bool {
	from := p.at[i]
	if from != nowhere {
		p.take(i)
	}
	if !p.nodes[n].full() || p.giveWay(n) {
		p.fixed[i] = true
		p.reason[i] = ReasonManual
		p.put(i, n)
		return true
	}
	if from != nowhere {
		p.put(i, from)
	}
	return false
}

// giveWay frees a place on a node, if it can.
func (p *plan) giveWay(n int32) bool {
	if p.nodes[n].tenants > p.nodes[n].places {
		return false
	}
	last := p.lastOn(n)
	if last == nowhere {
		return false
	}
	p.take(last)
	p.nodes[n].tenants++ // the place is not for the one that leaves it
	to := p.roomFor(last)
	if to == nowhere {
		to = p.leastLoadedWith(last)
	}
	p.nodes[n].tenants--
	if to == nowhere {
		p.put(last, n)
		p.queues[n] = append(p.queues[n], last)
		return false
	}
	if p.reason[last] == "" {
		p.reason[last] = ReasonLoadRebalance
	}
	p.put(last, to)
	return true
}

// lastOn takes the last tenant in placing order that may leave a node from the
// node's queue, or nowhere. Those that came since the queue was made have their
// turn when it is empty.
func (p *plan) lastOn(n int32) int32 {
	if p.queues == nil {
		p.queues = make([][]int32, len(p.nodes))
	}
	for range 2 {
		for l := len(p.queues[n]); l > 0; l = len(p.queues[n]) {
			i := p.queues[n][l-1]
			p.queues[n] = p.queues[n][:l-1]
			if p.at[i] == n && !p.fixed[i] {
				return i
			}
		}
		if p.nodes[n].tenants == p.nodes[n].fixed {
			break
		}
		for i, at := range p.at {
			if at == n && !p.fixed[i] {
				p.queues[n] = append(p.queues[n], int32(i))
			}
		}
		slices.SortFunc(p.queues[n], p.order)
	}
	return nowhere
}

func (p *plan) reasonFor(lost string) Reason {
	switch {
	case lost == "":
		return ReasonInitial
	case p.o.Leaving[lost]:
		return ReasonScaling
	}
	return ReasonNodeFailure
}

// empty are the nodes that had nothing and stayed without while others had
// something: those that are new.
func (p *plan) empty() []int32 {
	had := make([]bool, len(p.nodes))
	for i := range p.tenants {
		if n := p.was[i]; n != nowhere && p.at[i] == n {
			had[n] = true
		}
	}
	if !slices.Contains(had, true) {
		return nil
	}
	var out []int32
	for n := range p.nodes {
		if !had[n] {
			out = append(out, int32(n))
		}
	}
	return out
}
