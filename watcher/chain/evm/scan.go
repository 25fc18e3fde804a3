package evm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// maxDepth bounds the nesting of JSON values, so that hostile input cannot
// exhaust the stack.
const maxDepth = 256

var errTruncated = errors.New("JSON ends too early")

// scanner walks over JSON text once, without building anything. It checks the
// structure; the characters inside strings are checked by whoever reads them.
type scanner struct {
	data []byte
	pos  int
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		if c > ' ' {
			return c
		}
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		s.pos++
	}
	return 0
}

func (s *scanner) unexpected(want string) error {
	if s.pos >= len(s.data) {
		return errTruncated
	}
	return fmt.Errorf("unexpected character %q at byte %d, want %s", s.data[s.pos], s.pos, want)
}

// end fails when anything but white space follows.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.data) {
		return s.unexpected("the end of the document")
	}
	return nil
}

// text reads a string and returns what stands between the quotes, escapes
// unresolved.
func (s *scanner) text() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.unexpected("a string")
	}
	start := s.pos + 1
	i := start
	for {
		n := bytes.IndexByte(s.data[i:], '"')
		if n < 0 {
			s.pos = len(s.data)
			return nil, errTruncated
		}
		i += n
		// The quote ends the string unless an odd run of backslashes precedes it.
		back := i
		for back > start && s.data[back-1] == '\\' {
			back--
		}
		if (i-back)%2 == 0 {
			break
		}
		i++
	}
	s.pos = i + 1
	return s.data[start:i], nil
}

// key reads an object key and the colon after it.
func (s *scanner) key() ([]byte, error) {
	k, err := s.text()
	if err != nil {
		return nil, err
	}
	if s.peek() != ':' {
		return nil, s.unexpected("a colon")
	}
	s.pos++
	if bytes.IndexByte(k, '\\') >= 0 {
		var plain string
		if err := json.Unmarshal(append(append([]byte{'"'}, k...), '"'), &plain); err != nil {
			return nil, fmt.Errorf("bad escape in key %q", k)
		}
		k = []byte(plain)
	}
	return k, nil
}

// next is called after the opening bracket (first) and after every element; it
// reports whether another element follows and consumes comma or close.
func (s *scanner) next(first bool, closing byte) (bool, error) {
	c := s.peek()
	if c == closing {
		s.pos++
		return false, nil
	}
	if first {
		return true, nil
	}
	if c != ',' {
		return false, s.unexpected("a comma or the closing bracket")
	}
	s.pos++
	if s.peek() == closing {
		return false, s.unexpected("a value")
	}
	return true, nil
}

// null consumes a null when one stands here.
func (s *scanner) null() bool {
	if s.peek() == 'n' && bytes.HasPrefix(s.data[s.pos:], []byte("null")) {
		s.pos += 4
		return true
	}
	return false
}

// skip passes over one value of any type.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("JSON is nested deeper than %d levels", maxDepth)
	}
	switch c := s.peek(); {
	case c == '"':
		_, err := s.text()
		return err
	case c == '{':
		s.pos++
		for first := true; ; first = false {
			if more, err := s.next(first, '}'); err != nil || !more {
				return err
			}
			if _, err := s.key(); err != nil {
				return err
			}
			if err := s.skip(depth + 1); err != nil {
				return err
			}
		}
	case c == '[':
		s.pos++
		for first := true; ; first = false {
			if more, err := s.next(first, ']'); err != nil || !more {
				return err
			}
			if err := s.skip(depth + 1); err != nil {
				return err
			}
		}
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	default:
		return s.unexpected("a value")
	}
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		return s.unexpected(w)
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) number() error {
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			s.pos++
			continue
		}
		break
	}
	if !json.Valid(s.data[start:s.pos]) {
		s.pos = start
		return s.unexpected("a number")
	}
	return nil
}

// object calls field for every key, positioned at its value; field must
// consume the value.
func (s *scanner) object(field func(key []byte) error) error {
	if s.peek() != '{' {
		return s.unexpected("an object")
	}
	s.pos++
	for first := true; ; first = false {
		if more, err := s.next(first, '}'); err != nil || !more {
			return err
		}
		k, err := s.key()
		if err != nil {
			return err
		}
		if err := field(k); err != nil {
			return inField(string(k), err)
		}
	}
}

// array calls element for every element, positioned at it; element must
// consume it. A null counts as an empty array.
func (s *scanner) array(element func(i int) error) error {
	if s.null() {
		return nil
	}
	if s.peek() != '[' {
		return s.unexpected("an array")
	}
	s.pos++
	for i := 0; ; i++ {
		if more, err := s.next(i == 0, ']'); err != nil || !more {
			return err
		}
		if err := element(i); err != nil {
			return inField(fmt.Sprintf("[%d]", i), err)
		}
	}
}

// fieldError is a problem together with the path of the field that has it.
type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return e.path + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// inField puts a path element before whatever path the error already has.
func inField(name string, err error) error {
	inner, ok := err.(*fieldError) //nolint:errorlint // built one level below, never wrapped by others
	if !ok {
		return &fieldError{path: name, err: err}
	}
	if inner.path != "" && inner.path[0] == '[' {
		return &fieldError{path: name + inner.path, err: inner.err}
	}
	return &fieldError{path: name + "." + inner.path, err: inner.err}
}
