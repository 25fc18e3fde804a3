package fsm

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// delivery is the part of the model that is about alerts and what is sent of them.
type delivery struct {
	retracted map[[2]string]Retraction // network, alert
	replays   map[[3]string]modelReplay
	secrets   map[string]Secret
}

// modelReplay knows every height by itself.
type modelReplay struct {
	doc     Hash
	heights map[uint64]bool
}

func newModelDelivery() delivery {
	return delivery{retracted: map[[2]string]Retraction{}, replays: map[[3]string]modelReplay{}, secrets: map[string]Secret{}}
}

func letter(tenant, key string) string { return tenant + "\x00" + key }

// applyDelivery is apply for the commands about the outbox, dead letters and secrets.
func (m *model) applyDelivery(c Command) (known bool, err error) {
	switch c := c.(type) {
	case *Settle:
		for _, s := range c.Settled {
			o, ok := m.outbox[letter(s.Tenant, s.Key)]
			if !ok {
				continue
			}
			o.Attempts, o.Reason, o.Status, o.Excerpt, o.NotBefore = s.Attempts, s.Reason, s.Status, s.Excerpt, s.NotBefore
			switch s.Outcome {
			case Sent:
				delete(m.outbox, letter(s.Tenant, s.Key))
			case Refused:
				m.bury(Dead{Outgoing: o, DiedAt: c.At})
			default:
				m.outbox[letter(s.Tenant, s.Key)] = o
			}
		}
	case *Purge:
		for _, k := range c.Keys {
			delete(m.dead, letter(c.Tenant, k))
			delete(m.outbox, letter(c.Tenant, k))
		}
	case *Redeliver:
		for _, k := range c.Keys {
			at := letter(c.Tenant, k)
			o, pending := m.outbox[at]
			if d, ok := m.dead[at]; ok && !pending && len(d.Delivery) > 0 {
				if m.succeeded(d.Tenant, d.Born) {
					continue
				}
				delete(m.dead, at)
				o, pending = d.Outgoing, true
			}
			if pending {
				o.Attempts, o.At, o.NotBefore = 0, c.At, max(c.At, 1)
				m.outbox[at] = o
			}
		}
	case *Replay:
		return true, m.replay(c)
	case *PutSecret:
		if _, ok := m.tenants[c.Tenant]; !ok {
			return true, ErrNotFound
		}
		m.secrets[letter(c.Tenant, c.Name)] = Secret{Tenant: c.Tenant, Name: c.Name, Sealed: c.Sealed, Index: m.index, At: c.At}
	case *DropSecret:
		if _, ok := m.secrets[letter(c.Tenant, c.Name)]; !ok {
			return true, ErrNotFound
		}
		delete(m.secrets, letter(c.Tenant, c.Name))
	default:
		return false, nil
	}
	return true, nil
}

func (m *model) replay(c *Replay) error {
	t, ok := m.tenants[c.Tenant]
	if !ok {
		return ErrNotFound
	}
	i := slices.IndexFunc(t.current().Manifest.Docs, func(d Doc) bool { return d.Kind == DocMonitor && d.ID == c.Monitor })
	if i < 0 || t.current().Manifest.Docs[i].Hash != c.Doc {
		return ErrConflict
	}
	r, ok := m.replays[[3]string{c.Tenant, c.Network, c.Monitor}]
	if !ok || r.doc != c.Doc {
		r = modelReplay{doc: c.Doc, heights: map[uint64]bool{}}
	}
	for h := c.From; h <= c.To; h++ {
		r.heights[h] = true
	}
	m.replays[[3]string{c.Tenant, c.Network, c.Monitor}] = r
	for _, o := range c.Outbox {
		o.Tenant, o.Born = c.Tenant, t.born
		if o.Attempts == 0 && o.NotBefore == 0 {
			o.NotBefore = max(c.At, 1)
		}
		_, waiting := m.outbox[letter(o.Tenant, o.Key)]
		d, dead := m.dead[letter(o.Tenant, o.Key)]
		if !waiting && !(dead && d.Born == o.Born) {
			delete(m.dead, letter(o.Tenant, o.Key))
			m.outbox[letter(o.Tenant, o.Key)] = o
		}
	}
	return nil
}

// keepReplayed forgets what no document of a tenant accounts for.
func (m *model) keepReplayed(tenant string, manifest *Manifest) {
	maps.DeleteFunc(m.replays, func(key [3]string, r modelReplay) bool {
		return key[0] == tenant && !slices.ContainsFunc(manifest.Docs, func(d Doc) bool {
			return d.Kind == DocMonitor && d.ID == key[2] && d.Hash == r.doc
		})
	})
}

