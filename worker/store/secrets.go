package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Opener gives secrets back in clear.
type Opener interface {
	// OpenAll opens, in place, the sealed secrets of a tenant's document.
	OpenAll(tenant string, secrets []*spec.Secret) error
	// OpenStored opens a secret that the tenant keeps under a name.
	OpenStored(tenant, name, sealed string) (string, error)
}

// ErrNoSecret: a document names a stored secret that is not there. It may be set
// at any time.
var ErrNoSecret = errors.New("no such stored secret")

// Stored is which values of stored secrets a document was opened with: by name,
// the log index at which the value was set, 0 where there was none.
type Stored map[string]uint64

// Fresh reports whether these are still the values.
func (s Stored) Fresh(v *fsm.View, tenant string) bool {
	for name, index := range s {
		if indexOf(v, tenant, name) != index {
			return false
		}
	}
	return true
}

func indexOf(v *fsm.View, tenant, name string) uint64 {
	if secret, ok := v.Secret(tenant, name); ok {
		return secret.Index
	}
	return 0
}

// OpenSecrets makes the secrets of a tenant's document plain in place: those that
// are sealed in it, and those that it names. Stored is told also with an error,
// which wraps ErrNoSecret where a name has no value.
func OpenSecrets(v *fsm.View, tenant string, list []*spec.Secret, opener Opener) (Stored, error) {
	names := StoredNames(list)
	if len(names) == 0 {
		return nil, opener.OpenAll(tenant, list)
	}
	stored := Stored{}
	for _, name := range names {
		stored[name] = indexOf(v, tenant, name)
	}
	own := slices.DeleteFunc(slices.Clone(list), func(s *spec.Secret) bool { return s.Type == spec.SecretStored })
	if err := opener.OpenAll(tenant, own); err != nil {
		return stored, err
	}
	for _, s := range list {
		if s.Type != spec.SecretStored {
			continue
		}
		secret, ok := v.Secret(tenant, s.Value)
		if !ok {
			return stored, fmt.Errorf("%w: tenant %q has none named %q: set it with `ozmo secret set %s %s`", ErrNoSecret, tenant, s.Value, tenant, s.Value)
		}
		value, err := opener.OpenStored(tenant, s.Value, string(secret.Sealed))
		if err != nil {
			return stored, fmt.Errorf("stored secret %q: %w", s.Value, err)
		}
		*s = spec.Plain(value)
	}
	return stored, nil
}

// StoredNames are the names of the stored secrets among some, each once, sorted.
func StoredNames(list []*spec.Secret) []string {
	var names []string
	for _, s := range list {
		if s.Type == spec.SecretStored {
			names = append(names, s.Value)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// SecretUse is what of a configuration refers to a stored secret.
type SecretUse struct{ Triggers, Networks []string } // ids and slugs, sorted

// SecretUses finds what of a tenant's configuration in force refers to stored
// secrets, by the secret's name.
func SecretUses(v *fsm.View, t *fsm.Tenant) (map[string]*SecretUse, error) {
	out := map[string]*SecretUse{}
	use := func(list []*spec.Secret, note func(*SecretUse)) {
		for _, name := range StoredNames(list) {
			if out[name] == nil {
				out[name] = &SecretUse{}
			}
			note(out[name])
		}
	}
	for _, d := range t.Current.Manifest.Docs {
		switch d.Kind {
		case fsm.DocTrigger:
			doc, err := Trigger(v, d)
			if err != nil {
				return nil, err
			}
			use(doc.Secrets(), func(u *SecretUse) { u.Triggers = append(u.Triggers, d.ID) })
		case fsm.DocNetwork:
			doc, err := Network(v, d)
			if err != nil {
				return nil, err
			}
			use(doc.Secrets(), func(u *SecretUse) { u.Networks = append(u.Networks, d.ID) })
		}
	}
	for _, u := range out {
		slices.Sort(u.Triggers)
		slices.Sort(u.Networks)
	}
	return out, nil
}
