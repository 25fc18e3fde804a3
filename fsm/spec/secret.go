package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// The types of a Secret. A document may write them in any letter case.
const (
	// SecretPlain: Value is the secret itself.
	SecretPlain = "plain"
	// SecretEnvironment: Value names an environment variable.
	SecretEnvironment = "environment"
	// SecretVault: Value names a secret of HCP Vault Secrets.
	SecretVault = "hashicorpcloudvault"
	// SecretFile: Value is the path of a file whose content, without its last
	// line end, is the secret. An extension, for the operator's folder only.
	SecretFile = "file"
	// SecretStored: Value names a secret that the tenant keeps in the cluster; see
	// IsSecretName. It is looked up when it is used, so that another value needs no
	// change of the document. An extension.
	SecretStored = "stored"
	// SecretSealed: Value is a sealed secret, as the replicated state holds it.
	// Refused in documents that users write.
	SecretSealed = "sealed"
)

// Errors of resolving a Secret.
var (
	// ErrSecretNotFound: the variable or file that a secret names is not there.
	ErrSecretNotFound = errors.New("secret not found")
	// ErrNoResolver: no resolver for this type of secret is configured.
	ErrNoResolver = errors.New("no resolver for this type of secret")
)

var secretName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// IsSecretName reports whether s may name a stored secret: 1 to 64 letters,
// digits, underscores, dots and hyphens.
func IsSecretName(s string) bool { return secretName.MatchString(s) }

// hidden is what every way of printing a Secret shows.
const hidden = "[secret]"

// Secret is a value that must not be shown, or a reference to one. Printing it
// in any way shows "[secret]"; marshalling it to JSON writes it in full.
type Secret struct {
	Type  string // one of the Secret constants
	Value string
}

// Plain makes a Secret from its value.
func Plain(value string) Secret { return Secret{Type: SecretPlain, Value: value} }

// IsZero reports whether the secret was never set.
func (s Secret) IsZero() bool { return s == Secret{} }

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// Format hides the secret for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the secret in logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

type secretWire struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// MarshalJSON writes {"type": ..., "value": ...}, the value in clear.
func (s Secret) MarshalJSON() ([]byte, error) { return Encode(secretWire(s)) }

// UnmarshalJSON reads what MarshalJSON writes, of any type.
func (s *Secret) UnmarshalJSON(data []byte) error {
	w, root := newWalk(data, newOptions([]Option{WithOrigin(OriginState)}))
	got := readSecret(root)
	if err := w.finish().Err(); err != nil {
		return err
	}
	*s = got
	return nil
}

// Resolver finds the value that a Secret stands for. Its errors must not hold
// the value.
type Resolver interface {
	Resolve(ctx context.Context, s Secret) (string, error)
}

// LocalResolver resolves plain, environment and file secrets on this machine.
// The zero value uses the process environment and the file system, and gives
// ErrNoResolver for every other type.
type LocalResolver struct {
	LookupEnv func(name string) (string, bool)  // nil: os.LookupEnv
	ReadFile  func(name string) ([]byte, error) // nil: os.ReadFile
	Next      Resolver                          // asked for the other types, like the vault's
}

// Resolve implements Resolver. A variable may be set and empty. Errors name the
// variable or file, never the value.
func (r LocalResolver) Resolve(ctx context.Context, s Secret) (string, error) {
	switch s.Type {
	case SecretPlain:
		return s.Value, nil
	case SecretEnvironment:
		lookup := r.LookupEnv
		if lookup == nil {
			lookup = os.LookupEnv
		}
		if v, ok := lookup(s.Value); ok {
			return v, nil
		}
		return "", fmt.Errorf("environment variable %q is not set: %w", s.Value, ErrSecretNotFound)
	case SecretFile:
		read := r.ReadFile
		if read == nil {
			read = os.ReadFile
		}
		b, err := read(s.Value)
		if err != nil {
			return "", fmt.Errorf("secret file %q cannot be read (%w): %w", s.Value, err, ErrSecretNotFound)
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
	}
	if r.Next != nil {
		return r.Next.Resolve(ctx, s)
	}
	switch s.Type {
	case SecretVault:
		return "", fmt.Errorf("secret %q is in HCP Vault Secrets, but no vault client is configured: use a secret of type environment or file, or configure the vault: %w",
			s.Value, ErrNoResolver)
	case SecretStored:
		return "", fmt.Errorf("secret %q is stored in the cluster, whose nodes alone can open it: use a secret of type environment or file here: %w", s.Value, ErrNoResolver)
	case SecretSealed:
		return "", fmt.Errorf("secret is sealed and can only be opened by a node of its cluster: %w", ErrNoResolver)
	default:
		return "", fmt.Errorf("secret of type %q: %w", s.Type, ErrNoResolver)
	}
}

// Redact keeps the scheme and host of an address and drops all that may hold
// a key: user, path, query. What is no address becomes "[secret]".
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return hidden
	}
	return u.Scheme + "://" + u.Host
}
