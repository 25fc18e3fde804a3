package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

var (
	errNotJSON   = errors.New("not JSON")
	errTruncated = errors.New("JSON ends too early")
)

// envelope is a JSON-RPC response taken apart without looking into it: a
// block can be megabytes, and its own decoder reads it anyway. The parts are
// slices of the body; nil when absent.
type envelope struct {
	id, result, err []byte
	method, params  []byte // of a notification
}

// parseEnvelope finds the members of a response. It checks the outer object
// only: a result may still prove malformed when it is decoded.
func parseEnvelope(body []byte) (envelope, error) {
	var e envelope
	i := skipSpace(body, 0)
	if i == len(body) {
		return e, errTruncated
	}
	if body[i] != '{' {
		return e, errNotJSON
	}
	i, err := eachMember(body, i, func(key, value []byte) {
		switch string(key) {
		case `"id"`:
			e.id = value
		case `"result"`:
			e.result = value
		case `"error"`:
			e.err = value
		case `"method"`:
			e.method = value
		case `"params"`:
			e.params = value
		}
	})
	if err != nil {
		return envelope{}, err
	}
	if skipSpace(body, i) != len(body) {
		return envelope{}, fmt.Errorf("%w: something follows the object", errNotJSON)
	}
	if bytes.Equal(e.err, []byte("null")) {
		e.err = nil // some nodes send both members always
	}
	return e, nil
}

// parseBatch splits the response to a batch.
func parseBatch(body []byte) ([]envelope, error) {
	i := skipSpace(body, 0)
	if i == len(body) {
		return nil, errTruncated
	}
	if body[i] != '[' {
		return nil, errNotJSON
	}
	var out []envelope
	for i = skipSpace(body, i+1); i < len(body) && body[i] != ']'; {
		end, err := skipValue(body, i)
		if err != nil {
			return nil, err
		}
		e, err := parseEnvelope(body[i:end])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		i = skipSpace(body, end)
		if i < len(body) && body[i] == ',' {
			i = skipSpace(body, i+1)
		}
	}
	if i >= len(body) {
		return nil, errTruncated
	}
	return out, nil
}

// eachMember calls f for the members of the object at i; keys come with their
// quotes. It returns the place after the object.
func eachMember(b []byte, i int, f func(key, value []byte)) (int, error) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(b) {
			return i, errTruncated
		}
		if b[i] != '"' {
			return i, errNotJSON
		}
		keyEnd, err := skipString(b, i)
		if err != nil {
			return i, err
		}
		key := b[i:keyEnd]
		i = skipSpace(b, keyEnd)
		if i >= len(b) {
			return i, errTruncated
		}
		if b[i] != ':' {
			return i, errNotJSON
		}
		start := skipSpace(b, i+1)
		end, err := skipValue(b, start)
		if err != nil {
			return i, err
		}
		f(key, b[start:end])
		i = skipSpace(b, end)
		if i >= len(b) {
			return i, errTruncated
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case '}':
			return i + 1, nil
		default:
			return i, errNotJSON
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the place after the string that begins at i.
func skipString(b []byte, i int) (int, error) {
	for at := i + 1; ; {
		n := bytes.IndexByte(b[at:], '"')
		if n < 0 {
			return 0, errTruncated
		}
		quote := at + n
		slashes := 0
		for b[quote-1-slashes] == '\\' {
			slashes++ // stops at the opening quote at the latest
		}
		if slashes%2 == 0 {
			return quote + 1, nil
		}
		at = quote + 1
	}
}

// skipValue returns the place after the value that begins at i. Nested values
// are passed over by counting brackets.
func skipValue(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, errTruncated
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		end := i
		for end < len(b) && !bytes.ContainsRune([]byte(" \t\r\n,:{}[]\""), rune(b[end])) {
			end++
		}
		if !json.Valid(b[i:end]) {
			return 0, errNotJSON
		}
		return end, nil
	}
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			end, err := skipString(b, i)
			if err != nil {
				return 0, err
			}
			i = end
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
		i++
	}
	return 0, errTruncated
}
