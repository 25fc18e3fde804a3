package consensus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ozmo-dev/ozmo/fsm"
)

// change is one operation on the cluster's record, which is replaced only by
// who knows the version that it replaces. Names are never used twice, so a name
// stands for its version.
type change struct {
	read   bool
	expect string
	name   string
}

type outcomeOf struct {
	name    string // what was read
	refused bool
	unknown bool
}

var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		now, _ := state.(string)
		in, _ := input.(change)
		out, _ := output.(outcomeOf)
		switch {
		case in.read:
			return out.name == now, state
		case out.unknown && now == in.expect:
			return true, in.name // or never: then it stands at the end of time
		case out.unknown:
			return true, state
		case out.refused:
			return now != in.expect, state
		default:
			return now == in.expect, in.name
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// Clients on every node read and replace one record while links are cut, healed
// and the leader is killed. What they see could be the doings of one machine.
func TestHistoryIsLinearizable(t *testing.T) {
	var mu sync.Mutex
	var history []porcupine.Operation
	inBubble(t, func(t *testing.T, w *world) {
		all := w.group("a", "b", "c", "d", "e")
		leader(t, all)
		begin := time.Now()
		record := func(client int, in change, out outcomeOf, call time.Time) {
			mu.Lock()
			defer mu.Unlock()
			end := time.Since(begin)
			if out.unknown {
				end = time.Hour
			}
			history = append(history, porcupine.Operation{
				ClientId: client, Input: in, Output: out, Call: call.Sub(begin).Nanoseconds(), Return: end.Nanoseconds(),
			})
		}
		var clients sync.WaitGroup
		for client, m := range all {
			clients.Go(func() {
				for k := 0; time.Since(begin) < 15*time.Second; k++ {
					<-time.After(50*time.Millisecond + rand.N(100*time.Millisecond))
					call := time.Now()
					if m.Barrier(deadline(t, time.Second)) != nil {
						continue
					}
					seen := m.state.View().Cluster()
					record(client, change{read: true}, outcomeOf{name: seen.Name}, call)
					in := change{expect: seen.Name, name: fmt.Sprint(m.name, k)}
					call = time.Now()
					_, err := m.Propose(deadline(t, 4*time.Second), &fsm.SetCluster{Expect: seen.Index, Cluster: fsm.Cluster{Name: in.name}})
					switch {
					case errors.Is(err, ErrUncertain):
						record(client, in, outcomeOf{unknown: true}, call)
						// Porcupine wants one operation of a client at a time.
						client += len(all)
					case errors.Is(err, fsm.ErrConflict):
						record(client, in, outcomeOf{refused: true}, call)
					case errors.Is(err, ErrNoLeader): // surely not proposed
					case err != nil:
						t.Errorf("%s: %v", m.id, err)
					default:
						record(client, in, outcomeOf{}, call)
					}
				}
			})
		}
		for time.Since(begin) < 13*time.Second {
			<-time.After(time.Second + rand.N(time.Second))
			switch rand.N(3) {
			case 0: // away goes the leader
				for _, m := range all {
					if m.isLeader() {
						w.net.Isolate(m.name)
						break
					}
				}
			case 1: // two against three
				for _, m := range all[:2] {
					for _, o := range all[2:] {
						w.net.Cut(m.name, o.name)
					}
				}
			default: // one that is heard and does not hear
				w.net.CutOneWay(all[0].name, all[rand.N(4)+1].name)
			}
			<-time.After(time.Second + rand.N(time.Second))
			w.net.HealAll()
		}
		clients.Wait()
		same(t, all)
	})
	done := 0
	for _, op := range history {
		if in, ok := op.Input.(change); ok && !in.read && op.Output == (outcomeOf{}) {
			done++
		}
	}
	if done < 20 {
		t.Fatalf("only %d changes succeeded in %d operations", done, len(history))
	}
	if r := porcupine.CheckOperationsTimeout(register, history, time.Minute); r != porcupine.Ok {
		t.Fatalf("%d operations: %v", len(history), r)
	}
}
