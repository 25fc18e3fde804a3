package gossip

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// ErrKeys: gossip cannot be encrypted, or not any more, while it runs.
var ErrKeys = errors.New("gossip keys")

// newKeyring has the first key encrypt and all of them decrypt. No keys: nil,
// and nothing is encrypted.
func newKeyring(keys [][]byte) (*memberlist.Keyring, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(clone(keys), bytes.Clone(keys[0]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return ring, nil
}

func checkKeys(keys [][]byte) error {
	for k, key := range keys {
		if err := memberlist.ValidateKey(key); err != nil {
			return fmt.Errorf("%w: number %d has %d bytes; 16, 24 and 32 are possible", ErrKeys, k+1, len(key))
		}
	}
	return nil
}

// syncKeyring makes the ring hold exactly these keys, the first one encrypting.
func syncKeyring(ring *memberlist.Keyring, want [][]byte) error {
	for _, key := range want {
		if err := ring.AddKey(bytes.Clone(key)); err != nil {
			return fmt.Errorf("%w: %w", ErrKeys, err)
		}
	}
	if err := ring.UseKey(want[0]); err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	for unwanted := excess(ring, want); len(unwanted) > 0; unwanted = excess(ring, want) {
		// RemoveKey moves the keys behind the removed one within a slice that
		// receivers may be reading. So what goes has to be at the end first: the
		// wanted keys are brought to the front, the encrypting one last.
		keys := ring.GetKeys()
		if last := keys[len(keys)-1]; !bytes.Equal(last, unwanted[len(unwanted)-1]) {
			for _, key := range slices.Backward(want) {
				if err := ring.UseKey(key); err != nil {
					return fmt.Errorf("%w: %w", ErrKeys, err)
				}
			}
		}
		if err := ring.RemoveKey(unwanted[len(unwanted)-1]); err != nil {
			return fmt.Errorf("%w: %w", ErrKeys, err)
		}
	}
	return nil
}

// excess are the keys of the ring that are not wanted, in the ring's order.
func excess(ring *memberlist.Keyring, want [][]byte) [][]byte {
	var out [][]byte
	for _, key := range ring.GetKeys() {
		if !slices.ContainsFunc(want, func(w []byte) bool { return bytes.Equal(w, key) }) {
			out = append(out, key)
		}
	}
	return out
}

// KeyID names a key without telling it: 8 hex digits.
func KeyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:4])
}

func clone(keys [][]byte) [][]byte {
	out := make([][]byte, len(keys))
	for k, key := range keys {
		out[k] = bytes.Clone(key)
	}
	return out
}
