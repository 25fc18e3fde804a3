package v1

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Consumption is what a tenant has caused in a time.
type Consumption struct {
	RPCCalls       float64 `json:"rpc_calls" doc:"Calls to endpoints: all of private networks, and its part of shared ones, which those that want a network bear alike."`
	Blocks         uint64  `json:"blocks" doc:"Announcements that were judged for it."`
	Evaluation     float64 `json:"evaluation_ms" doc:"Time that judging took of it, in milliseconds."`
	Matches        uint64  `json:"matches"`
	Sent           uint64  `json:"notifications_sent" doc:"That were accepted."`
	Failed         uint64  `json:"notifications_failed" doc:"Attempts that were not accepted."`
	Held           uint64  `json:"notifications_held" doc:"That had to wait for the quota."`
	BytesDelivered uint64  `json:"bytes_delivered" doc:"Sent with attempts."`
}

// Plus adds up.
func (c Consumption) Plus(o Consumption) Consumption {
	c.RPCCalls += o.RPCCalls
	c.Blocks += o.Blocks
	c.Evaluation += o.Evaluation
	c.Matches += o.Matches
	c.Sent += o.Sent
	c.Failed += o.Failed
	c.Held += o.Held
	c.BytesDelivered += o.BytesDelivered
	return c
}

// UsagePoint is what was caused in an hour or a day.
type UsagePoint struct {
	At time.Time `json:"at" doc:"Beginning of the hour or day, UTC."`
	Consumption
}

// Stored is what a tenant has in the cluster's memory now, in bytes.
type Stored struct {
	Documents   int64 `json:"documents"`
	Outbox      int64 `json:"outbox" doc:"Deliveries still to be made."`
	DeadLetters int64 `json:"dead_letters"`
}

// RateNow is what a tenant has left of a quota over time. It is not there where the
// tenant has no such quota.
type RateNow struct {
	Limit  int       `json:"limit"`
	Window int       `json:"window_seconds"`
	Left   int       `json:"left" doc:"That may be had at once."`
	Again  time.Time `json:"again,omitzero" doc:"When there is something left again."`
}

// TenantUsage is what a tenant has caused, and has now.
type TenantUsage struct {
	Tenant        string       `json:"tenant"`
	From          time.Time    `json:"from"`
	To            time.Time    `json:"to"`
	By            string       `json:"by" enum:"hour,day"`
	Items         []UsagePoint `json:"items" nullable:"false" doc:"The oldest first; hours and days without anything are left out."`
	Total         Consumption  `json:"total"`
	Stored        Stored       `json:"bytes_stored"`
	Notifications *RateNow     `json:"notifications,omitempty"`
	RPC           *RateNow     `json:"rpc,omitempty"`
	Missing       int          `json:"missing_nodes" doc:"Nodes that could not be asked: what happened on them is not in here."`
	Silent        []string     `json:"silent,omitempty" doc:"Their names, for operators."`
}

// TenantTotal is what one of all tenants has caused.
type TenantTotal struct {
	Tenant string `json:"tenant"`
	Consumption
}

// UsagePage is what tenants have caused, those that caused most first.
type UsagePage struct {
	Page[TenantTotal]
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Silent []string  `json:"silent" nullable:"false" doc:"Nodes that could not be asked: what happened on them is not in here."`
}

// UsageReport is what a node knows of a tenant's usage.
type UsageReport struct {
	Hours         map[time.Time]Consumption
	Silent        []string // nodes that could not be asked
	Notifications *RateNow
	RPC           *RateNow
}

// Period is a stretch of time.
type Period struct {
	From time.Time `query:"from" doc:"Beginning, rounded down to the hour; absent: a day before the end."`
	To   time.Time `query:"to" doc:"End, rounded up to the hour; absent: now."`
}

// maxPeriod is how long a period may be: usage is kept no longer.
const maxPeriod = 92 * 24 * time.Hour

// hours is the period in whole hours.
func (p Period) hours(now time.Time) (from, to time.Time, err error) {
	to = p.To.UTC()
	if p.To.IsZero() {
		to = now.UTC()
	}
	from = p.From.UTC()
	if p.From.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	if whole := to.Truncate(time.Hour); whole.Before(to) {
		to = whole.Add(time.Hour)
	}
	from = from.Truncate(time.Hour)
	switch {
	case from.Year() < 1970 || to.Year() > 9000:
		err = fmt.Errorf("expected times between 1970 and 9000")
	case !from.Before(to):
		err = fmt.Errorf("expected a time before the end, %s", to.Format(time.RFC3339))
	case to.Sub(from) > maxPeriod+2*time.Hour:
		err = fmt.Errorf("expected at most %d days before the end, %s", int(maxPeriod.Hours()/24), to.Format(time.RFC3339))
	}
	if err != nil {
		err = huma.NewError(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: "query.from", Message: err.Error()})
	}
	return from, to, err
}

type usageInput struct {
	TenantPath
	Period
	ReadYourWrites
	By string `query:"by" enum:"hour,day" default:"hour"`
}

type usageOutput struct {
	Policy []string `header:"RateLimit-Policy" doc:"The tenant's quotas over time."`
	Left   []string `header:"RateLimit" doc:"What is left of them."`
	Body   TenantUsage
}