// dropDelivery ends what a tenant had that is gone.
func (m *model) dropDelivery(tenant string, at int64) {
	m.keepReplayed(tenant, &Manifest{})
	maps.DeleteFunc(m.secrets, func(_ string, s Secret) bool { return s.Tenant == tenant })
	for _, o := range maps.Clone(m.outbox) {
		if o.Tenant == tenant {
			o.Reason = "the tenant was deleted"
			m.bury(Dead{Outgoing: o, DiedAt: at})
		}
	}
}

func (m *model) handOver(o Outgoing) {
	at := letter(o.Tenant, o.Key)
	d, dead := m.dead[at]
	old, ok := m.outbox[at]
	if m.succeeded(o.Tenant, o.Born) || dead && d.Born == o.Born || ok && old.Attempts >= o.Attempts {
		return
	}
	m.outbox[at] = o
	delete(m.dead, at)
}

// succeeded reports whether another tenant has the name by now.
func (m *model) succeeded(tenant string, born uint64) bool {
	t, ok := m.tenants[tenant]
	return ok && t.born != born
}

func (m *model) bury(d Dead) {
	delete(m.outbox, letter(d.Tenant, d.Key))
	m.dead[letter(d.Tenant, d.Key)] = d
}

// recordFired keeps what is told of an alert in a block, the later state of two.
func (m *model) recordFired(f Fired) {
	if m.succeeded(f.Tenant, f.Born) {
		return
	}
	key := firedKey(f.Network, f.Block, f.Alert)
	if _, exists := m.tenants[f.Tenant]; exists && !m.needs(f.Tenant, f.Network) {
		defer func() {
			if m.needs(f.Tenant, f.Network) {
				m.goesOn(f.Network, m.tenants[f.Tenant].cohort)
			}
		}()
	}
	old, ok := m.fired[key]
	if ok && old.Born == f.Born {
		later := f.Position > old.Position
		next, other := old.Fired, f
		if later {
			next, other = f, old.Fired
		}
		if len(next.Content) == 0 {
			next.Content = other.Content
		}
		next.Deliveries = slices.Clone(old.Deliveries)
		for _, d := range f.Deliveries {
			if i := slices.IndexFunc(next.Deliveries, func(o Delivered) bool { return o.Key == d.Key }); i >= 0 {
				next.Deliveries[i] = d
			} else {
				next.Deliveries = append(next.Deliveries, d)
			}
		}
		old.Fired = next
		if !later {
			return
		}
	} else {
		f.Deliveries = slices.Clone(f.Deliveries)
		m.fired[key] = &modelFired{Fired: f}
	}
	at := [2]string{f.Network, f.Alert}
	if r, ok := m.retracted[at]; ok && r.Born == f.Born && r.Position >= f.Position {
		return
	}
	delete(m.retracted, at)
	if f.State == AlertRetracted {
		m.retracted[at] = Retraction{Block: f.Block, Position: f.Position, Born: f.Born}
	}
}

// checkDelivery compares what the state says of alerts and deliveries.
func (m *machine) checkDelivery(t *rapid.T, v *View) {
	d := dump(v)
	same(t, "outbox", d.Outbox, m.m.outbox)
	same(t, "dead letters", d.Dead, m.m.dead)
	same(t, "secrets", d.Secrets, m.m.secrets)
	retracted := map[[2]string]Retraction{}
	for _, r := range d.Retracted {
		retracted[[2]string{r.Network, r.Alert}] = r.Retraction
		if got, ok := v.Retracted(r.Network, r.Alert, r.Born); !ok || got != r.Retraction {
			t.Fatalf("retraction %+v is not found", r)
		}
	}
	if diff := cmp.Diff(m.m.retracted, retracted, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("retractions differ (-want +got):\n%s", diff)
	}
	if len(d.Replays) != len(m.m.replays) {
		t.Fatalf("%d records of replays, want %d", len(d.Replays), len(m.m.replays))
	}
	for key, want := range m.m.replays {
		heights := map[uint64]bool{}
		last := uint64(0)
		for i, s := range v.Replayed(key[0], key[1], key[2], want.doc) {
			if i > 0 && s.From <= last+1 || s.From > s.To {
				t.Fatalf("replayed %v: stretch %+v after %d", key, s, last)
			}
			last = s.To
			for h := s.From; h <= s.To; h++ {
				heights[h] = true
			}
		}
		if !maps.Equal(heights, want.heights) {
			t.Fatalf("replayed %v: %v, want %v", key, heights, want.heights)
		}
		if other := v.Replayed(key[0], key[1], key[2], Hash{9}); other != nil {
			t.Fatalf("replayed %v with a document that never was: %v", key, other)
		}
	}
	for key, n := range m.m.nets {
		network, _ := v.Network(key)
		for p := uint64(1); p <= n.next(); p++ {
			want := uint64(DefaultWindow)
			for _, w := range n.windows {
				if w.From <= p {
					want = w.Depth
				}
			}
			if got := network.FinalityAt(p); got != want {
				t.Fatalf("network %s: finality depth %d at position %d of %v, want %d", key, got, p, n.windows, want)
			}
		}
	}
	checkBoxes(t, v)
	checkDeaths(t, v)
	checkBoxes(t, m.twin.View())
}

