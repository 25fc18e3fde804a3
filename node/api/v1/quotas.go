package v1

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Limits are what a tenant may have at most, or has.
type Limits struct {
	Monitors           int   `json:"monitors" minimum:"0"`
	Networks           int   `json:"networks" minimum:"0" doc:"Private ones."`
	Triggers           int   `json:"triggers" minimum:"0"`
	TriggersPerMonitor int   `json:"triggers_per_monitor" minimum:"0"`
	Scripts            int   `json:"scripts" minimum:"0" doc:"Stored ones."`
	Bytes              int64 `json:"bytes" minimum:"0" doc:"Of the documents in force and the contract specifications in them."`
	BacktestBlocks     int   `json:"backtest_blocks" minimum:"0" doc:"Of one backtest."`

	RPCPerMinute         int `json:"rpc_per_minute,omitempty" minimum:"0" doc:"Calls to the endpoints of private networks; absent: no bound. What is over waits: heads are seen later."`
	NotificationsPerHour int `json:"notifications_per_hour,omitempty" minimum:"0" doc:"Absent: no bound. What is over waits in the outbox, in order."`
	EvaluationMillis     int `json:"evaluation_ms_per_block" minimum:"0" doc:"A millisecond is 10 000 evaluations. A tenant that often needs more is judged apart, after the others."`
}

// WantedLimits are what a tenant may have, as an operator says it.
type WantedLimits struct {
	Monitors           int   `json:"monitors,omitempty" minimum:"0" maximum:"1000000" doc:"Absent or 0: the default, as with all of these."`
	Networks           int   `json:"networks,omitempty" minimum:"0" maximum:"1000000"`
	Triggers           int   `json:"triggers,omitempty" minimum:"0" maximum:"1000000"`
	TriggersPerMonitor int   `json:"triggers_per_monitor,omitempty" minimum:"0" maximum:"1000000"`
	Scripts            int   `json:"scripts,omitempty" minimum:"0" maximum:"1000000"`
	Bytes              int64 `json:"bytes,omitempty" minimum:"0" maximum:"1099511627776"`
	BacktestBlocks     int   `json:"backtest_blocks,omitempty" minimum:"0" maximum:"10000000"`

	RPCPerMinute         int `json:"rpc_per_minute,omitempty" minimum:"0" maximum:"10000000" doc:"Calls to the endpoints of private networks; by default, no bound."`
	NotificationsPerHour int `json:"notifications_per_hour,omitempty" minimum:"0" maximum:"100000000" doc:"By default, no bound."`
	EvaluationMillis     int `json:"evaluation_ms_per_block,omitempty" minimum:"0" maximum:"60000" doc:"By default 20."`
}

// Usage is what a tenant has of what it may have.
type Usage struct {
	Monitors int   `json:"monitors"`
	Networks int   `json:"networks"`
	Triggers int   `json:"triggers"`
	Scripts  int   `json:"scripts"`
	Bytes    int64 `json:"bytes"`
}

// Quota is what a tenant may have, and has.
type Quota struct {
	Limits Limits       `json:"limits"`
	Own    WantedLimits `json:"own" doc:"Those of the limits that are this tenant's own, and not the default."`
	Used   Usage        `json:"used"`
}

func quotaOf(v *fsm.View, t *fsm.Tenant) Quota {
	q, used := t.Quota.OrDefault(), v.Used(t.Current.Manifest)
	return Quota{
		Own: own(t.Quota),
		Limits: Limits{
			Monitors: q.Monitors, Networks: q.Networks, Triggers: q.Triggers, TriggersPerMonitor: q.TriggersPerMonitor, Scripts: q.Scripts, Bytes: q.Bytes, BacktestBlocks: q.BacktestBlocks,
			RPCPerMinute: q.RPCPerMinute, NotificationsPerHour: q.NotificationsPerHour, EvaluationMillis: q.EvaluationMillis,
		},
		Used: Usage{used.Monitors, used.Networks, used.Triggers, used.Scripts, used.Bytes},
	}
}

// own are the limits that an operator has set.
func own(q fsm.Quota) WantedLimits {
	return WantedLimits{
		Monitors: q.Monitors, Networks: q.Networks, Triggers: q.Triggers, TriggersPerMonitor: q.TriggersPerMonitor, Scripts: q.Scripts, Bytes: q.Bytes, BacktestBlocks: q.BacktestBlocks,
		RPCPerMinute: q.RPCPerMinute, NotificationsPerHour: q.NotificationsPerHour, EvaluationMillis: q.EvaluationMillis,
	}
}

func (w *WantedLimits) quota() fsm.Quota {
	return fsm.Quota{
		Monitors: w.Monitors, Networks: w.Networks, Triggers: w.Triggers, TriggersPerMonitor: w.TriggersPerMonitor, Scripts: w.Scripts, Bytes: w.Bytes, BacktestBlocks: w.BacktestBlocks,
		RPCPerMinute: w.RPCPerMinute, NotificationsPerHour: w.NotificationsPerHour, EvaluationMillis: w.EvaluationMillis,
	}
}

// quotaTag names what an operator has set.
func quotaTag(t *fsm.Tenant) string { return strconv.FormatUint(t.QuotaIndex, 10) }

type quotaInput struct {
	TenantPath
	ReadYourWrites
	Preconditions
	Body WantedLimits
}

type quotaOutput struct {
	Index  uint64   `header:"X-Ozmo-Index"`
	Tag    string   `header:"ETag"`
	Policy []string `header:"RateLimit-Policy" doc:"How much of each there may be."`
	Left   []string `header:"RateLimit" doc:"How much of each there may be still."`
	Body   Quota
}

func newQuotaOutput(v *fsm.View, t *fsm.Tenant) *quotaOutput {
	out := &quotaOutput{Tag: quoted(quotaTag(t)), Body: quotaOf(v, t)}
	out.Policy, out.Left = documentLimits(v, t)
	return out
}

// putQuota says what a tenant may have. What it has already stays.
func (a *API) putQuota(ctx context.Context, in *quotaInput) (*quotaOutput, error) {
	v, t, err := a.caughtUp(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if t.Source != fsm.SourceAPI {
		return nil, conflictf("tenant %q comes from %s: over the API, quotas are set for tenants of the API", in.Tenant, originOf(t.Source))
	}
	if err := in.writes(quotaTag(t)); err != nil {
		return nil, err
	}
	want := in.Body.quota()
	if want != t.Quota {
		before, _ := json.Marshal(quotaOf(v, t).Limits) // plain numbers
		after, _ := json.Marshal(in.Body)
		_, err := a.audited(ctx, &fsm.SetQuota{Tenant: t.ID, Quota: want, Expect: t.QuotaIndex},
			fsm.Audit{Tenant: t.ID, Object: t.ID, Before: string(before), After: string(after)}, t.Born)
		if err != nil {
			return nil, err
		}
		v = a.backend.View()
		if t, err = tenant(ctx, v, in.Tenant); err != nil {
			return nil, err
		}
	}
	out := newQuotaOutput(v, t)
	out.Index = v.Index()
	return out, nil
}
