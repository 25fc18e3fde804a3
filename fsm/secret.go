package fsm

import (
	"fmt"
	"iter"
)

// Secret is a value that a tenant's documents refer to by name. It is sealed.
type Secret struct {
	Tenant string `codec:"t"`
	Name   string `codec:"n"`
	Sealed []byte `codec:"s"`
	Index  uint64 `codec:"i"` // log index at which it was put: another one, another value
	At     int64  `codec:"a"` // Unix milliseconds
}

// Bounds of one tenant's secrets.
const (
	MaxSecrets     = 1000
	MaxSecretBytes = 4 << 20 // of Secret.Name and Secret.Sealed
)

func (s *Secret) size() int { return len(s.Name) + len(s.Sealed) }

func secretKey(tenant, name string) string { return join(tenant, name) }

// Secret finds a tenant's secret.
func (v *View) Secret(tenant, name string) (*Secret, bool) {
	return get(v.secrets, secretKey(tenant, name))
}

// SecretsOf yields a tenant's secrets by name.
func (v *View) SecretsOf(tenant string) iter.Seq[*Secret] { return below(v.secrets, join(tenant, "")) }

// PutSecret stores a tenant's secret, in place of one of the same name. It is
// refused with ErrNotFound where the tenant does not exist, with ErrTooMany where
// the tenant's secrets would be more than MaxSecrets or MaxSecretBytes. It answers
// with the secret's Index.
type PutSecret struct {
	Tenant string `codec:"t"`
	Name   string `codec:"n"`
	Sealed []byte `codec:"s"`
	At     int64  `codec:"a"`
}

// Type is TypePutSecret.
func (*PutSecret) Type() Type { return TypePutSecret }

func (c *PutSecret) apply(t *tx) (any, error) {
	if _, ok := t.Tenant(c.Tenant); !ok {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	next := &Secret{Tenant: c.Tenant, Name: c.Name, Sealed: c.Sealed, Index: t.index, At: c.At}
	count, size := 1, next.size()
	for s := range t.SecretsOf(c.Tenant) {
		if s.Name != c.Name {
			count++
			size += s.size()
		}
	}
	if count > MaxSecrets {
		return nil, fmt.Errorf("tenant %q: %w secrets: a tenant may have %d; delete one that is not needed any more", c.Tenant, ErrTooMany, MaxSecrets)
	}
	if size > MaxSecretBytes {
		return nil, fmt.Errorf("tenant %q: %w bytes of secrets: a tenant's may have %d MiB in all, sealed; delete one that is not needed any more, or store a shorter one",
			c.Tenant, ErrTooMany, MaxSecretBytes>>20)
	}
	put(t.edit, &t.secrets, secretKey(c.Tenant, c.Name), next)
	t.touch(TopicSecrets)
	return t.index, nil
}

// DropSecret forgets a tenant's secret. It is refused with ErrNotFound where there
// is none.
type DropSecret struct {
	Tenant string `codec:"t"`
	Name   string `codec:"n"`
}

// Type is TypeDropSecret.
func (*DropSecret) Type() Type { return TypeDropSecret }

func (c *DropSecret) apply(t *tx) (any, error) {
	if _, ok := t.Secret(c.Tenant, c.Name); !ok {
		return nil, fmt.Errorf("tenant %q, secret %q: %w", c.Tenant, c.Name, ErrNotFound)
	}
	del(t.edit, &t.secrets, secretKey(c.Tenant, c.Name))
	t.touch(TopicSecrets)
	return nil, nil
}

// dropSecrets forgets the secrets of a tenant that is gone.
func (t *tx) dropSecrets(tenant string) {
	var gone []string
	for key := range walk(t.secrets, join(tenant, "")) {
		gone = append(gone, key)
	}
	for _, key := range gone {
		del(t.edit, &t.secrets, key)
	}
	if len(gone) > 0 {
		t.touch(TopicSecrets)
	}
}
