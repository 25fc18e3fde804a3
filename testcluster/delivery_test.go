package testcluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// lateness is, for what a subscriber was told, how long each delivery came after
// the block that made it due.
func (d *delivering) lateness(s subscriber) (out []time.Duration) {
	c, source := d.chain(), d.chains[slug]
	for _, got := range d.of(s) {
		for _, ref := range c.Refs() {
			if ref.Hash.String() != got.Block {
				continue
			}
			if due := c.At(ref.Height + confirmations); due != nil {
				source.mu.Lock()
				out = append(out, got.At.Sub(source.made[due.Hash]))
				source.mu.Unlock()
			}
		}
	}
	return out
}

// punctual fails the test unless a subscriber was told of everything in time.
func (d *delivering) punctual(t *testing.T, s subscriber, limit time.Duration) {
	t.Helper()
	list := d.lateness(s)
	worst := farm.Quantile(list, 1)
	t.Logf("%s: %d deliveries, worst %v after the block", s.name, len(list), worst)
	if len(list) == 0 || worst > limit {
		t.Errorf("%s: of %d deliveries one came %v after its block, want at most %v", s.name, len(list), worst, limit)
	}
}

// complete fails the test unless each subscriber believes in the end what the
// chain says, under one key each.
func (d *delivering) complete(t *testing.T) {
	t.Helper()
	for i, s := range d.tenants {
		errs := d.compare(i, s.mode, d.of(s))
		for _, err := range errs[:min(len(errs), maxErrors)] {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// one is a cluster of one node: hours of virtual time cost little.
func one() Options { return Options{Nodes: 1, Voters: 1} }

// A receiver that answers 500 for an hour gets everything afterwards, as the
// schedule of Standard Webhooks has it, also when the node is killed meanwhile;
// nobody else notices.
func TestDeliveryErrorsForAnHour(t *testing.T) {
	broken, healthy := subscriber{name: "broken"}, subscriber{name: "healthy"}
	runDelivering(t, one(), []subscriber{broken, healthy}, func(t *testing.T, d *delivering) {
		d.fault(broken, farm.Fault{Kind: farm.Broken})
		began := time.Now()
		d.grow(10)
		d.Sleep(20 * time.Minute)
		m := d.Members()[0]
		m.Kill()
		m.Restart()
		m.AwaitReady()
		d.Sleep(time.Hour - time.Since(began))
		if n := len(d.of(broken)); n > 0 {
			t.Fatalf("%d deliveries were taken by who answers 500", n)
		}
		attempts := d.farm.Attempts(broken.name)
		d.fault(broken, farm.Fault{})
		d.Sleep(90 * time.Minute) // the next attempt comes after two hours and more
		d.awaitSettled(2 * time.Hour)
		t.Logf("everything is delivered %v after the first block", time.Since(began))
		d.complete(t)
		if n := d.deadLetters(); n > 0 {
			t.Errorf("%d dead letters", n)
		}
		d.punctual(t, healthy, time.Second)
		for key, a := range attempts {
			// At once, after 5 s, 5 min and 30 min; one more after the kill.
			if a.Times > 5 {
				t.Errorf("%s was attempted %d times within an hour", key, a.Times)
			}
		}
		if len(attempts) == 0 {
			t.Error("nothing was attempted")
		}
		d.checkNames()
	})
}

// Whoever is told to come back later comes later, and not much.
func TestDeliveryRetryAfter(t *testing.T) {
	busy, healthy := subscriber{name: "busy"}, subscriber{name: "healthy"}
	runDelivering(t, one(), []subscriber{busy, healthy}, func(t *testing.T, d *delivering) {
		const wait = 40 * time.Minute
		d.fault(busy, farm.Fault{Kind: farm.TooMany, After: wait})
		began := time.Now()
		d.grow(10)
		d.Sleep(time.Minute)
		d.fault(busy, farm.Fault{}) // which nobody knows before it is time
		d.Sleep(wait - 2*time.Minute)
		d.awaitSettled(wait)
		took := time.Since(began)
		if took < wait || took > wait+wait/2 {
			t.Errorf("everything was delivered after %v, to be later by %v", took, wait)
		}
		d.complete(t)
		if d.checkNames() > 0 {
			t.Error("there are duplicates")
		}
		if len(d.of(busy)) != len(d.of(healthy)) {
			t.Errorf("%d deliveries to the one, %d to the other", len(d.of(busy)), len(d.of(healthy)))
		}
		if d.farm.Hasty() > 0 || d.deadLetters() > 0 {
			t.Errorf("%d attempts came too early, %d dead letters", d.farm.Hasty(), d.deadLetters())
		}
		d.punctual(t, healthy, time.Second)
	})
}

// Who answers 410 is asked once for each delivery, which is a dead letter then.
func TestDeliveryGone(t *testing.T) {
	gone, healthy := subscriber{name: "gone"}, subscriber{name: "healthy"}
	runDelivering(t, one(), []subscriber{gone, healthy}, func(t *testing.T, d *delivering) {
		d.fault(gone, farm.Fault{Kind: farm.Gone})
		d.grow(10)
		d.awaitSettled(settleWithin)
		owed := len(d.of(healthy))
		if dead := d.deadLetters(); dead != owed || owed == 0 {
			t.Errorf("%d dead letters, %d were owed", dead, owed)
		}
		for letter := range d.View().DeadLetters() {
			if letter.Tenant != TenantName(0) || letter.Reason == "" {
				t.Errorf("dead letter %+v", letter)
			}
		}
		for key, a := range d.farm.Attempts(gone.name) {
			if a.Times != 1 {
				t.Errorf("%s was attempted %d times", key, a.Times)
			}
		}
		d.checkNames()
		d.punctual(t, healthy, time.Second)
	})
}

// Receivers that do all sorts of things wrong for a while, slow-loris among them,
// lose nothing and delay nobody else, though a node dies meanwhile.
func TestDeliveryFaults(t *testing.T) {
	more := doc{"retry_schedule": []string{"1s", "5s", "15s", "30s", "30s", "30s", "30s", "30s", "30s", "30s"}}
	faults := []farm.Fault{
		{Kind: farm.Refused},
		{Kind: farm.Reset},
		{Kind: farm.TooMany, After: 20 * time.Second},
		{Kind: farm.Broken},
		{Kind: farm.Loris},
		{Kind: farm.Garbage},
		{Kind: farm.Hang},
		{Kind: farm.Slow, After: 3 * time.Second},
	}
	var tenants []subscriber
	for _, f := range faults {
		tenants = append(tenants, subscriber{name: f.Kind.String(), more: more})
	}
	for i := range 4 {
		tenants = append(tenants, subscriber{name: fmt.Sprintf("healthy-%d", i)})
	}
	test := func(t *testing.T, kill bool) {
		runDelivering(t, Options{}, tenants, func(t *testing.T, d *delivering) {
			for i, f := range faults {
				d.fault(tenants[i], f)
			}
			d.grow(60)
			if kill {
				m := d.owner("slow-loris")
				m.Kill()
				d.grow(20)
				m.Restart()
				m.AwaitReady()
			}
			d.Sleep(30 * time.Second)
			for i := range faults {
				d.fault(tenants[i], farm.Fault{})
			}
			d.awaitSettled(10 * time.Minute)
			d.complete(t)
			duplicates := d.checkNames()
			t.Logf("%d duplicates", duplicates)
			if n := d.deadLetters(); n > 0 || d.farm.Hasty() > 0 {
				t.Errorf("%d dead letters, %d attempts before a Retry-After was over", n, d.farm.Hasty())
			}
			if kill {
				return
			}
			if duplicates > 0 {
				t.Error("there are duplicates, though nobody died")
			}
			for _, s := range tenants[len(faults):] {
				d.punctual(t, s, time.Second)
			}
		})
	}
	t.Run("alone", func(t *testing.T) { test(t, false) })
	t.Run("while a node dies", func(t *testing.T) { test(t, true) })
}
