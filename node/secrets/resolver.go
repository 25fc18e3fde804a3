package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// maxFile is the length of the longest secret file, in bytes.
const maxFile = 64 << 10

// vaultVariables are what a client of HCP Vault Secrets needs.
var vaultVariables = []string{"HCP_CLIENT_ID", "HCP_CLIENT_SECRET", "HCP_ORG_ID", "HCP_PROJECT_ID", "HCP_APP_NAME"}

// Resolver resolves the references of documents from the operator's folder, on
// the importing node: environment variables, and files of that folder. It
// implements spec.Resolver. Documents that tenants send must never reach it.
type Resolver struct {
	root *os.Root
	env  func(name string) (string, bool)
}

// NewResolver makes a Resolver for a folder. lookupEnv nil means the process
// environment. Close it when done.
func NewResolver(folder string, lookupEnv func(name string) (string, bool)) (*Resolver, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("folder of secret files: %w", err)
	}
	if lookupEnv == nil {
		lookupEnv = os.LookupEnv
	}
	return &Resolver{root: root, env: lookupEnv}, nil
}

// Close lets go of the folder.
func (r *Resolver) Close() error { return r.root.Close() }

// Resolve implements spec.Resolver. Errors name the variable or file, and wrap
// spec.ErrSecretNotFound or spec.ErrNoResolver.
func (r *Resolver) Resolve(ctx context.Context, s spec.Secret) (string, error) {
	if s.Type == spec.SecretVault {
		return "", r.vaultError(s.Value)
	}
	return spec.LocalResolver{LookupEnv: r.env, ReadFile: r.readFile}.Resolve(ctx, s)
}

// readFile reads a file of the folder, and nothing outside it: neither by a
// path that climbs nor through a symbolic link.
func (r *Resolver) readFile(name string) ([]byte, error) {
	folder := r.root.Name()
	if abs, err := filepath.Abs(folder); err == nil {
		folder = abs
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("secret files lie in the configuration folder, %s (--config), and are named relative to it", folder)
	}
	info, err := r.root.Stat(name) // first, since opening a pipe would wait for its writer
	if err != nil {
		return nil, fmt.Errorf("in the configuration folder, %s (--config): %w", folder, err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := r.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("longer than %d KiB", maxFile>>10)
	}
	return data, nil
}

// vaultError says what is known about the vault's configuration, so that the
// operator sees at once whether it was meant to work.
func (r *Resolver) vaultError(name string) error {
	var missing []string
	for _, v := range vaultVariables {
		if value, ok := r.env(v); !ok || value == "" {
			missing = append(missing, v)
		}
	}
	state := "all of which are set"
	if len(missing) > 0 {
		state = "of which " + strings.Join(missing, ", ") + " are not set"
	}
	return fmt.Errorf("secret %q is in HCP Vault Secrets, which this release cannot read (it would use %s, %s): use a secret of type environment or file: %w",
		name, strings.Join(vaultVariables, ", "), state, spec.ErrNoResolver)
}
