package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// A refusal of the state is one whichever node is asked, with the words of the node
// that has refused.
func TestRefusalsKeepTheirMeaning(t *testing.T) {
	for _, kind := range []error{fsm.ErrNotFound, fsm.ErrConflict, fsm.ErrTooMany, consensus.ErrUncertain} {
		w := httptest.NewRecorder()
		fail(w, fmt.Errorf("tenant %q: %w", "acme", kind))
		var e remoteError
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(remoteErrors[e.Code], kind) || e.Detail != fmt.Sprintf("tenant %q: %v", "acme", kind) {
			t.Errorf("%v is told as %+v", kind, e)
		}
	}
}
