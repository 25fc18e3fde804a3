package fsm

import (
	"fmt"
	"iter"
)

// Role is what a key lets its bearer do; a greater one includes the lesser.
type Role uint8

// The roles. What each may do, the API says.
const (
	RoleViewer   Role = 1
	RoleMember   Role = 2
	RoleAdmin    Role = 3
	RoleOwner    Role = 4
	RoleOperator Role = 5 // of the cluster, not of a tenant
)

var keyRoles = []string{RoleViewer: "viewer", RoleMember: "member", RoleAdmin: "admin", RoleOwner: "owner", RoleOperator: "operator"}

// String is what ParseRole reads.
func (r Role) String() string {
	if r == 0 || int(r) >= len(keyRoles) {
		return fmt.Sprintf("role %d", uint8(r))
	}
	return keyRoles[r]
}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	for r := RoleViewer; r <= RoleOperator; r++ {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %q is none of viewer, member, admin, owner, operator", s)
}

// Key is an API key. Its secret is known to its bearer alone.
type Key struct {
	ID      string `codec:"i"`
	Hash    Hash   `codec:"h"`           // SHA-256 of its secret
	Tenant  string `codec:"t,omitempty"` // empty: an operator's, of the whole cluster
	Born    uint64 `codec:"b,omitempty"` // that of the tenant, given by the log
	Role    Role   `codec:"r"`
	Name    string `codec:"n,omitempty"` // for people; cut off after MaxLabel
	Expires int64  `codec:"e,omitempty"` // Unix milliseconds; 0: never
	By      string `codec:"y,omitempty"` // who made it; cut off after MaxLabel
	At      int64  `codec:"a"`           // when it was made, Unix milliseconds
	Index   uint64 `codec:"x"`           // log index at which it was put, given by the log
}

// Expired reports whether a key's time was over at a time, in Unix milliseconds.
func (k *Key) Expired(at int64) bool { return k.Expires != 0 && k.Expires <= at }

// Bounds of keys.
const (
	MaxKeys  = 100 // of a tenant, and of operators
	MaxLabel = 256 // bytes of a text that names something or somebody
)

// Key finds a key, expired or not. One of a tenant that was deleted is none, whoever
// has the name by now.
func (v *View) Key(id string) (*Key, bool) {
	k, ok := get(v.keys, id)
	if !ok || !v.holds(k) {
		return nil, false
	}
	return k, true
}

// KeysOf yields a tenant's keys by id; those of operators for an empty name.
func (v *View) KeysOf(tenant string) iter.Seq[*Key] {
	return func(yield func(*Key) bool) {
		for k := range below(v.ownKeys, join(tenant, "")) {
			if v.holds(k) && !yield(k) {
				return
			}
		}
	}
}

// holds reports whether a key is of the tenant that has the name now, or of an operator.
func (v *View) holds(k *Key) bool {
	if k.Tenant == "" {
		return true
	}
	t, ok := v.Tenant(k.Tenant)
	return ok && t.Born == k.Born
}

// PutKey makes a key. It is refused with ErrNotFound where the tenant does not
// exist, with ErrConflict where there is another key of the id, with ErrTooMany
// where the tenant, or operators, would have more than MaxKeys that have not expired
// at Key.At; of so many, those that have go. The same again changes nothing. It
// answers with the key's Index.
type PutKey struct {
	Key Key `codec:"k"` // Born and Index are given by the log
}

// Type is TypePutKey.
func (*PutKey) Type() Type { return TypePutKey }

func (c *PutKey) apply(t *tx) (any, error) {
	next := c.Key
	next.Name, next.By, next.Born, next.Index = clipTo(next.Name, MaxLabel), clipTo(next.By, MaxLabel), 0, t.index
	if next.Tenant != "" {
		tenant, ok := t.Tenant(next.Tenant)
		if !ok {
			return nil, fmt.Errorf("tenant %q: %w", next.Tenant, ErrNotFound)
		}
		next.Born = tenant.Born
	}
	if old, ok := get(t.keys, next.ID); ok {
		told := next
		told.Index = old.Index
		if told == *old {
			return old.Index, nil
		}
		return nil, fmt.Errorf("key %q exists: %w", next.ID, ErrConflict)
	}
	if err := t.roomForKey(&next); err != nil {
		return nil, err
	}
	t.putKey(&next)
	t.touch(TopicKeys)
	return next.Index, nil
}

// roomForKey forgets expired keys where there are too many beside a new one.
func (t *tx) roomForKey(next *Key) error {
	var expired []*Key
	count := 0
	for k := range t.KeysOf(next.Tenant) {
		count++
		if k.Expired(next.At) {
			expired = append(expired, k)
		}
	}
	if count < MaxKeys {
		return nil
	}
	if len(expired) == 0 {
		return fmt.Errorf("%s: %w keys: there may be %d; delete one that is not needed any more", keysOwner(next.Tenant), ErrTooMany, MaxKeys)
	}
	for _, k := range expired {
		t.dropKey(k)
	}
	return nil
}

func keysOwner(tenant string) string {
	if tenant == "" {
		return "operators"
	}
	return fmt.Sprintf("tenant %q", tenant)
}

// DropKey forgets a key of a tenant, or of an operator. It is refused with
// ErrNotFound where there is none, or where it is another's.
type DropKey struct {
	ID     string `codec:"i"`
	Tenant string `codec:"t,omitempty"`
}

// Type is TypeDropKey.
func (*DropKey) Type() Type { return TypeDropKey }

func (c *DropKey) apply(t *tx) (any, error) {
	k, ok := t.Key(c.ID)
	if !ok || k.Tenant != c.Tenant {
		return nil, fmt.Errorf("%s, key %q: %w", keysOwner(c.Tenant), c.ID, ErrNotFound)
	}
	t.dropKey(k)
	t.touch(TopicKeys)
	return nil, nil
}

func (t *tx) putKey(k *Key) {
	put(t.edit, &t.keys, k.ID, k)
	put(t.edit, &t.ownKeys, join(k.Tenant, k.ID), k)
}

func (t *tx) loadKey(body []byte) error {
	k := new(Key)
	if err := unmarshal(body, k); err != nil {
		return err
	}
	if old, ok := get(t.keys, k.ID); ok {
		t.dropKey(old)
	}
	t.putKey(k)
	return nil
}

func (t *tx) dropKey(k *Key) {
	del(t.edit, &t.keys, k.ID)
	del(t.edit, &t.ownKeys, join(k.Tenant, k.ID))
}

// dropKeys forgets the keys of a tenant that is gone.
func (t *tx) dropKeys(tenant string) {
	if tenant == Shared {
		return // those under an empty name are the operators'
	}
	var gone []*Key
	for k := range below(t.ownKeys, join(tenant, "")) {
		gone = append(gone, k)
	}
	for _, k := range gone {
		t.dropKey(k)
	}
	if len(gone) > 0 {
		t.touch(TopicKeys)
	}
}
