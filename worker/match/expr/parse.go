package expr

import (
	"math"
	"strconv"
	"strings"
)

// Limits on what an expression may look like.
const (
	maxSource = 64 << 10 // bytes
	maxDepth  = 1000     // nested parentheses
)

// parser is a recursive-descent parser of the grammar in expressions, section 1. Only space and
// tab separate; words are recognised without a look at what follows them, so that
// "a == 1 ORb == 2" means what it means in the peer.
type parser struct {
	src   string
	pos   int
	depth int
}

// parse reads a complete expression.
func parse(src string) (ast, *Error) {
	if len(src) > maxSource {
		return nil, &Error{Kind: KindParse, Message: "the expression is longer than " + strconv.Itoa(maxSource) + " bytes"}
	}
	p := &parser{src: src}
	p.space()
	if p.pos == len(src) {
		return nil, &Error{Kind: KindParse, Message: "the expression is empty; leave it out if everything should match"}
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.pos < len(src) {
		return nil, p.fail("expected AND, OR or the end, found " + p.next())
	}
	return n, nil
}

func (p *parser) fail(message string) *Error {
	return &Error{Kind: KindParse, Offset: p.pos, Message: message}
}

// next quotes what comes next, for messages.
func (p *parser) next() string {
	rest := p.src[p.pos:]
	if rest == "" {
		return "the end"
	}
	if i := strings.IndexAny(rest, " \t\r\n()"); i > 0 {
		rest = rest[:i]
	} else if i == 0 {
		rest = rest[:1]
	}
	const most = 20
	if len(rest) > most {
		rest = rest[:most] + "…"
	}
	return strconv.Quote(strings.ToValidUTF8(rest, ""))
}

func (p *parser) space() {
	for p.pos < len(p.src) && (p.src[p.pos] == ' ' || p.src[p.pos] == '\t') {
		p.pos++
	}
}

// keyword consumes w, in any letter case, if it comes next.
func (p *parser) keyword(w string) bool {
	end := p.pos + len(w)
	if end > len(p.src) || !strings.EqualFold(p.src[p.pos:end], w) {
		return false
	}
	p.pos = end
	return true
}

// symbol consumes s if it comes next.
func (p *parser) symbol(s string) bool {
	if strings.HasPrefix(p.src[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *parser) or() (ast, *Error)  { return p.chain(true, "OR", p.and) }
func (p *parser) and() (ast, *Error) { return p.chain(false, "AND", p.term) }

// chain reads one operand, or several joined by word. Every operand ends behind its trailing space.
func (p *parser) chain(or bool, word string, operand func() (ast, *Error)) (ast, *Error) {
	first, err := operand()
	if err != nil || !p.keyword(word) {
		return first, err
	}
	c := &chain{or: or, terms: []ast{first}}
	for {
		term, err := operand()
		if err != nil {
			return nil, err
		}
		c.terms = append(c.terms, term)
		if !p.keyword(word) {
			return c, nil
		}
	}
}

func (p *parser) term() (ast, *Error) {
	p.space()
	if !p.symbol("(") {
		return p.condition()
	}
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("parentheses are nested too deeply")
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	p.depth--
	if !p.symbol(")") {
		return nil, p.fail("expected a closing parenthesis, found " + p.next())
	}
	p.space()
	return n, nil
}

func (p *parser) condition() (ast, *Error) {
	l := &leaf{offset: p.pos, param: -1}
	if err := p.variable(l); err != nil {
		return nil, err
	}
	p.space()
	op, ok := p.operator()
	if !ok {
		return nil, p.fail("expected a comparison operator (== != < <= > >= contains starts_with ends_with), found " + p.next())
	}
	l.op = op
	p.space()
	lit, err := p.literal()
	if err != nil {
		return nil, err
	}
	l.lit = lit
	l.src = p.src[l.offset:p.pos]
	p.space()
	return l, nil
}

// variable reads the left side: a name or a position, and its path.
func (p *parser) variable(l *leaf) *Error {
	start := p.pos
	digits := p.while(isDigit)
	if digits == "" {
		digits = p.while(isIdent)
	} else if p.pos < len(p.src) && isIdent(p.src[p.pos]) {
		p.pos = start
		return p.fail("a variable name cannot start with a digit: " + p.next())
	}
	if digits == "" {
		return p.fail("expected the name of a variable, found " + p.next())
	}
	if reserved(digits) {
		p.pos = start
		return p.fail(strconv.Quote(digits) + " is a reserved word and cannot be a variable")
	}
	l.name = digits
	for {
		switch {
		case p.symbol("["):
			index, err := strconv.ParseUint(p.while(isDigit), 10, 64)
			if err != nil {
				return p.fail("expected a position such as [0]")
			}
			if !p.symbol("]") {
				return p.fail("expected a closing bracket, found " + p.next())
			}
			l.path = append(l.path, step{index: int(min(index, math.MaxInt)), bracket: true})
		case p.symbol("."):
			key := p.while(isDigit)
			if key == "" {
				key = p.while(isIdent)
			}
			if key == "" || p.pos < len(p.src) && isIdent(p.src[p.pos]) {
				return p.fail("expected the name or the position of a field, found " + p.next())
			}
			l.path = append(l.path, step{key: key})
		default:
			return nil
		}
	}
}

// while consumes the longest run of bytes that satisfy f.
func (p *parser) while(f func(byte) bool) string {
	start := p.pos
	for p.pos < len(p.src) && f(p.src[p.pos]) {
		p.pos++
	}
	return p.src[start:p.pos]
}

func (p *parser) operator() (Op, bool) {
	switch {
	case p.keyword("contains"):
		return Contains, true
	case p.keyword("starts_with"):
		return StartsWith, true
	case p.keyword("ends_with"):
		return EndsWith, true
	case p.symbol(">="):
		return Ge, true
	case p.symbol("<="):
		return Le, true
	case p.symbol("=="):
		return Eq, true
	case p.symbol("!="):
		return Ne, true
	case p.symbol(">"):
		return Gt, true
	case p.symbol("<"):
		return Lt, true
	}
	return 0, false
}

func (p *parser) literal() (literal, *Error) {
	start := p.pos
	if p.pos < len(p.src) && (p.src[p.pos] == '\'' || p.src[p.pos] == '"') {
		return p.quoted(p.src[p.pos])
	}
	if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-' || isDigit(p.src[p.pos])) {
		if number := p.number(); number != "" {
			return literal{kind: litNumber, text: number}, nil
		}
	}
	word := p.while(isBare)
	switch {
	case word == "":
		return literal{}, p.fail("expected a value, found " + p.next())
	case word == "true" || word == "false":
		return literal{kind: litBool, text: word, truth: word == "true"}, nil
	case reserved(word):
		p.pos = start
		return literal{}, p.fail(strconv.Quote(word) + " is a reserved word; put it in quotes")
	case strings.Trim(word, "0123456789-") == "":
		p.pos = start
		return literal{}, p.fail(strconv.Quote(word) + " is not a number; put it in quotes if it is a text")
	case len(word) == 2 && (word == "0x" || word == "0X"):
		p.pos = start
		return literal{}, p.fail("hexadecimal digits are missing after " + strconv.Quote(word))
	}
	return literal{kind: litString, text: word}, nil
}

// number reads a decimal number that is not followed by more of a word; otherwise it leaves the
// position alone and returns nothing.
func (p *parser) number() string {
	start := p.pos
	if !p.symbol("+") {
		p.symbol("-")
	}
	ok := p.while(isDigit) != ""
	if ok && p.symbol(".") {
		ok = p.while(isDigit) != ""
	}
	if !ok || p.pos < len(p.src) && (isBare(p.src[p.pos]) || p.src[p.pos] == '.') {
		p.pos = start
		return ""
	}
	return p.src[start:p.pos]
}

// quoted reads a text in quotes. A backslash may stand before the quote or another backslash, and
// stays part of the text.
func (p *parser) quoted(quote byte) (literal, *Error) {
	open := p.pos
	for p.pos++; p.pos < len(p.src); p.pos++ {
		switch p.src[p.pos] {
		case quote:
			p.pos++
			return literal{kind: litString, text: p.src[open+1 : p.pos-1]}, nil
		case '\\':
			p.pos++
			if p.pos == len(p.src) || p.src[p.pos] != quote && p.src[p.pos] != '\\' {
				p.pos--
				return literal{}, p.fail("a backslash may only stand before the quote or another backslash")
			}
		}
	}
	p.pos = open
	return literal{}, p.fail("the closing quote is missing")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isIdent(c byte) bool {
	return isDigit(c) || c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isBare(c byte) bool { return isIdent(c) || c == '-' }

func reserved(word string) bool {
	for _, w := range [...]string{"AND", "OR", "true", "false", "contains", "starts_with", "ends_with"} {
		if strings.EqualFold(word, w) {
			return true
		}
	}
	return false
}