// checkContent: what the ledger's content counts for is what a scan gives.
func checkContent(t checker, v *View) {
	t.Helper()
	want := map[string]int64{}
	var all int64
	for f := range values(v.fired) {
		if string(f.Content) != string(NoContent) {
			want[f.Tenant] += int64(len(f.Content))
			all += int64(len(f.Content))
		}
	}
	for tenant, n := range want {
		if got := v.ContentBytesOf(tenant); got != n || n > MaxContentTenant {
			t.Fatalf("tenant %q has %d bytes of content, want %d", tenant, got, n)
		}
		if n == 0 {
			delete(want, tenant)
		}
	}
	if v.contents.Len() != len(want) {
		t.Fatalf("%d tenants have content, want %v", v.contents.Len(), want)
	}
	if v.ContentBytes() != all || all > MaxContent {
		t.Fatalf("the ledger has %d bytes of content, want %d", v.ContentBytes(), all)
	}
}

// checkBoxes: the counts are what a scan gives.
func checkBoxes(t checker, v *View) {
	t.Helper()
	want := map[string]Box{}
	var all, dead int64
	for o := range v.Outbox() {
		b := want[o.Tenant]
		b.Entries++
		b.Bytes += o.Size()
		want[o.Tenant] = b
		all += o.Size()
		if found, ok := v.FindOutgoing(o.Tenant, o.Key); !ok || found != o {
			t.Fatalf("delivery %+v is not found", o)
		}
	}
	for d := range v.DeadLetters() {
		b := want[d.Tenant]
		b.Dead++
		b.DeadBytes += d.Size()
		want[d.Tenant] = b
		dead += d.Size()
		if found, ok := v.FindDead(d.Tenant, d.Key); !ok || found != d {
			t.Fatalf("dead letter %+v is not found", d)
		}
		if o, ok := v.FindOutgoing(d.Tenant, d.Key); ok {
			t.Fatalf("delivery %+v is a dead letter as well", o)
		}
	}
	for tenant, b := range want {
		got := v.Box(tenant)
		b.Forgotten = got.Forgotten // no scan tells
		if got != b {
			t.Fatalf("box of %q: %+v, want %+v", tenant, got, b)
		}
		if n := len(slices.Collect(v.OutboxOf(tenant))); n != b.Entries {
			t.Fatalf("tenant %q: %d deliveries listed, want %d", tenant, n, b.Entries)
		}
		if n := len(slices.Collect(v.DeadOf(tenant))); n != b.Dead {
			t.Fatalf("tenant %q: %d dead letters listed, want %d", tenant, n, b.Dead)
		}
		if b.Bytes > MaxOutboxTenant || b.Dead > KeepDead || b.DeadBytes > KeepDeadBytes {
			t.Fatalf("box of %q is over its bounds: %+v", tenant, b)
		}
	}
	var graves, listed []string
	for tenant, b := range v.Boxes() {
		if _, ok := want[tenant]; !ok && *b != (Box{Forgotten: b.Forgotten}) {
			t.Fatalf("box of %q, which has nothing: %+v", tenant, *b)
		}
		if b.Dead > 0 {
			_, exists := v.Tenant(tenant)
			graves = append(graves, (&boxed{Box: *b, gone: !exists}).grave(tenant))
		}
	}
	for key, tenant := range walk(v.graves, "") {
		if listed = append(listed, key); !strings.HasSuffix(key, tenant) {
			t.Fatalf("%q stands for tenant %q", key, tenant)
		}
	}
	if slices.Sort(graves); !slices.Equal(graves, listed) {
		t.Fatalf("listed by the bytes of dead letters: %q, want %q", listed, graves)
	}
	if v.OutboxBytes() != all || all > MaxOutbox {
		t.Fatalf("the outbox has %d bytes, want %d", v.OutboxBytes(), all)
	}
	if v.DeadBytes() != dead || dead > MaxDead {
		t.Fatalf("the dead letters have %d bytes, want %d", v.DeadBytes(), dead)
	}
	checkContent(t, v)
}
