package v1

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// AlertFilter says which alerts are wanted.
type AlertFilter struct {
	Monitor     string `query:"monitor" maxLength:"256" doc:"Id or name."`
	Network     string `query:"network" maxLength:"256" doc:"Slug."`
	State       string `query:"state" enum:"fired,confirmed,retracted,reinstated,replayed" doc:"Absent: all."`
	Transaction string `query:"transaction" maxLength:"128" doc:"Hash."`
}

func (f *AlertFilter) choice() api.AlertChoice {
	return api.AlertChoice{Monitor: f.Monitor, Network: f.Network, State: f.State, Transaction: f.Transaction}
}

type alertsInput struct {
	TenantPath
	Paging
	ReadYourWrites
	AlertFilter
	Since time.Time `query:"since" doc:"When it fired: from here on."`
	Until time.Time `query:"until" doc:"And up to here."`
}

// AlertPage is a part of the list of alerts.
type AlertPage struct {
	Items  []api.Alert `json:"items" nullable:"false"`
	Next   string      `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one."`
	Silent []string    `json:"silent" nullable:"false" doc:"Nodes that could not be asked: what only their journals have is missing."`
}

type alertsOutput struct{ Body AlertPage }

type alertInput struct {
	TenantPath
	ReadYourWrites
	ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^[0-9a-f]*$" doc:"Id of the alert."`
}

// OneAlert is an alert with all that is known of it.
type OneAlert struct {
	api.Alert
	Silent []string `json:"silent" nullable:"false" doc:"Nodes that could not be asked: what only their journals have is missing."`
}

type alertOutput struct{ Body OneAlert }

func (a *API) alertRoutes() {
	register(a, "alert.list", a.listAlerts)
	register(a, "alert.get", func(ctx context.Context, in *alertInput) (*alertOutput, error) {
		t, err := tenant(ctx, a.backend.View(), in.Tenant)
		if err != nil {
			return nil, err
		}
		found, silent, err := a.backend.Alert(ctx, t, in.ID)
		if err != nil {
			return nil, err
		}
		return &alertOutput{Body: OneAlert{Alert: found, Silent: orEmpty(silent)}}, nil
	})
	register(a, "alert.stream", a.streamAlerts)
}

func orEmpty(list []string) []string { return append([]string{}, list...) }

func (a *API) listAlerts(ctx context.Context, in *alertsInput) (*alertsOutput, error) {
	text, err := in.after()
	if err != nil {
		return nil, err
	}
	q := api.AlertQuery{AlertChoice: in.choice(), Since: in.Since, Until: in.Until, Limit: in.Limit}
	if text != "" {
		from, err := readPlace(text)
		if err != nil {
			return nil, err
		}
		q.Before = &api.AlertPlace{At: from.at, ID: from.key}
	}
	if !in.Since.IsZero() && !in.Until.IsZero() && in.Until.Before(in.Since) {
		return nil, invalid("query.until", "expected a time that is not before since")
	}
	t, err := tenant(ctx, a.backend.View(), in.Tenant)
	if err != nil {
		return nil, err
	}
	list, err := a.backend.Alerts(ctx, t, q)
	if err != nil {
		return nil, err
	}
	out := &alertsOutput{Body: AlertPage{Items: append([]api.Alert{}, list.Alerts...), Silent: orEmpty(list.Silent)}}
	if list.Next != nil {
		out.Body.Next = fmt.Sprintf("%d %s", list.Next.At, list.Next.ID)
	}
	return out, nil
}

// readEventID reads what the last event of a stream came with: up to when all was
// told, in Unix milliseconds.
func readEventID(location, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || at <= 0 {
		return time.Time{}, invalid(location, "is no id of an event: leave it out, or send the id that came last")
	}
	return time.UnixMilli(at), nil
}
