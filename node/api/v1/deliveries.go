package v1

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

type deliveriesInput struct {
	TenantPath
	Paging
	ReadYourWrites
	State   string `query:"state" enum:"pending,dead" doc:"Absent: both."`
	Trigger string `query:"trigger" maxLength:"128"`
	Monitor string `query:"monitor" maxLength:"256" doc:"Id or name."`
	Network string `query:"network" maxLength:"128"`
}

type deliveryInput struct {
	TenantPath
	ReadYourWrites
	Key string `path:"key" minLength:"32" maxLength:"32" pattern:"^[0-9a-f]*$" doc:"Key of the delivery."`
}

type deliveryOutput struct{ Body api.DeliveryDetail }

func (a *API) deliveryRoutes() {
	register(a, "delivery.list", a.listDeliveries)
	register(a, "delivery.get", func(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
		t, err := tenant(ctx, a.backend.View(), in.Tenant)
		if err != nil {
			return nil, err
		}
		d, err := a.backend.Delivery(t, in.Key)
		if err != nil {
			return nil, err
		}
		return &deliveryOutput{Body: d}, nil
	})
	register(a, "delivery.redeliver", func(ctx context.Context, in *deliveryInput) (*done, error) {
		return a.changeDelivery(ctx, in, func(t *fsm.Tenant) (fsm.Command, error) {
			c := &fsm.Redeliver{Tenant: t.ID, Keys: []string{in.Key}, At: a.now().UnixMilli()}
			return c, a.backend.MayRedeliver(t, in.Key)
		})
	})
	register(a, "delivery.purge", func(ctx context.Context, in *deliveryInput) (*done, error) {
		return a.changeDelivery(ctx, in, func(t *fsm.Tenant) (fsm.Command, error) {
			return &fsm.Purge{Tenant: t.ID, Keys: []string{in.Key}}, nil
		})
	})
}

// place is where a delivery stands in the list: the newest come first.
type place struct {
	at  int64 // Unix milliseconds
	key string
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(o.at, p.at), cmp.Compare(p.key, o.key))
}

func placeOf(d *api.Delivery) place { return place{d.At.UnixMilli(), d.Key} }

func readPlace(text string) (place, error) {
	at, key, ok := strings.Cut(text, " ")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil {
		return place{}, badCursor()
	}
	return place{n, key}, nil
}

func (a *API) listDeliveries(ctx context.Context, in *deliveriesInput) (*pageOutput[api.Delivery], error) {
	text, err := in.after()
	if err != nil {
		return nil, err
	}
	t, err := tenant(ctx, a.backend.View(), in.Tenant)
	if err != nil {
		return nil, err
	}
	choice := api.DeliveryChoice{Tenant: t.ID, Trigger: in.Trigger, Monitor: in.Monitor, Network: in.Network}
	if in.State != "" {
		choice.Statuses = []api.DeliveryStatus{api.DeliveryStatus(in.State)}
	}
	var from place
	if text != "" {
		if from, err = readPlace(text); err != nil {
			return nil, err
		}
		choice.Until = time.UnixMilli(from.at)
	}
	list := a.backend.Deliveries(t, choice)
	slices.SortFunc(list, func(x, y api.Delivery) int { return placeOf(&x).compare(placeOf(&y)) })
	if text != "" {
		list = slices.DeleteFunc(list, func(d api.Delivery) bool { return placeOf(&d).compare(from) <= 0 })
	}
	out := &pageOutput[api.Delivery]{Body: Page[api.Delivery]{Items: []api.Delivery{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		last := placeOf(&list[in.Limit-1])
		out.Body.Next = fmt.Sprintf("%d %s", last.at, last.key)
	}
	out.Body.Items = append(out.Body.Items, list...)
	return out, nil
}

// changeDelivery changes one that is there.
func (a *API) changeDelivery(ctx context.Context, in *deliveryInput, command func(*fsm.Tenant) (fsm.Command, error)) (*done, error) {
	_, t, err := a.caughtUp(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := a.backend.Delivery(t, in.Key); err != nil {
		return nil, err
	}
	c, err := command(t)
	if err != nil {
		return nil, err
	}
	changed, err := a.audited(ctx, c, fsm.Audit{Tenant: t.ID, Object: in.Key}, t.Born)
	if err != nil {
		return nil, err
	}
	if n, _ := changed.(int); n == 0 {
		return nil, conflictf("delivery %s is as it was: it has changed meanwhile, the outbox has no room for it, or its content is not kept", in.Key)
	}
	return a.done(), nil
}
