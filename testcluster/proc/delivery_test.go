package proc

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// TestSoakDelivery has one node deliver to a farm twice: first all receivers are
// healthy, then three in ten are not. Of what is owed nothing may be lost, and
// nothing may come under two keys; what healthy tenants notice of the others is
// printed.
//
// OZMO_DELIVERY_ALERTS says how many alerts, OZMO_DELIVERY_TENANTS of how many
// tenants, OZMO_DELIVERY_RATE how many a second; OZMO_DELIVERY_KILLS kills the
// node so many times while the faults last.
func TestSoakDelivery(t *testing.T) {
	alerts := int(setting(t, "OZMO_DELIVERY_ALERTS", 1500))
	tenants := int(setting(t, "OZMO_DELIVERY_TENANTS", uint64(min(100, max(20, alerts/100))))) //nolint:gosec // not negative
	rate := int(setting(t, "OZMO_DELIVERY_RATE", 500))
	kills := int(setting(t, "OZMO_DELIVERY_KILLS", 0))
	// Long enough for the faults to end before, and no longer than that.
	schedule := retries(time.Second, max(2*time.Second, time.Duration(alerts/rate)*time.Second/8), 20)
	var plain, faulty tally
	t.Run("healthy", func(t *testing.T) {
		plain = soakDelivery(t, customers(tenants, false), schedule, alerts, rate, 0)
	})
	t.Run("faulty", func(t *testing.T) {
		faulty = soakDelivery(t, customers(tenants, true), schedule, alerts, rate, kills)
	})
	if t.Failed() || len(plain.latencies) == 0 || len(faulty.latencies) == 0 {
		return // or only one of the two was run
	}
	before, after := farm.Quantile(plain.latencies, 0.99), farm.Quantile(faulty.latencies, 0.99)
	fmt.Printf("soak-delivery: healthy tenants' p99 %v without and %v with faulty receivers of others: ratio %.2f (target <= 2)\n",
		ms(before), ms(after), after.Seconds()/before.Seconds())
}

// retries is a schedule whose pauses grow up to a limit.
func retries(first, most time.Duration, times int) (out []string) {
	for pause := first; len(out) < times; pause = min(2*pause, most) {
		out = append(out, pause.Round(time.Second).String())
	}
	return out
}

// customers are tenants of whom three in ten have a receiver that is at fault.
// Those who are not are told in the same ways in either case.
func customers(n int, faulty bool) []customer {
	faults := []farm.Fault{
		{Kind: farm.Refused},
		{Kind: farm.Reset},
		{Kind: farm.TooMany, After: 2 * time.Second},
		{Kind: farm.Broken},
		{Kind: farm.Gone},
		{Kind: farm.Loris},
		{Kind: farm.BadTLS},
		{Kind: farm.Garbage},
		{Kind: farm.Hang},
		{Kind: farm.Broken},
	}
	out := make([]customer, n)
	next := 0
	for i := range out {
		c := customer{name: fmt.Sprintf("t%03d", i), way: rawHook}
		switch i % 10 {
		case 3:
			c.way = textHook
		case 5:
			c.mode = "instant"
		}
		if i%20 == 8 {
			c.way = byMail
		}
		if unsteady(i) {
			f := faults[next%len(faults)]
			switch {
			case f.Kind == farm.BadTLS:
				c.way = secureHook
			case next%len(faults) == len(faults)-1:
				c.way = byMail
			}
			if next++; faulty {
				c.fault = f
			}
		}
		out[i] = c
	}
	return out
}

// unsteady tells which tenants have a receiver that is at fault in a faulty run.
func unsteady(i int) bool { return i%10 == 1 || i%10 == 4 || i%10 == 7 }

func soakDelivery(t *testing.T, list []customer, schedule []string, alerts, rate, kills int) tally {
	t.Helper()
	began := time.Now()
	d := newDeliveryRun(t, ClusterOptions{Nodes: 1}, list, schedule)
	d.breakReceivers(t)
	// As many alerts a block as are due in a block's time, one of each tenant at
	// least.
	perBlock := max(1, rate/4/len(list))
	blocks := (alerts + perBlock*len(list) - 1) / (perBlock * len(list))
	every := time.Duration(float64(time.Second) * float64(perBlock*len(list)) / float64(rate))
	name := fmt.Sprintf("soak-delivery: %d tenants, %d blocks of %d alerts, one every %v", len(list), blocks, perBlock*len(list), every.Round(time.Millisecond))
	d.produce(blocks, perBlock, every, killing(t, d, kills, blocks))
	Eventually(t, "the node's start", d.cluster.Members[0].Started)
	// Somebody who is down for long must not make others wait: those are served
	// before anything heals.
	d.awaitJudged(t, Patience)
	s, err := d.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiting := s.Outbox
	d.heal(t)
	healed := time.Now()
	d.awaitEmpty(t, Patience+time.Duration(alerts)*10*time.Millisecond)
	r := d.count(t, func(i int) bool { return !unsteady(i) })
	r.check(t)
	fmt.Printf("%s\n", name)
	if waiting > 0 {
		fmt.Printf("soak-delivery: %d deliveries waited for receivers at fault; %v after these were healed none did\n", waiting, time.Since(healed).Round(100*time.Millisecond))
	}
	fmt.Printf("soak-delivery: %v\nsoak-delivery: %s\n", r, r.latency())
	if kills > 0 {
		fmt.Printf("soak-delivery: the node was killed %d times\n", kills)
	}
	d.cluster.Terminate(t)
	fmt.Printf("soak-delivery: took %v in all\n\n", time.Since(began).Round(100*time.Millisecond))
	return r
}

// killing ends the node with SIGKILL before random blocks, and starts it again.
func killing(t *testing.T, d *deliveryRun, kills, blocks int) func(block int) {
	t.Helper()
	m := d.cluster.Members[0]
	at := map[int]bool{}
	for _, i := range rand.Perm(blocks)[:min(kills, blocks)] {
		at[i] = true
	}
	return func(block int) {
		if at[block] {
			m.Kill()
			m.Start(t)
		}
	}
}
