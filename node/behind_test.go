package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// A tenant judged apart that falls further and further behind is passed over in time,
// again and again, and the network never waits for it.
func TestPassOverKeepsRoom(t *testing.T) {
	const ahead = 16
	l := newLate(t)
	for block := range 40 * ahead {
		for _, c := range planPassOver(l.state.View(), ahead, time.Now()) {
			if c.Tenant != "noisy" || c.Network != "net" {
				t.Fatalf("%+v", c)
			}
			l.do(c)
			l.advance(l.noisy, l.network().Next-1) // nothing is judged there
		}
		n := l.network()
		if room, slowest := roomOf(l.state.View(), n, ahead); room == 0 {
			t.Fatalf("block %d: no room, for cohort %s at %d of %d", block, slowest.Cohort, slowest.Position, n.Next-1)
		}
		l.announce(1)
		l.advance(l.quiet, l.network().Next-1)
		if block%8 == 0 { // an eighth of what it would take
			cursor, _ := l.state.View().Cursor("net", l.noisy.ID)
			l.advance(l.noisy, cursor.Position+1)
		}
	}
	v := l.state.View()
	status := map[fsm.CoverageStatus]uint64{}
	noisy, _ := v.Tenant("noisy")
	for _, row := range v.Coverage(noisy, "net", 0, 0) {
		status[row.Status] += row.ToPosition - row.FromPosition + 1
	}
	if status[fsm.Behind] == 0 || status[fsm.Judged] == 0 || status[fsm.Behind]+status[fsm.Judged]+status[fsm.Pending] != 40*ahead {
		t.Errorf("coverage %v of %d announcements", status, 40*ahead)
	}
	quiet, _ := v.Tenant("quiet")
	if rows := v.Coverage(quiet, "net", 0, 0); len(rows) != 1 || rows[0].Status != fsm.Judged {
		t.Errorf("something is left out for another tenant: %+v", rows)
	}
	if p := behindProblems(v, ahead); len(p) != 1 || !strings.Contains(p[0], "ozmo coverage show noisy net") {
		t.Errorf("problems %q", p)
	}
}

// Nobody is passed over who holds up nobody else, or is judged with others.
func TestPassOverNobody(t *testing.T) {
	l := newLate(t)
	l.announce(100)
	l.advance(l.noisy, 100)
	if list := planPassOver(l.state.View(), 16, time.Now()); len(list) > 0 {
		t.Errorf("%+v of tenants judged together", list[0])
	}
	if p := behindProblems(l.state.View(), 16); len(p) != 1 || !strings.Contains(p[0], "network net waits for 1 tenant of node n1: 100 announcements behind") {
		t.Errorf("problems %q", p)
	}
	l.advance(l.quiet, 100)
	l.do(&fsm.SetTenantVersion{Tenant: "quiet", Expect: 1, Manifest: fsm.Manifest{}})
	l.announce(100)
	if list := planPassOver(l.state.View(), 16, time.Now()); len(list) > 0 {
		t.Errorf("%+v of the only tenant that wants the network", list[0])
	}
	if p := behindProblems(l.state.View(), 16); len(p) != 1 || !strings.Contains(p[0], "waits for tenant noisy, judged apart, of node n1") {
		t.Errorf("problems %q", p)
	}
}

// A network that stands still tells since when, why, and in the log for whom.
func TestPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newLate(t)
		w := &watching{pressure: pressure{log: slog.New(slog.NewTextHandler(&log, nil))}}
		look := func() (string, time.Duration) {
			n := l.network()
			room, slowest := roomOf(l.state.View(), n, 4)
			w.pressure.note(l.state.View(), n, room, slowest)
			reason, since := w.held(nil)
			if reason == "" {
				return "", 0
			}
			return reason, time.Since(since)
		}
		if reason, _ := look(); reason != "" {
			t.Errorf("held for %q", reason)
		}
		l.announce(4)
		l.advance(l.noisy, 4)
		look()
		<-time.After(time.Second)
		if reason, lasting := look(); reason != heldByJudging || lasting != time.Second || log.Len() > 0 {
			t.Errorf("held for %q, %v; log %s", reason, lasting, log.String())
		}
		<-time.After(pressureGrace)
		look()
		if !strings.Contains(log.String(), "1 tenant of node n1") {
			t.Errorf("log %s", log.String())
		}
		l.advance(l.quiet, 4)
		if reason, _ := look(); reason != "" || !strings.Contains(log.String(), "the network goes on") {
			t.Errorf("held for %q; log %s", reason, log.String())
		}
		for range 4 {
			l.announce(4)
			l.advance(l.quiet, l.network().Next-1)
		}
		look()
		<-time.After(pressureGrace)
		if reason, _ := look(); reason != heldBySlow || !strings.Contains(log.String(), "tenant noisy, judged apart, of node n1") {
			t.Errorf("held for %q; log %s", reason, log.String())
		}
		quota := &gate{over: time.Now().Add(-time.Hour)}
		if reason, since := w.held(quota); reason != heldByQuota || time.Since(since) != time.Hour {
			t.Errorf("held for %q since %v: the longer trouble counts", reason, since)
		}
	})
}
