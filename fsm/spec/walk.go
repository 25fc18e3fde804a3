package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// walk is one pass over one document. It collects problems; reading goes on
// after each of them with a zero value.
type walk struct {
	options
	problems Problems
	counts   map[Severity]int // of all reported, shown or not
}

// Bounds on what one document may cost. The depth is the peer's own.
const (
	maxProblems = 1000 // of each severity
	maxDepth    = 128
)

// errors is the number of problems that refuse the document.
func (w *walk) errors() int { return w.counts[SeverityError] }

// newWalk checks that data is one JSON value and nothing else. If it is not,
// the problem is noted and the root is unusable, which node.ok tells.
func newWalk(data []byte, o options) (*walk, node) {
	w := &walk{options: o}
	root := node{w: w}
	if !utf8.Valid(data) {
		root.fail("is not UTF-8 text")
		return w, root
	}
	if !json.Valid(data) {
		w.syntaxProblem(data)
		return w, root
	}
	if depth(data) > maxDepth {
		root.fail("is nested deeper than %d levels", maxDepth)
		return w, root
	}
	root.raw = trimSpace(data)
	return w, root
}

// syntaxProblem says where the JSON breaks. It quotes none of it, since that
// might be a secret.
func (w *walk) syntaxProblem(data []byte) {
	root := node{w: w}
	var ignored json.RawMessage
	err := json.Unmarshal(data, &ignored)
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if len(trimSpace(data)) == 0 {
		root.fail("is empty, expected a JSON document")
		return
	}
	if !ok {
		root.fail("is not valid JSON")
		return
	}
	before := data[:min(max(syntax.Offset-1, 0), int64(len(data)))]
	line := 1 + strings.Count(string(before), "\n")
	column := 1 + utf8.RuneCount(before[strings.LastIndexByte(string(before), '\n')+1:])
	root.fail("is not valid JSON: %s at line %d, column %d", strings.TrimPrefix(syntax.Error(), "json: "), line, column)
}

func (w *walk) finish() Problems { return w.problems.sorted() }

// node is one JSON value of a document and its place. Its methods read it as
// what is expected and note a problem otherwise.
type node struct {
	w      *walk
	parent *node
	key    string // in an object
	index  int    // in an array, when key is empty and parent is not nil
	raw    []byte // valid JSON without white space around; nil when unusable
}

func (n node) ok() bool { return n.raw != nil }

// path is built only for problems: most documents have none.
func (n node) path() string {
	if n.parent == nil {
		return ""
	}
	up := n.parent.path()
	switch {
	case n.key == "" && n.index >= 0:
		return up + "[" + strconv.Itoa(n.index) + "]"
	case !isPlainKey(n.key):
		return up + "[" + quote(n.key) + "]"
	case up == "":
		return n.key
	default:
		return up + "." + n.key
	}
}

func isPlainKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return key != ""
}

func (n node) fail(format string, args ...any) { n.report(SeverityError, format, args...) }
func (n node) warn(format string, args ...any) { n.report(SeverityWarning, format, args...) }

func (n node) report(s Severity, format string, args ...any) {
	if n.w.counts == nil {
		n.w.counts = make(map[Severity]int)
	}
	n.w.counts[s]++
	switch count := n.w.counts[s]; {
	case count == maxProblems:
		n, format, args = node{w: n.w}, "has more problems than are shown", nil
	case count > maxProblems:
		return
	}
	n.w.problems = append(n.w.problems, Problem{
		File: n.w.file, Path: n.path(), Message: fmt.Sprintf(format, args...), Severity: s,
	})
}

// found describes the value for a message: numbers, true and false as they
// stand, all else by its kind.
func (n node) found() string {
	switch n.raw[0] {
	case '{', '[', '"':
		return n.foundKind()
	default:
		return shorten(string(n.raw))
	}
}

// foundKind describes the value without showing it, since it may be a secret.
func (n node) foundKind() string {
	switch n.raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

func (n node) isNull() bool { return len(n.raw) > 0 && n.raw[0] == 'n' }

// text reads a string.
func (n node) text() (string, bool) {
	if !n.ok() {
		return "", false
	}
	if n.raw[0] != '"' {
		n.fail("found %s, expected a string", n.foundKind())
		return "", false
	}
	return unquote(n.raw), true
}

func (n node) boolean() (value, ok bool) {
	if !n.ok() {
		return false, false
	}
	if c := n.raw[0]; c != 't' && c != 'f' {
		n.fail("found %s, expected true or false", n.found())
		return false, false
	}
	return n.raw[0] == 't', true
}

// whole reads an unsigned integer between lo and hi, exactly: 1.0 and 1e3 are
// refused, as the peer does.
func (n node) whole(lo, hi uint64) (uint64, bool) {
	if !n.ok() {
		return 0, false
	}
	v, err := strconv.ParseUint(string(n.raw), 10, 64)
	if err == nil && v >= lo && v <= hi {
		return v, true
	}
	want := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	if hi == math.MaxUint64 {
		want = fmt.Sprintf("a whole number of at least %d", lo)
	}
	n.fail("found %s, expected %s", n.found(), want)
	return 0, false
}

// oneOf reads a string that must be one of a few words, in this letter case.
func (n node) oneOf(words ...string) (string, bool) {
	s, ok := n.text()
	if !ok {
		return "", false
	}
	if slices.Contains(words, s) {
		return s, true
	}
	n.fail("found %s, expected %s%s", quote(s), alternatives(words), didYouMean(s, words))
	return "", false
}

// list calls each for every element of an array.
func (n node) list(each func(node)) bool {
	if !n.ok() {
		return false
	}
	if n.raw[0] != '[' {
		n.fail("found %s, expected an array", n.found())
		return false
	}
	rest, i := n.raw[1:], 0
	for {
		var item []byte
		if item, rest = nextValue(rest); item == nil {
			return true
		}
		each(node{w: n.w, parent: &n, index: i, raw: item})
		i++
	}
}

// texts reads an array of strings.
func (n node) texts() ([]string, bool) {
	out := []string{}
	ok := n.list(func(item node) {
		if s, ok := item.text(); ok {
			out = append(out, s)
		}
	})
	return out, ok
}

// at and item name a place inside a document that was read before, for problems
// found later.
func (n node) at(key string) node  { return node{w: n.w, parent: &n, key: key, index: -1} }
func (n node) item(index int) node { return node{w: n.w, parent: &n, index: index} }
