package fsm

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Hash identifies a block on its chain: 32 bytes on every chain ozmo follows.
type Hash [32]byte

// ParseHash reads 64 hexadecimal digits, with or without a leading 0x.
func ParseHash(s string) (Hash, error) {
	var h Hash
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	if len(digits) != 2*len(h) {
		return h, fmt.Errorf("block hash %q: want 32 bytes in hexadecimal", s)
	}
	if _, err := hex.Decode(h[:], []byte(digits)); err != nil {
		return h, fmt.Errorf("block hash %q: want 32 bytes in hexadecimal", s)
	}
	return h, nil
}

// String is 0x followed by 64 lower-case hexadecimal digits.
func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

// Short is the beginning of the hash, for log lines and tables.
func (h Hash) Short() string { return h.String()[:10] }

// IsZero reports whether the hash was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes the form of String, so that hashes read well in JSON.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what ParseHash accepts.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHash(string(text))
	return err
}

// BlockRef names one block: its height and its hash. Two blocks of one height
// on different branches have different refs.
type BlockRef struct {
	Height uint64 `json:"height" codec:"n"`
	Hash   Hash   `json:"hash" codec:"h"`
}

// String reads "19000000 0x1234abcd".
func (r BlockRef) String() string { return fmt.Sprintf("%d %s", r.Height, r.Hash.Short()) }
