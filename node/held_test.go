package node_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// A delivery that was never attempted, since its destination keeps failing, says
// so, where it goes to, and how the last one failed. Names that nothing has are
// refused; those of documents, and of deliveries that are kept, are not.
func TestDeliveriesThatAreHeld(t *testing.T) {
	const token = "an-unguessable-token-of-the-tests"
	r := newRig(t)
	r.write("triggers/hook.json", fmt.Sprintf(`{"hook":{"name":"Hook of the tests","trigger_type":"webhook","config":{
		"url":{"type":"plain","value":%q},"payload_mode":"raw","retry_policy":{"max_retries":0}}}}`, r.receiver.URL+"/"+token))
	r.start()
	c := client.New(r.data)
	r.receiver.set(http.StatusTooManyRequests)
	var held api.Delivery
	for i := range 5 { // open its breaker
		r.transfer(uint64(i) + 1)
	}
	eventually.Nil(t, func() error {
		l, err := c.ListDeliveries(t.Context(), api.DeliveryChoice{})
		for _, d := range l.Deliveries {
			if d.Attempts == 0 {
				return fmt.Errorf("%+v was not attempted", d)
			}
		}
		if len(l.Deliveries) != 5 {
			err = errors.Join(err, fmt.Errorf("%d deliveries", len(l.Deliveries)))
		}
		return err
	})
	r.transfer(6)
	eventually.Nil(t, func() error {
		l, err := c.ListDeliveries(t.Context(), api.DeliveryChoice{})
		for _, d := range l.Deliveries {
			if d.Attempts == 0 && d.Held != nil {
				held = d
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("none of %d deliveries is held", len(l.Deliveries)))
	})
	d, err := c.ShowDelivery(t.Context(), held.Key)
	if err != nil || d.Destination != r.receiver.URL || d.Status != api.DeliveryPending {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, h := range []*api.DeliveryHeld{held.Held, d.Held} {
		if h == nil || !h.Until.After(time.Now().Add(-time.Second)) || !strings.Contains(h.Error, "429") || h.Failed.IsZero() || strings.Contains(h.Error, token) {
			t.Errorf("held: %+v", h)
		}
	}

	// Who makes them again is told that they wait all the same; a sample that is
	// accepted ends that.
	r.receiver.set(http.StatusOK)
	order := api.DeliveryOrder{Choice: &api.DeliveryChoice{Tenant: "default", Statuses: []api.DeliveryStatus{api.DeliveryPending}, Until: time.Now()}}
	done, err := c.ChangeDeliveries(t.Context(), "redeliver", order)
	if err != nil || done.Held != 6 || !done.HeldUntil.After(time.Now()) {
		t.Errorf("%+v, %v", done, err)
	}
	if tested, err := c.TestTrigger(t.Context(), api.TriggerTest{Tenant: "default", Trigger: "hook"}); err != nil || !tested.OK {
		t.Errorf("%+v, %v", tested, err)
	}
	if done, err = c.ChangeDeliveries(t.Context(), "redeliver", order); err != nil || done.Held != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	eventually.Nil(t, func() error {
		if n := r.node.View().OutboxLen(); n > 0 {
			return fmt.Errorf("%d deliveries still wait", n)
		}
		return nil
	})
	r.receiver.set(http.StatusBadGateway)
	r.transfer(7)
	eventually.Nil(t, func() error {
		if r.node.View().OutboxLen() == 0 {
			return errors.New("not in the outbox")
		}
		return nil
	})

	// What the folder has no more is found as long as a delivery of it is kept.
	r.receiver.set(http.StatusOK)
	for name, tc := range map[string]struct {
		choice api.DeliveryChoice
		says   string // empty: no error
	}{
		"a trigger":                  {api.DeliveryChoice{Trigger: "hook", Until: time.Now().Add(-time.Hour)}, ""},
		"a monitor":                  {api.DeliveryChoice{Monitor: "All transfers", Until: time.Now().Add(-time.Hour)}, ""},
		"a network":                  {api.DeliveryChoice{Network: "fake", Tenant: "default", Until: time.Now().Add(-time.Hour)}, ""},
		"a misspelt trigger":         {api.DeliveryChoice{Trigger: "hok"}, `no tenant has a trigger "hok", and no delivery of one is kept: not found; did you mean "hook"?`},
		"a misspelt monitor":         {api.DeliveryChoice{Tenant: "default", Monitor: "all transfer"}, `tenant "default" has no monitor "all transfer", and no delivery of one is kept: not found; did you mean "All transfers"?`},
		"a misspelt network":         {api.DeliveryChoice{Network: "base"}, `no tenant has a network "base", and no delivery of one is kept: not found; there is fake`},
		"a right and a misspelt one": {api.DeliveryChoice{Trigger: "hook", Network: "base"}, `network "base"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, listed := c.ListDeliveries(t.Context(), tc.choice)
			_, changed := c.ChangeDeliveries(t.Context(), "redeliver", api.DeliveryOrder{Choice: &tc.choice, DryRun: true})
			for _, err := range []error{listed, changed} {
				if tc.says == "" && err != nil || tc.says != "" && !strings.Contains(fmt.Sprint(err), tc.says) {
					t.Errorf("%v, want %q", err, tc.says)
				}
			}
		})
	}
	r.write("triggers/hook.json", fmt.Sprintf(`{"other":{"name":"Hook of the tests","trigger_type":"webhook","config":{
		"url":{"type":"plain","value":%q},"payload_mode":"raw"}}}`, r.receiver.URL))
	file := filepath.Join(r.config, "monitors", "all.json")
	monitor, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r.write("monitors/all.json", strings.ReplaceAll(string(monitor), `"hook"`, `"other"`))
	if _, err := r.node.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ListDeliveries(t.Context(), api.DeliveryChoice{Trigger: "hook", Until: time.Now().Add(-time.Hour)}); err != nil {
		t.Errorf("a trigger that is gone, of which deliveries are kept: %v", err)
	}
}
