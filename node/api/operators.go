package api

import (
	"context"
	"net/http"
	"time"
)

// Certificates makes operators. It is offered on the local socket alone: with a
// certificate nobody makes another one.
type Certificates interface {
	// IssueOperator signs what an operator asks for.
	IssueOperator(ctx context.Context, r OperatorRequest) (OperatorCertificate, error)
}

// OperatorRequest asks for an operator's certificate. The key stays with who asks.
type OperatorRequest struct {
	Name    string        `json:"name"`
	Valid   time.Duration `json:"valid_ns"`
	Request []byte        `json:"request"` // PKCS #10, PEM
}

// OperatorCertificate is what makes an operator, together with the key.
type OperatorCertificate struct {
	Cluster string            `json:"cluster"`
	CA      []byte            `json:"ca"`   // PEM
	Cert    []byte            `json:"cert"` // PEM
	Peers   map[string]string `json:"peers"`
}

// Paths that the cluster port treats on its own.
const (
	PathOperators = "/v1/operators"
	PathTokens    = "/v1/tokens"
	PathPing      = "/v1/ping" // answers, and does nothing
)

func operatorRoutes(mux *http.ServeMux, op Certificates) {
	mux.HandleFunc("GET "+PathPing, func(w http.ResponseWriter, _ *http.Request) { answer(w, struct{}{}, nil) })
	mux.HandleFunc("POST "+PathOperators, func(w http.ResponseWriter, r *http.Request) {
		var o OperatorRequest
		if read(w, r, &o) {
			c, err := op.IssueOperator(r.Context(), o)
			answer(w, c, err)
		}
	})
}