type allUsageInput struct {
	Period
	Paging
	ReadYourWrites
	Sort string `query:"sort" enum:"rpc_calls,blocks,evaluation_ms,matches,notifications_sent,notifications_failed,notifications_held,bytes_delivered" default:"evaluation_ms" doc:"What those come first with that have most of it."`
}

type allUsageOutput struct{ Body UsagePage }

func (a *API) usageRoutes() {
	register(a, "usage.get", a.usage)
	register(a, "clusterusage.list", a.allUsage)
}

func (a *API) usage(ctx context.Context, in *usageInput) (*usageOutput, error) {
	v := a.backend.View()
	t, err := tenant(ctx, v, in.Tenant)
	if err != nil {
		return nil, err
	}
	from, to, err := in.hours(a.now())
	if err != nil {
		return nil, err
	}
	r, err := a.backend.Usage(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	box := v.Box(t.ID)
	out := &usageOutput{Body: TenantUsage{
		Tenant: t.ID, From: from, To: to, By: in.By, Items: points(r.Hours, in.By),
		Stored:        Stored{Documents: v.Used(t.Current.Manifest).Bytes, Outbox: box.Bytes, DeadLetters: box.DeadBytes},
		Notifications: r.Notifications, RPC: r.RPC, Missing: len(r.Silent),
	}}
	for _, p := range out.Body.Items {
		out.Body.Total = out.Body.Total.Plus(p.Consumption)
	}
	if actorOf(ctx).Role == fsm.RoleOperator {
		out.Body.Silent = r.Silent
	}
	var limits limitHeaders
	limits.rate("notifications", r.Notifications, a.now())
	limits.rate("rpc", r.RPC, a.now())
	out.Policy, out.Left = limits.lines()
	return out, nil
}

// points are what was caused, in order, by hour or day.
func points(hours map[time.Time]Consumption, by string) []UsagePoint {
	width := time.Hour
	if by == "day" {
		width = 24 * time.Hour
	}
	sums := map[time.Time]Consumption{}
	for at, c := range hours {
		if c != (Consumption{}) {
			at = at.UTC().Truncate(width)
			sums[at] = sums[at].Plus(c)
		}
	}
	out := []UsagePoint{}
	for _, at := range slices.SortedFunc(maps.Keys(sums), time.Time.Compare) {
		out = append(out, UsagePoint{at, sums[at]})
	}
	return out
}

// measures are what tenants may be sorted by.
var measures = map[string]func(Consumption) float64{
	"rpc_calls":            func(c Consumption) float64 { return c.RPCCalls },
	"blocks":               func(c Consumption) float64 { return float64(c.Blocks) },
	"evaluation_ms":        func(c Consumption) float64 { return c.Evaluation },
	"matches":              func(c Consumption) float64 { return float64(c.Matches) },
	"notifications_sent":   func(c Consumption) float64 { return float64(c.Sent) },
	"notifications_failed": func(c Consumption) float64 { return float64(c.Failed) },
	"notifications_held":   func(c Consumption) float64 { return float64(c.Held) },
	"bytes_delivered":      func(c Consumption) float64 { return float64(c.BytesDelivered) },
}

// rank is where a tenant stands among all.
type rank struct {
	value  float64
	tenant string
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(o.value, r.value), cmp.Compare(r.tenant, o.tenant))
}

// readRank reads where the page before ended, which was sorted the same way.
func readRank(text, sort string) (rank, error) {
	by, text, _ := strings.Cut(text, " ")
	value, tenant, ok := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(value, 64)
	if !ok || err != nil || by != sort {
		return rank{}, badCursor()
	}
	return rank{n, tenant}, nil
}

func (a *API) allUsage(ctx context.Context, in *allUsageInput) (*allUsageOutput, error) {
	text, err := in.after()
	if err != nil {
		return nil, err
	}
	var last rank
	if text != "" {
		if last, err = readRank(text, in.Sort); err != nil {
			return nil, err
		}
	}
	from, to, err := in.hours(a.now())
	if err != nil {
		return nil, err
	}
	all, silent, err := a.backend.UsageOfAll(ctx, from, to)
	if err != nil {
		return nil, err
	}
	measure := measures[in.Sort]
	ranked := make([]rank, 0, len(all))
	for id, c := range all {
		if r := (rank{measure(c), id}); text == "" || last.compare(r) < 0 {
			ranked = append(ranked, r)
		}
	}
	slices.SortFunc(ranked, rank.compare)
	out := &allUsageOutput{Body: UsagePage{Page: Page[TenantTotal]{Items: []TenantTotal{}}, From: from, To: to, Silent: append([]string{}, silent...)}}
	if len(ranked) > in.Limit {
		ranked = ranked[:in.Limit]
		end := ranked[in.Limit-1]
		out.Body.Next = in.Sort + " " + strconv.FormatFloat(end.value, 'g', -1, 64) + " " + end.tenant
	}
	for _, r := range ranked {
		out.Body.Items = append(out.Body.Items, TenantTotal{r.tenant, all[r.tenant]})
	}
	return out, nil
}
