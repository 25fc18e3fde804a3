package fsm

import (
	"errors"
	"fmt"
	"strings"
)

// Source tells who says what a tenant's documents are.
type Source uint8

// The sources.
const (
	SourceFolder Source = 0 // the operator's folder
	SourceAPI    Source = 1 // whoever has a key
	SourceTables Source = 2 // tables of a PostgreSQL database that another program writes
)

// String is the source's name in messages.
func (s Source) String() string {
	switch s {
	case SourceFolder:
		return "folder"
	case SourceAPI:
		return "API"
	case SourceTables:
		return "tables"
	default:
		return fmt.Sprintf("source %d", uint8(s))
	}
}

// ErrQuota refuses what a tenant may not have so much of.
var ErrQuota = errors.New("over the tenant's quota")

// Quota bounds what a tenant of the API has, and what it may cause. What is not above
// 0 is as in DefaultQuota.
type Quota struct {
	Monitors           int   `codec:"m,omitempty"`
	Networks           int   `codec:"n,omitempty"` // private ones
	Triggers           int   `codec:"t,omitempty"`
	TriggersPerMonitor int   `codec:"p,omitempty"` // checked by whoever reads the documents; a manifest does not tell
	Bytes              int64 `codec:"b,omitempty"` // of the documents in force and what they point to
	Scripts            int   `codec:"s,omitempty"` // stored ones
	BacktestBlocks     int   `codec:"k,omitempty"` // heights of one backtest; this one holds for tenants of the folder as well

	// Rates are enforced where the work is done: what is over one waits, and nothing
	// is left out. Of these, 0 is no bound where the default has none.
	RPCPerMinute         int `codec:"r,omitempty"` // calls to the endpoints of private networks
	NotificationsPerHour int `codec:"h,omitempty"` // begun attempts at notifications, repetitions at once not counted
	EvaluationMillis     int `codec:"e,omitempty"` // of one block, in units of EvaluationsPerMilli
}

// EvaluationsPerMilli is how many evaluations of an expression are taken for a
// millisecond: they are counted, not timed, so that a block costs the same everywhere.
const EvaluationsPerMilli = 10_000

// DefaultQuota holds where an operator has said nothing else. It decides what is
// refused, so every version has the same.
var DefaultQuota = Quota{
	Monitors: 10_000, Networks: 100, Triggers: 1_000, TriggersPerMonitor: 20, Bytes: 64 << 20, Scripts: 100, BacktestBlocks: MaxBacktestBlocks,
	EvaluationMillis: 20, // no bound for the other rates
}

// OrDefault is a quota with every bound said.
func (q Quota) OrDefault() Quota {
	q.Monitors, q.Networks, q.Triggers = allowed(q.Monitors, DefaultQuota.Monitors), allowed(q.Networks, DefaultQuota.Networks), allowed(q.Triggers, DefaultQuota.Triggers)
	q.TriggersPerMonitor, q.Bytes = allowed(q.TriggersPerMonitor, DefaultQuota.TriggersPerMonitor), allowed(q.Bytes, DefaultQuota.Bytes)
	q.Scripts = allowed(q.Scripts, DefaultQuota.Scripts)
	q.RPCPerMinute = allowed(q.RPCPerMinute, DefaultQuota.RPCPerMinute)
	q.NotificationsPerHour = allowed(q.NotificationsPerHour, DefaultQuota.NotificationsPerHour)
	q.EvaluationMillis = allowed(q.EvaluationMillis, DefaultQuota.EvaluationMillis)
	q.BacktestBlocks = allowed(q.BacktestBlocks, DefaultQuota.BacktestBlocks)
	return q
}

// QuotaOf is the quota of a tenant with every bound said; of one that is not there,
// the default.
func (v *View) QuotaOf(tenant string) Quota {
	t, ok := v.Tenant(tenant)
	if !ok {
		return DefaultQuota
	}
	return t.Quota.OrDefault()
}

