package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// What becomes of deliveries is seen, and changed, over the local socket; attempts
// are kept over a restart, without secrets.
func TestDeliveries(t *testing.T) {
	const token = "an-unguessable-token-of-the-tests"
	r := newRig(t)
	r.receiver.Config.Handler = echo{r.receiver}
	r.write("triggers/hook.json", fmt.Sprintf(`{"hook":{"name":"Hook of the tests","trigger_type":"webhook","config":{
		"url":{"type":"plain","value":%q},"secret":{"type":"plain","value":%q},"payload_mode":"raw",
		"headers":{"Authorization":%q},"retry_policy":{"max_retries":0}}}}`, r.receiver.URL+"/hook?key="+token, signingSecret, "Bearer "+token))
	r.start()
	c := client.New(r.data)
	list := func(choice api.DeliveryChoice) []api.Delivery {
		t.Helper()
		l, err := c.ListDeliveries(t.Context(), choice)
		if err != nil || len(l.Silent) > 0 {
			t.Fatalf("%+v, %v", l, err)
		}
		return l.Deliveries
	}
	awaitDeliveries := func(want int, choice api.DeliveryChoice) (got []api.Delivery) {
		t.Helper()
		eventually.Nil(t, func() error {
			if got = list(choice); len(got) != want {
				return fmt.Errorf("%+v: want %d\n%s", got, want, r.log)
			}
			return nil
		})
		return got
	}
	r.receiver.set(http.StatusBadRequest)
	first, second := r.transfer(5), r.transfer(6)
	dead := awaitDeliveries(2, api.DeliveryChoice{})
	for _, d := range dead {
		if d.Status != api.DeliveryDead || d.Monitor != "All transfers" || d.Trigger != "hook" || d.Network != "fake" || d.State != "fired" ||
			d.Attempts != 1 || d.Answered != 400 || !strings.Contains(d.Error, "400") || d.Tenant != "default" {
			t.Errorf("dead letter %+v", d)
		}
	}
	for _, tc := range []struct {
		choice api.DeliveryChoice
		want   int
	}{
		{api.DeliveryChoice{Tenant: "default", Monitor: "All transfers", Network: "fake", Trigger: "hook"}, 2},
		{api.DeliveryChoice{Limit: 1}, 1},
		{api.DeliveryChoice{Statuses: []api.DeliveryStatus{api.DeliveryPending, api.DeliverySent}}, 0},
		{api.DeliveryChoice{Since: time.Now().Add(time.Hour)}, 0},
		{api.DeliveryChoice{Until: time.Now().Add(-time.Hour)}, 0},
	} {
		if got := list(tc.choice); len(got) != tc.want {
			t.Errorf("%+v: %d deliveries, want %d", tc.choice, len(got), tc.want)
		}
	}
	if got := r.node.Status().Dead; !slices.Equal(got, []api.TenantDead{{Tenant: "default", Count: 2}}) {
		t.Errorf("dead letters by tenant: %v", got)
	}

	// One is redelivered: the same key, and the receiver takes it now.
	r.receiver.set(0)
	key := dead[0].Key
	done, err := c.ChangeDeliveries(t.Context(), "redeliver", api.DeliveryOrder{Keys: []string{key[:20]}})
	if want := (api.DeliveriesChanged{Found: 1, Dead: 1, Tenants: 1, Done: 1}); err != nil || done != want {
		t.Errorf("redelivered %+v, %v; want %+v", done, err, want)
	}
	sent := awaitDeliveries(1, api.DeliveryChoice{Statuses: []api.DeliveryStatus{api.DeliverySent}})
	if sent[0].Key != key || sent[0].Attempts != 1 || sent[0].Trigger != "hook" {
		t.Errorf("sent %+v", sent[0])
	}
	r.receiver.mu.Lock()
	if n := r.receiver.keys[key]; n != 1 {
		t.Errorf("the receiver has got the key %d times", n)
	}
	r.receiver.mu.Unlock()

	// The other one is counted, and purged.
	all := api.DeliveryOrder{Choice: &api.DeliveryChoice{Tenant: "default"}, DryRun: true}
	for range 2 {
		done, err = c.ChangeDeliveries(t.Context(), "purge", all)
		want := api.DeliveriesChanged{DryRun: all.DryRun, Found: 1, Dead: 1, Tenants: 1}
		if !all.DryRun {
			want.Done = 1
		}
		if err != nil || done != want {
			t.Errorf("purged %+v, %v; want %+v", done, err, want)
		}
		all.DryRun = false
	}
	awaitDeliveries(0, api.DeliveryChoice{})
	if got := r.receiver.count("All transfers"); got != 1 || first == second {
		t.Errorf("%d deliveries were accepted, want 1", got)
	}

	// The log of attempts is there after a restart; of what was purged too.
	r.stop()
	r.start()
	c = client.New(r.data)
	d, err := c.ShowDelivery(t.Context(), key[:12])
	if err != nil || d.Key != key || len(d.History) != 2 || d.Status != api.DeliverySent {
		t.Fatalf("%+v, %v", d, err)
	}
	for i, want := range []struct {
		outcome string
		status  int
	}{{"refused", 400}, {"sent", 200}} {
		if a := d.History[i]; a.N != i+1 || a.Round != 1 || a.Outcome != want.outcome || a.Status != want.status || a.Node != "test" || a.Destination != r.receiver.URL ||
			!strings.Contains(a.Excerpt, "you sent") {
			t.Errorf("attempt %+v, want %+v", a, want)
		}
	}
	if d, err := c.ShowDelivery(t.Context(), dead[1].Key); err != nil || d.Status != "" || len(d.History) != 1 {
		t.Errorf("purged: %+v, %v", d, err)
	}

	for _, tc := range []struct {
		err  error
		want error
		text string
	}{
		{func() error { _, err := c.ShowDelivery(t.Context(), "00ff00ff00ff"); return err }(), nil, "it is not in the outbox"},
		{func() error { _, err := c.ShowDelivery(t.Context(), "xyz"); return err }(), api.ErrBadRequest, "want the key"},
		{func() error {
			_, err := c.ListDeliveries(t.Context(), api.DeliveryChoice{Tenant: "nobody"})
			return err
		}(), nil, `tenant "nobody": not found; there is default`},
		{func() error {
			_, err := c.ListDeliveries(t.Context(), api.DeliveryChoice{Limit: -1, Statuses: []api.DeliveryStatus{"lost"}})
			return err
		}(), api.ErrBadRequest, "limit -1"},
		{func() error {
			_, err := c.ChangeDeliveries(t.Context(), "purge", api.DeliveryOrder{Keys: []string{"0011", "0022"}})
			return err
		}(), nil, "0022"},
		{func() error { _, err := c.ChangeDeliveries(t.Context(), "purge", api.DeliveryOrder{}); return err }(), api.ErrBadRequest, "want keys"},
		{func() error {
			_, err := c.ChangeDeliveries(t.Context(), "redeliver", api.DeliveryOrder{Choice: &api.DeliveryChoice{Statuses: []api.DeliveryStatus{api.DeliverySent}}})
			return err
		}(), api.ErrBadRequest, "what was accepted is not kept"},
	} {
		if tc.err == nil || tc.want != nil && !errors.Is(tc.err, tc.want) || !strings.Contains(tc.err.Error(), tc.text) {
			t.Errorf("error %v, want one that says %q", tc.err, tc.text)
		}
	}

	// Whatever the receiver sends back, no secret is in the journal.
	r.stop()
	data, err := os.ReadFile(filepath.Join(r.data, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, signingSecret} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the journal holds %q", secret)
		}
	}
	if !bytes.Contains(data, []byte("you sent")) {
		t.Error("the journal holds no excerpts")
	}
}

// echo answers with what it was sent.
type echo struct{ *receiver }

func (e echo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		e.t.Error(err)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	inner := &late{ResponseWriter: w}
	e.receiver.ServeHTTP(inner, req)
	if inner.status != 0 {
		w.WriteHeader(inner.status)
	}
	_, _ = fmt.Fprintf(w, "you sent %s %s to %s", req.Header.Get("Authorization"), signingSecret, req.URL)
}

type late struct {
	http.ResponseWriter
	status int
}

func (l *late) WriteHeader(status int) { l.status = status }
