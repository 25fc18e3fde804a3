package history

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Join tokens are what clients can see of the replicated state with nothing but
// linearizable operations: creating one is a write, and using one is a
// conditional write that answers, when it comes too late, who came first. Both
// go through the log, whichever node is asked. (Reading the status does not: it
// tells what one node has applied.)

// TokenOutcome is what became of an attempt.
type TokenOutcome uint8

// The outcomes.
const (
	Unsure  TokenOutcome = iota // an error that leaves open whether it took effect
	Done                        // it took effect
	Taken                       // the token had been used, by the one in By
	Unknown                     // there is no such token
)

// String is the outcome in lower case.
func (o TokenOutcome) String() string {
	return [...]string{"unsure", "done", "taken", "unknown"}[o]
}

// TokenOp is one operation on one token.
type TokenOp struct {
	Token   string // its id
	Client  string // who uses it; empty: it is created. Each attempt has a name of its own.
	Outcome TokenOutcome
	By      string // with Taken: who had used it
	Call    time.Duration
	Return  time.Duration // not looked at when the outcome is Unsure
}

// String tells the operation.
func (o TokenOp) String() string {
	what := "create"
	if o.Client != "" {
		what = "use by " + o.Client
	}
	if o.Outcome == Taken {
		return fmt.Sprintf("%s: %s: taken by %s", o.Token, what, o.By)
	}
	return fmt.Sprintf("%s: %s: %v", o.Token, what, o.Outcome)
}

// tokenState is the model's state of one token.
type tokenState struct {
	made bool
	by   string // who has used it
}

var tokenModel = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		var order []string
		parts := map[string][]porcupine.Operation{}
		for _, o := range all {
			id := o.Input.(TokenOp).Token
			if parts[id] == nil {
				order = append(order, id)
			}
			parts[id] = append(parts[id], o)
		}
		out := make([][]porcupine.Operation, len(order))
		for i, id := range order {
			out[i] = parts[id]
		}
		return out
	},
	Init: func() any { return tokenState{} },
	Step: func(state, input, _ any) (bool, any) {
		return stepToken(state.(tokenState), input.(TokenOp))
	},
	DescribeOperation: func(input, _ any) string { return input.(TokenOp).String() },
}

// stepToken is what one token does. An attempt whose outcome is not known may
// have had any.
func stepToken(s tokenState, o TokenOp) (bool, tokenState) {
	if o.Client == "" {
		return !s.made, tokenState{made: true}
	}
	next := s
	if s.made && s.by == "" {
		next.by = o.Client
	}
	switch o.Outcome {
	case Done:
		return s.made && s.by == "", next
	case Taken:
		return s.made && s.by == o.By && s.by != "", s
	case Unknown:
		return !s.made, s
	default:
		return true, next
	}
}

// ErrNotLinearizable says which tokens' histories no single copy of the state
// could have given.
type ErrNotLinearizable struct{ Tokens map[string][]TokenOp }

// Error lists the histories.
func (e *ErrNotLinearizable) Error() string {
	text := fmt.Sprintf("%d tokens have histories that are not linearizable:", len(e.Tokens))
	for id, ops := range e.Tokens {
		text += "\n  " + id
		for _, o := range ops {
			text += fmt.Sprintf("\n    [%v, %v] %v", o.Call, o.Return, o)
		}
	}
	return text
}

// CheckTokens checks that the operations are linearizable.
func CheckTokens(ops []TokenOp) error {
	failed := &ErrNotLinearizable{Tokens: map[string][]TokenOp{}}
	byToken := map[string][]TokenOp{}
	for _, o := range ops {
		byToken[o.Token] = append(byToken[o.Token], o)
	}
	for id, list := range byToken {
		if !porcupine.CheckOperations(tokenModel, operations(list)) {
			failed.Tokens[id] = list
		}
	}
	if len(failed.Tokens) > 0 {
		return failed
	}
	return nil
}

func operations(list []TokenOp) []porcupine.Operation {
	out := make([]porcupine.Operation, len(list))
	for i, o := range list {
		out[i] = porcupine.Operation{ClientId: i, Input: o, Call: int64(o.Call), Return: int64(o.Return)}
		if o.Outcome == Unsure {
			out[i].Return = math.MaxInt64 // it may take effect at any time from its call on
		}
	}
	return out
}

// Recorder collects operations of many clients.
type Recorder struct {
	start time.Time

	mu  sync.Mutex
	ops []TokenOp
}

// NewRecorder starts the clock of a history.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Begin is the time of a call.
func (r *Recorder) Begin() time.Duration { return time.Since(r.start) }

// End records an operation that began then and has ended now.
func (r *Recorder) End(call time.Duration, o TokenOp) {
	o.Call, o.Return = call, time.Since(r.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, o)
}

// Operations is what was recorded so far.
func (r *Recorder) Operations() []TokenOp {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops)
}
