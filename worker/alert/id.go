package alert

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ozmo-dev/ozmo/fsm"
)

// ErrBadID means that a text is not the identity of an alert or of a delivery.
var ErrBadID = errors.New("want 32 hexadecimal digits")

// The tags keep the two kinds of hash apart and name the version of their
// definition. Changing either would let alerts be sent again after an upgrade.
const (
	idTag  = "ozmo alert id 1"
	keyTag = "ozmo delivery key 1"
)

// ID identifies an alert. It depends on who is told (tenant, monitor) and on
// what happened (network, transaction), not on the block: a transaction that a
// reorganisation moves to another block keeps its alert.
type ID [16]byte

// NewID is the identity of the alert that a monitor raises for a transaction.
// network is the network's key, tx the transaction's hash (or signature) in
// the chain's usual text form; both are taken as they are, case included.
func NewID(tenant, monitorID, network, tx string) ID {
	return digest(idTag, tenant, monitorID, network, tx)
}

// String is 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the identity was never set.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes the form of String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of String; errors wrap ErrBadID.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// ParseID reads the form of ID.String; errors wrap ErrBadID.
func ParseID(s string) (ID, error) {
	b, err := parse(s)
	if err != nil {
		return ID{}, fmt.Errorf("alert id %q: %w", s, err)
	}
	return b, nil
}

// Key identifies one delivery: one state of one alert, seen in one block, to
// one trigger. Receivers see it as the idempotency key: whatever is sent twice
// carries the same one.
type Key [16]byte

// NewKey is the key of a delivery. occurrence counts the earlier entries of
// the same trigger in the monitor's list: a trigger listed twice fires twice,
// with occurrences 0 and 1.
//
// position is that of the announcement that brought the state about. It does not
// count for Fired: a block fires an alert once, whenever it is judged. The other
// states may come again in the same block, where two branches take turns.
func NewKey(id ID, trigger string, occurrence int, block fsm.Hash, state State, position uint64) Key {
	number := func(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
	fields := []string{keyTag, string(id[:]), trigger, number(uint64(occurrence)), string(block[:]), state.String()}
	if state != Fired {
		fields = append(fields, number(position))
	}
	return digest(fields...)
}

// String is 32 lower-case hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether the key was never set.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText writes the form of String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the form of String; errors wrap ErrBadID.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}

// ParseKey reads the form of Key.String; errors wrap ErrBadID.
func ParseKey(s string) (Key, error) {
	b, err := parse(s)
	if err != nil {
		return Key{}, fmt.Errorf("delivery key %q: %w", s, err)
	}
	return b, nil
}

// digest hashes fields so that no two different lists of fields collide: each
// is preceded by its length in bytes. 16 bytes are enough: to make another
// tenant's delivery look already sent, a tenant needs a second preimage.
func digest(fields ...string) (out [16]byte) {
	var buf []byte
	for _, f := range fields {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(f)))
		buf = append(buf, f...)
	}
	sum := sha256.Sum256(buf)
	copy(out[:], sum[:])
	return out
}

func parse(s string) (out [16]byte, err error) {
	if len(s) != hex.EncodedLen(len(out)) {
		return out, ErrBadID
	}
	if _, err := hex.Decode(out[:], []byte(s)); err != nil {
		return [16]byte{}, ErrBadID
	}
	return out, nil
}
