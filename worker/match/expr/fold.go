package expr

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fold lower-cases s by the full Unicode rules, which differ from [strings.ToLower] in
// two letters: a capital sigma at the end of a word, and a capital I with a dot.
func Fold(s string) string {
	ascii, upper := scanASCII(s)
	if ascii {
		if !upper {
			return s
		}
		return strings.ToLower(s)
	}
	if !strings.ContainsAny(s, "Σİ") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	b.Grow(len(s) + 4)
	for i, r := range s {
		switch r {
		case 'İ':
			b.WriteString("i\u0307")
		case 'Σ':
			if casedBefore(s[:i]) && !casedAfter(s[i+len("Σ"):]) {
				b.WriteRune('ς')
			} else {
				b.WriteRune('σ')
			}
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// scanASCII reports whether s is plain ASCII and whether it has capitals.
func scanASCII(s string) (ascii, upper bool) {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return false, false
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	return true, upper
}

// casedBefore looks backwards over letters that do not count for the one that does.
func casedBefore(s string) bool {
	for s != "" {
		r, n := utf8.DecodeLastRuneInString(s)
		if !caseIgnorable(r) {
			return cased(r)
		}
		s = s[:len(s)-n]
	}
	return false
}

func casedAfter(s string) bool {
	for _, r := range s {
		if !caseIgnorable(r) {
			return cased(r)
		}
	}
	return false
}

func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:·\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r)
}

// foldedEqual reports whether Fold(s) == lower, without allocating for ASCII.
func foldedEqual(s, lower string) bool {
	if len(s) == len(lower) {
		for i := 0; ; i++ {
			if i == len(s) {
				return true
			}
			c := s[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c >= utf8.RuneSelf {
				break
			}
			if c != lower[i] {
				return false
			}
		}
	} else if ascii, _ := scanASCII(s); ascii {
		return false
	}
	return Fold(s) == lower
}

// stripSpace removes every white-space character.
func stripSpace(s string) string {
	if strings.IndexFunc(s, unicode.IsSpace) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

// normalAddress is the form in which EVM addresses are compared.
func normalAddress(s string) string {
	s, _ = strings.CutPrefix(s, "0x")
	return Fold(stripSpace(s))
}
