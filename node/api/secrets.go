package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// StoredSecrets are the secrets that tenants keep in the cluster. Their values
// go in and never come out.
type StoredSecrets interface {
	SetSecret(ctx context.Context, s Secret) error
	Secrets(ctx context.Context, tenant string) ([]SecretStatus, error)
	// DeleteSecret refuses while a document in force refers to the secret, unless
	// it is forced.
	DeleteSecret(ctx context.Context, tenant, name string, force bool) error
}

// Secret is a value for the cluster to keep.
type Secret struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Value  string `json:"value"`
}

// String hides the value.
func (s Secret) String() string { return fmt.Sprintf("[secret %s of tenant %s]", s.Name, s.Tenant) }

// Format hides the value for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// SecretStatus is a stored secret, or a name that documents refer to and that
// nothing is stored under.
type SecretStatus struct {
	Name string `json:"name"`
	// Set is when the value was stored last; zero: never.
	Set      time.Time `json:"set,omitzero"`
	Triggers []string  `json:"triggers"` // of the configuration in force, that refer to it
	Networks []string  `json:"networks"`
}

func secretRoutes(mux *http.ServeMux, op StoredSecrets) {
	mux.HandleFunc("POST /v1/secrets", func(w http.ResponseWriter, r *http.Request) {
		var s Secret
		if read(w, r, &s) {
			answer(w, struct{}{}, op.SetSecret(r.Context(), s))
		}
	})
	mux.HandleFunc("GET /v1/secrets/{tenant}", func(w http.ResponseWriter, r *http.Request) {
		list, err := op.Secrets(r.Context(), r.PathValue("tenant"))
		answer(w, list, err)
	})
	mux.HandleFunc("DELETE /v1/secrets/{tenant}/{name}", func(w http.ResponseWriter, r *http.Request) {
		force, err := strconv.ParseBool(r.URL.Query().Get("force"))
		if err != nil {
			answer(w, nil, fmt.Errorf("%w: force: want true or false", ErrBadRequest))
			return
		}
		answer(w, struct{}{}, op.DeleteSecret(r.Context(), r.PathValue("tenant"), r.PathValue("name"), force))
	})
}