func allowed[N int | int64](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// Used is what a manifest's documents take of a quota; TriggersPerMonitor and
// BacktestBlocks are not told. A blob that several point to counts once.
func (v *View) Used(m *Manifest) Quota {
	return UsedBy(m, func(hash Hash) int64 {
		data, _ := v.Blob(hash)
		return int64(len(data))
	})
}

// UsedBy is Used where the sizes of blobs are known from elsewhere. Those of contents
// outside of the state the manifest tells.
func UsedBy(m *Manifest, size func(Hash) int64) Quota {
	var q Quota
	seen := make(map[Hash]bool, len(m.Docs))
	count := func(hash Hash, told int64) {
		if seen[hash] {
			return
		}
		seen[hash] = true
		if told == 0 {
			told = size(hash)
		}
		q.Bytes += told
	}
	for _, d := range m.Docs {
		switch d.Kind {
		case DocMonitor:
			q.Monitors++
		case DocNetwork:
			q.Networks++
		case DocTrigger:
			q.Triggers++
		case DocScript:
			q.Scripts++
		default:
		}
		count(d.Hash, d.size(0))
		for i, hash := range d.Refs {
			count(hash, d.size(i+1))
		}
	}
	return q
}

// Check refuses, with ErrQuota, what is used too much of, unless as much was used
// before: where a quota was lowered, a tenant may still change what it has, and have
// less.
func (q Quota) Check(used, before Quota) error {
	quota := q.OrDefault()
	var over []string
	check := func(what string, used, allowed, had int64) {
		if used > allowed && used > had {
			over = append(over, fmt.Sprintf("%d %s, allowed are %d", used, what, allowed))
		}
	}
	check("monitors", int64(used.Monitors), int64(quota.Monitors), int64(before.Monitors))
	check("networks", int64(used.Networks), int64(quota.Networks), int64(before.Networks))
	check("triggers", int64(used.Triggers), int64(quota.Triggers), int64(before.Triggers))
	check("scripts", int64(used.Scripts), int64(quota.Scripts), int64(before.Scripts))
	check("bytes of documents", used.Bytes, quota.Bytes, before.Bytes)
	if len(over) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; delete what is not needed any more, or ask the operator for more", ErrQuota, strings.Join(over, "; "))
}

// checkQuota refuses what a tenant of the API has too much of.
func (t *tx) checkQuota(next *Tenant, before *Manifest) error {
	if next.Source == SourceFolder || next.ID == Shared {
		return nil
	}
	had := Quota{}
	if before != nil {
		had = t.Used(before)
	}
	return next.Quota.Check(t.Used(next.Current.Manifest), had)
}

// SetQuota says how much a tenant of the API may have. What it has already stays.
// It is refused with ErrNotFound where the tenant does not exist, with ErrConflict
// where it is of the folder, or its quota was set since. It answers with its log
// index, the new Tenant.QuotaIndex.
type SetQuota struct {
	Tenant string `codec:"t"`
	Quota  Quota  `codec:"q"`
	Expect uint64 `codec:"e"` // Tenant.QuotaIndex as it was seen; 0 where none was set
}

// Type is TypeSetQuota.
func (*SetQuota) Type() Type { return TypeSetQuota }

func (c *SetQuota) apply(t *tx) (any, error) {
	old, ok := t.Tenant(c.Tenant)
	if !ok || c.Tenant == Shared {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	if old.Source == SourceFolder {
		return nil, fmt.Errorf("tenant %q comes from the %s, quotas hold for all others: %w", c.Tenant, old.Source, ErrConflict)
	}
	if old.QuotaIndex != c.Expect {
		return nil, fmt.Errorf("tenant %q: its quota was set at %d, %d expected: %w", c.Tenant, old.QuotaIndex, c.Expect, ErrConflict)
	}
	next := *old
	next.Quota, next.QuotaIndex = c.Quota, t.index
	put(t.edit, &t.tenants, c.Tenant, &next)
	t.touch(TopicTenants)
	return t.index, nil
}
