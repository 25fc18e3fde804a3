package secrets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

func TestResolver(t *testing.T) {
	parent := t.TempDir()
	folder := filepath.Join(parent, "config")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(parent, "outside"), "not yours")
	write(filepath.Join(folder, "secrets/token"), "s3cret\n")
	write(filepath.Join(folder, "secrets/huge"), strings.Repeat("x", maxFile+1))
	for link, target := range map[string]string{"inside": "secrets/token", "escape": "../outside", "absolute": filepath.Join(parent, "outside")} {
		if err := os.Symlink(target, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"TOKEN": "from env", "EMPTY": "", "HCP_CLIENT_ID": "id"}
	r, err := NewResolver(folder, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	for _, tc := range []struct {
		typ, value, want string
		err              error
	}{
		{spec.SecretPlain, "itself", "itself", nil},
		{spec.SecretEnvironment, "TOKEN", "from env", nil},
		{spec.SecretEnvironment, "EMPTY", "", nil},
		{spec.SecretEnvironment, "MISSING", "", spec.ErrSecretNotFound},
		{spec.SecretFile, "secrets/token", "s3cret", nil},
		{spec.SecretFile, "inside", "s3cret", nil},
		{spec.SecretFile, "secrets/none", "", spec.ErrSecretNotFound},
		{spec.SecretFile, "secrets", "", spec.ErrSecretNotFound},
		{spec.SecretFile, "secrets/huge", "", spec.ErrSecretNotFound},
		{spec.SecretFile, "../outside", "", spec.ErrSecretNotFound},
		{spec.SecretFile, "escape", "", spec.ErrSecretNotFound},
		{spec.SecretFile, "absolute", "", spec.ErrSecretNotFound},
		{spec.SecretFile, filepath.Join(parent, "outside"), "", spec.ErrSecretNotFound},
		{spec.SecretFile, filepath.Join(folder, "secrets/token"), "", spec.ErrSecretNotFound},
		{spec.SecretVault, "api_key", "", spec.ErrNoResolver},
		{spec.SecretSealed, "v1.x.y", "", spec.ErrNoResolver},
	} {
		t.Run(tc.typ+" "+tc.value, func(t *testing.T) {
			got, err := r.Resolve(t.Context(), spec.Secret{Type: tc.typ, Value: tc.value})
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("Resolve = %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
			if tc.typ == spec.SecretFile && errors.Is(err, spec.ErrSecretNotFound) && tc.value != "secrets" && tc.value != "secrets/huge" &&
				!strings.Contains(err.Error(), "the configuration folder, "+folder+" (--config)") {
				t.Errorf("the error does not say in which folder: %v", err)
			}
			if tc.typ == spec.SecretVault && err != nil {
				if text := err.Error(); !strings.Contains(text, "api_key") || !strings.Contains(text, "HCP_CLIENT_SECRET, HCP_ORG_ID, HCP_PROJECT_ID, HCP_APP_NAME are not set") {
					t.Errorf("the error does not say what is missing: %s", text)
				}
			}
		})
	}
}
