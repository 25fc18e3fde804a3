package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// ErrMetaTooLong: what a node says about itself does not fit into a packet.
var ErrMetaTooLong = errors.New("what this node announces about itself is too long")

const wireVersion = 1

// wire is Meta as it travels, with what only this package needs:
//
//	[version 1] [commands] [roles] [run: 4 bytes, big-endian]
//	then address, server, version, HTTP address: [length: uvarint] [bytes]
//
// A reader ignores what follows the fields it knows; fields are only added, so
// the first byte changes only if that stops being enough.
type wire struct {
	Meta
	Address string
	// Run is drawn at each start: a node that comes back from the dead with the
	// same one had not died.
	Run uint32
}

func (w wire) encode() ([]byte, error) {
	b := []byte{wireVersion, w.Commands, w.Roles}
	b = binary.BigEndian.AppendUint32(b, w.Run)
	for _, field := range []string{w.Address, w.Server, w.Version, w.HTTP} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("%w: %d bytes of at most %d; shorten the advertised or the HTTP address", ErrMetaTooLong, len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

func decodeWire(b []byte) (wire, error) {
	var w wire
	const fixed = 7
	if len(b) < fixed {
		return w, fmt.Errorf("node metadata of %d bytes: too short", len(b))
	}
	if b[0] != wireVersion {
		return w, fmt.Errorf("node metadata of format %d: this version knows format %d", b[0], wireVersion)
	}
	w.Commands, w.Roles = b[1], b[2]
	w.Run = binary.BigEndian.Uint32(b[3:])
	b = b[fixed:]
	for _, field := range []*string{&w.Address, &w.Server, &w.Version, &w.HTTP} {
		size, k := binary.Uvarint(b)
		if k <= 0 || size > uint64(len(b)-k) {
			return wire{}, errors.New("node metadata is cut short")
		}
		*field = string(b[k : k+int(size)])
		b = b[k+int(size):]
	}
	return w, nil
}

// messageLeaving is the first byte of what a node sends to all others when it
// leaves, followed by its run and name. memberlist does not tell those who leave
// from those who die.
const messageLeaving = 1

func encodeLeaving(name string, run uint32) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{messageLeaving}, run), name...)
}

// decodeLeaving ignores messages of kinds that it does not know.
func decodeLeaving(b []byte) (name string, run uint32, ok bool) {
	const fixed = 5
	if len(b) <= fixed || b[0] != messageLeaving {
		return "", 0, false
	}
	return string(b[fixed:]), binary.BigEndian.Uint32(b[1:]), true
}
