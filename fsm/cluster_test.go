package fsm

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClusterRecord(t *testing.T) {
	p := &pausing{T: t, State: New()}
	if c := p.View().Cluster(); !cmp.Equal(c, Cluster{}) {
		t.Errorf("record %+v", c)
	}
	first := Cluster{Name: "prod", CA: []byte("pem"), CAKey: []byte("key"), Keys: [][]byte{[]byte("one")}}
	p.refused(&SetCluster{Expect: 1, Cluster: first}, ErrConflict)
	index := p.do(&SetCluster{Cluster: first})
	first.Index = p.index
	if got := p.View().Cluster(); !cmp.Equal(got, first) || index != p.index {
		t.Errorf("record %+v, answered %v", got, index)
	}
	p.refused(&SetCluster{Cluster: first}, ErrConflict)
	second := first
	second.Keys = [][]byte{[]byte("two"), []byte("one")}
	p.do(&SetCluster{Expect: first.Index, Cluster: second})
	if got := p.View().Cluster(); len(got.Keys) != 2 || got.Index != p.index {
		t.Errorf("record %+v", got)
	}
}

// A token admits once, in its time, whoever knows its secret.
func TestTokens(t *testing.T) {
	p := &pausing{T: t, State: New()}
	secret, wrong := HashBlob([]byte("secret")), HashBlob([]byte("wrong"))
	p.do(&PutToken{ID: "one", Hash: secret, Expires: 100, At: 10})
	p.do(&PutToken{ID: "two", Hash: secret, Expires: 200, At: 10})
	p.refused(&UseToken{ID: "none", Hash: secret, Node: "b", At: 20}, ErrTokenUnknown)
	p.refused(&UseToken{ID: "one", Hash: wrong, Node: "b", At: 20}, ErrTokenUnknown)
	p.refused(&UseToken{ID: "one", Hash: secret, Node: "b", At: 100}, ErrTokenExpired)
	p.do(&UseToken{ID: "one", Hash: secret, Node: "b", At: 99})
	p.refused(&UseToken{ID: "one", Hash: secret, Node: "b", At: 99}, ErrTokenUsed)
	p.refused(&UseToken{ID: "one", Hash: secret, Node: "c", At: 150}, ErrTokenUsed)
	p.refused(&PutToken{ID: "one", Hash: wrong, Expires: 300, At: 20}, ErrConflict)
	p.do(&PutToken{ID: "one", Hash: secret, Expires: 300, At: 20}) // proposed again: it stays used
	p.refused(&UseToken{ID: "one", Hash: secret, Node: "c", At: 99}, ErrTokenUsed)

	// The node whose answer was lost comes with the same request.
	request, other := HashBlob([]byte("request")), HashBlob([]byte("another"))
	p.do(&PutToken{ID: "lost", Hash: secret, Expires: 90, At: 10})
	p.do(&UseToken{ID: "lost", Hash: secret, Node: "b", Request: request, At: 20})
	used := slices.Collect(p.View().Tokens())
	p.do(&UseToken{ID: "lost", Hash: secret, Node: "b", Request: request, At: 89})
	if again := slices.Collect(p.View().Tokens()); !slices.Equal(used, again) {
		t.Errorf("tokens %+v, were %+v", again, used)
	}
	p.refused(&UseToken{ID: "lost", Hash: secret, Node: "b", Request: request, At: 90}, ErrTokenExpired)
	p.refused(&UseToken{ID: "lost", Hash: secret, Node: "c", Request: request, At: 30}, ErrTokenUsed)
	p.refused(&UseToken{ID: "lost", Hash: secret, Node: "b", Request: other, At: 30}, ErrTokenUsed)
	p.refused(&UseToken{ID: "lost", Hash: wrong, Node: "b", Request: request, At: 30}, ErrTokenUnknown)

	tokens := func() (ids []string) {
		for token := range p.View().Tokens() {
			ids = append(ids, token.ID)
		}
		return ids
	}
	p.do(&PutToken{ID: "three", Hash: secret, Expires: 400, At: 100})
	if got := tokens(); !slices.Equal(got, []string{"one", "three", "two"}) {
		t.Errorf("tokens %v", got)
	}
	p.do(&PutToken{ID: "four", Hash: secret, Expires: 400, At: 101})
	if got := tokens(); !slices.Equal(got, []string{"four", "three", "two"}) {
		t.Errorf("tokens %v", got)
	}
	p.refused(&UseToken{ID: "one", Hash: secret, Node: "c", At: 150}, ErrTokenUnknown)
}
