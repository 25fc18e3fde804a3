package evm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNoBlock is returned for a payload without a block, such as a node's null
// answer.
var ErrNoBlock = errors.New("evm block: the node sent no block")

// Payload joins a block and its parts into what the block cache stores: one
// JSON object {"block": eth_getBlockByNumber result, "logs": eth_getLogs
// result, "receipts": receipts}. Nil parts are left out.
func Payload(block, receipts, logs json.RawMessage) []byte {
	out := make([]byte, 0, len(block)+len(receipts)+len(logs)+48)
	out = append(out, '{')
	for _, part := range []struct {
		key  string
		text json.RawMessage
	}{{"block", block}, {"logs", logs}, {"receipts", receipts}} {
		if part.text == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, part.key...)
		out = append(out, '"', ':')
		out = append(out, part.text...)
	}
	return append(out, '}')
}

// Decode reads what Payload wrote. Raw fields of the block are parts of
// payload, which must not change afterwards. Errors name the field.
func Decode(payload []byte) (*Block, error) {
	var block, receipts, logs []byte
	s := &scanner{data: payload}
	err := s.object(func(key []byte) error {
		s.peek()
		start := s.pos
		if err := s.skip(0); err != nil {
			return err
		}
		switch part := payload[start:s.pos]; string(key) {
		case "block":
			block = part
		case "receipts":
			receipts = part
		case "logs":
			logs = part
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, fmt.Errorf("evm block payload: %w", err)
	}
	return DecodeParts(block, receipts, logs)
}

// DecodeParts reads the results of eth_getBlockByNumber (with full
// transactions), eth_getBlockReceipts and eth_getLogs. Logs, when given, are
// the complete logs of the block; otherwise the logs of the receipts are used.
// Nil and a JSON null mean that a part was not fetched. Errors name the field.
func DecodeParts(block, receipts, logs []byte) (*Block, error) {
	if !given(block) {
		return nil, ErrNoBlock
	}
	d, _ := decoders.Get().(*decoder)
	defer d.release()
	d.begin()
	if err := d.block(block); err != nil {
		return nil, fmt.Errorf("evm block: %w", err)
	}
	ownLogs := given(logs)
	if given(receipts) {
		if err := d.receiptList(receipts, !ownLogs); err != nil {
			return nil, fmt.Errorf("evm block %d: %w", d.b.Number, inField("receipts", err))
		}
	}
	if ownLogs {
		s := &scanner{data: logs}
		if err := d.logList(s, -1); err != nil {
			return nil, fmt.Errorf("evm block %d: %w", d.b.Number, inField("logs", err))
		}
		if err := s.end(); err != nil {
			return nil, fmt.Errorf("evm block %d: %w", d.b.Number, inField("logs", err))
		}
	}
	return d.finish(), nil
}

func given(part []byte) bool {
	part = bytes.TrimSpace(part)
	return len(part) > 0 && !bytes.Equal(part, []byte("null"))
}
