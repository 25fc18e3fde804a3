package v1

import (
	"fmt"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// limitHeaders are the fields RateLimit-Policy and RateLimit, which say what there may
// be of something and what is left of it. Both are lists of structured fields: a name
// with q, the quota, and w, its window in seconds; and with r, what remains, and t,
// the seconds until there is more. What is of documents has no window.
type limitHeaders struct{ policy, left []string }

func (l *limitHeaders) documents(name string, used, allowed int64) {
	l.policy = append(l.policy, fmt.Sprintf("%q;q=%d", name, allowed))
	l.left = append(l.left, fmt.Sprintf("%q;r=%d", name, max(0, allowed-used)))
}

func (l *limitHeaders) rate(name string, r *RateNow, now time.Time) {
	if r == nil {
		return
	}
	l.policy = append(l.policy, fmt.Sprintf("%q;q=%d;w=%d", name, r.Limit, r.Window))
	left := fmt.Sprintf("%q;r=%d", name, r.Left)
	if !r.Again.IsZero() {
		left += fmt.Sprintf(";t=%d", max(0, seconds(r.Again.Sub(now))))
	}
	l.left = append(l.left, left)
}

// lines are those of the headers, beside what the API says of requests.
func (l *limitHeaders) lines() (policy, left []string) {
	if len(l.policy) == 0 {
		return nil, nil
	}
	return []string{strings.Join(l.policy, ", ")}, []string{strings.Join(l.left, ", ")}
}

// documentLimits are those of a tenant's documents; none where quotas do not hold.
func documentLimits(v *fsm.View, t *fsm.Tenant) (policy, left []string) {
	if t.Source != fsm.SourceAPI || t.ID == fsm.Shared {
		return nil, nil
	}
	q, used := t.Quota.OrDefault(), v.Used(t.Current.Manifest)
	var l limitHeaders
	l.documents("monitors", int64(used.Monitors), int64(q.Monitors))
	l.documents("networks", int64(used.Networks), int64(q.Networks))
	l.documents("triggers", int64(used.Triggers), int64(q.Triggers))
	l.documents("scripts", int64(used.Scripts), int64(q.Scripts))
	l.documents("bytes", used.Bytes, q.Bytes)
	return l.lines()
}
