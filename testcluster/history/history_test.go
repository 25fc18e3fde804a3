package history

import (
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"pgregory.net/rapid"
)

func TestCheckTokens(t *testing.T) {
	create := TokenOp{Token: "t", Outcome: Done, Call: 0, Return: 10}
	use := func(client string, outcome TokenOutcome, by string, call, ret int) TokenOp {
		return TokenOp{Token: "t", Client: client, Outcome: outcome, By: by, Call: ms(call), Return: ms(ret)}
	}
	create.Call, create.Return = ms(0), ms(10)
	for _, c := range []struct {
		name string
		ops  []TokenOp
		good bool
	}{
		{"used once", []TokenOp{create, use("x", Done, "", 20, 30)}, true},
		{"used twice", []TokenOp{create, use("x", Done, "", 20, 30), use("y", Done, "", 20, 30)}, false},
		{"second is told of the first", []TokenOp{create, use("x", Done, "", 20, 30), use("y", Taken, "x", 25, 40)}, true},
		{"second is told of another", []TokenOp{create, use("x", Done, "", 20, 30), use("y", Taken, "z", 25, 40)}, false},
		{"told before the first began", []TokenOp{create, use("y", Taken, "x", 20, 30), use("x", Done, "", 40, 50)}, false},
		{"lost write", []TokenOp{create, use("x", Unknown, "", 20, 30)}, false},
		{"use overlaps creation", []TokenOp{create, use("x", Unknown, "", 5, 30)}, true},
		{"unsure, but took effect", []TokenOp{create, use("x", Unsure, "", 20, 30), use("y", Taken, "x", 90, 99)}, true},
		{"unsure, and did not", []TokenOp{create, use("x", Unsure, "", 20, 30), use("y", Done, "", 90, 99)}, true},
		{"unsure cannot take effect before its call", []TokenOp{create, use("y", Taken, "x", 20, 30), use("x", Unsure, "", 40, 50)}, false},
		{"answers change", []TokenOp{create, use("x", Unsure, "", 20, 30), use("w", Unsure, "", 20, 30), use("y", Taken, "x", 90, 99), use("z", Taken, "w", 100, 110)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckTokens(c.ops); (err == nil) != c.good {
				t.Errorf("%v", err)
			}
		})
	}
}

// What one copy of the state answers, in any order of calls that overlap, is
// linearizable; a single answer that is changed is noticed where it matters.
func TestCheckTokensAcceptsOneCopy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := []TokenOp{{Token: "t", Outcome: Done, Call: ms(0), Return: ms(1)}}
		by := ""
		n := rapid.IntRange(1, 8).Draw(t, "attempts")
		for i := range n {
			effect := 10 + 10*i // when it takes effect
			o := TokenOp{
				Token: "t", Client: string(rune('a' + i)), Outcome: Done,
				Call:   ms(effect - rapid.IntRange(0, 9).Draw(t, "before")),
				Return: ms(effect + rapid.IntRange(0, 40).Draw(t, "after")),
			}
			if by != "" {
				o.Outcome, o.By = Taken, by
			} else {
				by = o.Client
			}
			if rapid.Bool().Draw(t, "answer lost") {
				o.Outcome, o.By = Unsure, ""
			}
			ops = append(ops, o)
		}
		if err := CheckTokens(ops); err != nil {
			t.Fatal(err)
		}
		ops = append(ops, TokenOp{Token: "t", Client: "z", Outcome: Done, Call: ms(500), Return: ms(510)},
			TokenOp{Token: "t", Client: "zz", Outcome: Done, Call: ms(520), Return: ms(530)})
		if CheckTokens(ops) == nil {
			t.Fatal("a token was used twice, and that was accepted")
		}
	})
}

func TestAgreement(t *testing.T) {
	lease := func(holder string, epoch, position, height uint64, hash string) map[string]Lease {
		return map[string]Lease{"net": {holder, epoch, position, height, hash}}
	}
	for _, c := range []struct {
		name  string
		views []View
		want  string // part of the fault; empty: none
	}{
		{"in order, seen out of order", []View{
			{"a", 9, lease("b", 9, 5, 5, "5"), nil}, {"b", 8, lease("a", 3, 5, 5, "5"), nil}, {"c", 9, lease("b", 9, 5, 5, "5"), nil},
		}, ""},
		{"nodes differ", []View{{"a", 9, lease("a", 3, 5, 5, "5"), nil}, {"b", 9, lease("a", 3, 5, 5, "5'"), nil}}, "log index 9"},
		{"owners differ", []View{{"a", 9, nil, map[string]string{"t": "a"}}, {"b", 9, nil, map[string]string{"t": "b"}}}, "log index 9"},
		{"epoch goes back", []View{{"a", 9, lease("a", 4, 5, 5, "5"), nil}, {"a", 10, lease("b", 3, 6, 6, "6"), nil}}, "goes back"},
		{"position goes back", []View{{"a", 9, lease("a", 4, 5, 5, "5"), nil}, {"a", 10, lease("a", 4, 4, 4, "4"), nil}}, "goes back"},
		{"two holders", []View{{"a", 9, lease("a", 4, 5, 5, "5"), nil}, {"a", 10, lease("b", 4, 6, 6, "6"), nil}}, "two holders"},
		{"head changes without an announcement", []View{{"a", 9, lease("a", 4, 5, 5, "5"), nil}, {"a", 10, lease("b", 10, 5, 5, "5'"), nil}}, "announced twice"},
		{"epoch from the future", []View{{"a", 1, lease("a", 1, 5, 5, "5"), nil}, {"a", 9, lease("a", 12, 6, 6, "6"), nil}}, "epoch 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Agreement
			for _, v := range c.views {
				a.Add(v)
			}
			faults := strings.Join(a.Check(), "\n")
			if c.want == "" && faults != "" || !strings.Contains(faults, c.want) {
				t.Errorf("faults: %q, want %q", faults, c.want)
			}
		})
	}
}

func TestCheckSequence(t *testing.T) {
	row := func(from, to, height uint64, status fsm.CoverageStatus) fsm.CoverageRow {
		return fsm.CoverageRow{FromPosition: from, ToPosition: to, FromHeight: height, ToHeight: height + to - from, Status: status}
	}
	for _, c := range []struct {
		name string
		rows []fsm.CoverageRow
		want string
	}{
		{"straight", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(6, 7, 15, fsm.Pending)}, ""},
		{"rolled back", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(6, 6, 12, fsm.RolledBack), row(7, 9, 13, fsm.Judged)}, ""},
		{"rolled back, not judged yet", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(6, 6, 12, fsm.Pending), row(7, 9, 13, fsm.Pending)}, ""},
		{"rolled back and more, not judged yet", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(6, 9, 12, fsm.Pending)}, ""},
		{"gap in positions", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(7, 9, 15, fsm.Judged)}, "position 6"},
		{"gap in heights", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(6, 9, 16, fsm.Judged)}, "does not follow"},
		{"does not begin at 1", []fsm.CoverageRow{row(2, 5, 10, fsm.Judged)}, "position 1"},
		{"rolled back upwards", []fsm.CoverageRow{row(1, 5, 10, fsm.Judged), row(6, 6, 15, fsm.RolledBack)}, "above the tip"},
		{"not wanted", []fsm.CoverageRow{{FromHeight: 1, ToHeight: 4, Status: fsm.NotWanted}}, "never announced"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := CheckSequence(c.rows)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
