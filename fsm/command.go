package fsm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// Type names a command in the log. Types are append-only and never reused.
type Type uint8

// The commands, in the order in which they were introduced.
const (
	TypePutBlobs         Type = 1
	TypeCollectBlobs     Type = 2
	TypeSetTenantVersion Type = 3
	TypeDeleteTenant     Type = 4
	TypeRegisterNode     Type = 5
	TypeGrantLease       Type = 6
	TypeAnnounce         Type = 7
	TypeStartNetwork     Type = 8
	TypeProgress         Type = 9
	TypeSettle           Type = 10
	TypePurge            Type = 11
	TypeDrainNode        Type = 12
	TypeRemoveNode       Type = 13
	TypeSetCluster       Type = 14
	TypePutToken         Type = 15
	TypeUseToken         Type = 16
	TypeSetPlacement     Type = 17
	TypeMove             Type = 18
	TypeRelease          Type = 19
	TypeMerge            Type = 20
	TypeRedeliver        Type = 21
	TypeReplay           Type = 22
	TypePutSecret        Type = 23
	TypeDropSecret       Type = 24
	TypePutKey           Type = 25
	TypeDropKey          Type = 26
	TypeAudited          Type = 27
	TypeSetQuota         Type = 28
	TypePutBacktest      Type = 29
	TypeWorkBacktest     Type = 30
	TypeEndBacktest      Type = 31
	TypeSetStore         Type = 32
	TypeMoveContents     Type = 33
	TypePassOver         Type = 34
)

// Ignorable marks types that a node too old to know them may skip. Any other
// unknown type stops the node: going on would make its state differ silently.
const Ignorable Type = 0x80

// ErrUnknownCommand reports an entry that this version does not understand.
var ErrUnknownCommand = errors.New("the log holds a command of a newer version: upgrade this node")

// ErrMalformed reports bytes that are no command at all.
var ErrMalformed = errors.New("malformed command")

// Command is one change of the replicated state. What it carries was validated
// by the proposer; it is refused only for what it is conditional on.
type Command interface {
	Type() Type
	apply(tx *tx) (any, error)
}

// registry makes an empty command of each type.
var registry = map[Type]func() Command{
	TypePutBlobs:         func() Command { return new(PutBlobs) },
	TypeCollectBlobs:     func() Command { return new(CollectBlobs) },
	TypeSetTenantVersion: func() Command { return new(SetTenantVersion) },
	TypeDeleteTenant:     func() Command { return new(DeleteTenant) },
	TypeRegisterNode:     func() Command { return new(RegisterNode) },
	TypeGrantLease:       func() Command { return new(GrantLease) },
	TypeAnnounce:         func() Command { return new(Announce) },
	TypeStartNetwork:     func() Command { return new(StartNetwork) },
	TypeProgress:         func() Command { return new(Progress) },
	TypeSettle:           func() Command { return new(Settle) },
	TypePurge:            func() Command { return new(Purge) },
	TypeDrainNode:        func() Command { return new(DrainNode) },
	TypeRemoveNode:       func() Command { return new(RemoveNode) },
	TypeSetCluster:       func() Command { return new(SetCluster) },
	TypePutToken:         func() Command { return new(PutToken) },
	TypeUseToken:         func() Command { return new(UseToken) },
	TypeSetPlacement:     func() Command { return new(SetPlacement) },
	TypeMove:             func() Command { return new(Move) },
	TypeRelease:          func() Command { return new(Release) },
	TypeMerge:            func() Command { return new(Merge) },
	TypeRedeliver:        func() Command { return new(Redeliver) },
	TypeReplay:           func() Command { return new(Replay) },
	TypePutSecret:        func() Command { return new(PutSecret) },
	TypeDropSecret:       func() Command { return new(DropSecret) },
	TypePutKey:           func() Command { return new(PutKey) },
	TypeDropKey:          func() Command { return new(DropKey) },
	TypeAudited:          func() Command { return new(Audited) },
	TypeSetQuota:         func() Command { return new(SetQuota) },
	TypePutBacktest:      func() Command { return new(PutBacktest) },
	TypeWorkBacktest:     func() Command { return new(WorkBacktest) },
	TypeEndBacktest:      func() Command { return new(EndBacktest) },
	TypeSetStore:         func() Command { return new(SetStore) },
	TypeMoveContents:     func() Command { return new(MoveContents) },
	TypePassOver:         func() Command { return new(PassOver) },
}

// CommandRange is what this version understands; nodes tell each other.
func CommandRange() (lowest, highest Type) { return TypePutBlobs, TypePassOver }

// handle is the one msgpack form of log and snapshot. Canonical: equal values
// give equal bytes on every node.
var handle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.Canonical = true
	// Bounds what a hostile or torn length prefix can make the decoder reserve.
	h.MaxInitLen = 1 << 12
	return h
}()

func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	if err := codec.NewEncoder(&buf, handle).Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func unmarshal(data []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrMalformed, r)
		}
	}()
	dec := codec.NewDecoderBytes(data, handle)
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n := dec.NumBytesRead(); n != len(data) {
		return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(data)-n)
	}
	return nil
}

// Encode gives the log entry of a command: its type, then its body.
func Encode(c Command) ([]byte, error) {
	body, err := marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command type %d: %w", c.Type(), err)
	}
	if a, ok := c.(*Audited); ok {
		if _, err := a.Inner(); err != nil {
			return nil, fmt.Errorf("encode command type %d: %w", c.Type(), err)
		}
	}
	return append([]byte{byte(c.Type())}, body...), nil
}

// Decode reads a log entry. A nil command without an error is an entry that
// this version may skip.
func Decode(entry []byte) (Command, error) {
	if len(entry) == 0 {
		return nil, fmt.Errorf("%w: empty entry", ErrMalformed)
	}
	empty, ok := registry[Type(entry[0])]
	switch {
	case !ok && Type(entry[0])&Ignorable != 0:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("%w (type %d)", ErrUnknownCommand, entry[0])
	}
	c := empty()
	if err := unmarshal(entry[1:], c); err != nil {
		return nil, fmt.Errorf("command type %d: %w", entry[0], err)
	}
	if a, ok := c.(*Audited); ok {
		if _, err := a.Inner(); err != nil {
			return nil, err
		}
	}
	return c, nil
}
