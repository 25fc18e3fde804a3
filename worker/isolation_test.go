package worker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// What a tenant is told does not depend on which others there are, nor on what they
// do: random tenants are judged together, and each once more without the others.
func TestIsolation(t *testing.T) {
	told := 0
	rapid.Check(t, func(rt *rapid.T) {
		list := slices.DeleteFunc(schedules(rt, false), func(a action) bool {
			return !slices.Contains([]string{"extend", "reorg", "depth", "tenant", "delete", "pass"}, a.kind)
		})
		together := toldBy(t, list)
		for _, tenant := range []string{"acme", "beta"} {
			alone := toldBy(t, slices.DeleteFunc(slices.Clone(list), func(a action) bool { return a.tenant != "" && a.tenant != tenant }))
			if !slices.Equal(together[tenant], alone[tenant]) {
				rt.Fatalf("%s is told, with others there, %q, and alone %q", tenant, together[tenant], alone[tenant])
			}
			if len(alone) > 2 { // the keeper of the networks is there as well
				rt.Fatalf("alone with %d others", len(alone)-2)
			}
			told += len(alone[tenant])
		}
	})
	if told == 0 {
		t.Error("nobody was told anything")
	}
}

// toldBy plays a schedule, and lists what each tenant was told.
func toldBy(t *testing.T, list []action) map[string][]string {
	out := map[string][]string{}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.setShared("net", 2)
		w.setShared("other", 1)
		w.setTenant("keeper", simple("net", "other")) // the networks are followed all the time
		p := w.start(-1)
		synctest.Wait()
		for _, a := range list {
			p = w.play(a, p)
			synctest.Wait()
		}
		pass(time.Minute)
		for _, s := range w.deliveries() {
			out[s.Tenant] = append(out[s.Tenant], fmt.Sprint(s.Key, s.Monitor, s.Trigger, s.Block, s.Position, s.Version, s.Alert, s.State))
		}
		for _, told := range out {
			slices.Sort(told)
		}
		_ = p.stop()
	})
	return out
}
