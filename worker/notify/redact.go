package notify

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

const hidden = "[secret]"

// redactor takes known secrets out of text that others wrote: a receiver may
// echo the request it got.
type redactor struct {
	secrets []string // longest first, so that a part never hides only half of a whole
	longest int
}

// newRedactor knows a trigger's secrets and what of an address may hold one.
// Very short secrets are left out: hiding every "1" helps nobody.
func newRedactor(address string, secrets []string) redactor {
	const shortest = 4
	const word = 8
	all := slices.Clone(secrets)
	for _, secret := range secrets {
		// "Bearer TOKEN", "Basic USER:PASSWORD in base64": a receiver may echo a part.
		for part := range strings.FieldsSeq(secret) {
			if len(part) >= word {
				all = append(all, part)
			}
			if plain, err := base64.StdEncoding.DecodeString(part); err == nil && utf8.Valid(plain) {
				_, password, _ := strings.Cut(string(plain), ":")
				all = append(all, string(plain), password)
			}
		}
	}
	all = append(all, address)
	if u, err := url.Parse(address); err == nil {
		all = append(all, u.RawQuery, u.Path, u.EscapedPath(), u.RequestURI())
		if pw, ok := u.User.Password(); ok {
			both := u.User.Username() + ":" + pw
			all = append(all, pw, both, base64.StdEncoding.EncodeToString([]byte(both)))
		}
		for _, values := range u.Query() {
			all = append(all, values...)
		}
		for part := range strings.SplitSeq(u.Path, "/") {
			// A long path element may be a key ("/hook/3f9c…"), a short one is a word.
			if len(part) >= word {
				all = append(all, part)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) < shortest })
	for _, s := range slices.Clone(all) {
		all = append(all, escaped(s)...)
	}
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	r := redactor{secrets: slices.Compact(all)}
	if len(r.secrets) > 0 {
		r.longest = len(r.secrets[0])
	}
	return r
}

var lowerHex = regexp.MustCompile("%[0-9A-F]{2}")

// escaped are the forms that a text has in an address, if they are others: a
// receiver, or what stands before it, may tell where the request went.
func escaped(s string) (out []string) {
	query := url.QueryEscape(s)
	for _, e := range []string{query, strings.ReplaceAll(query, "+", "%20"), url.PathEscape(s)} {
		if e != s {
			out = append(out, e, lowerHex.ReplaceAllStringFunc(e, strings.ToLower))
		}
	}
	return out
}

func (r redactor) hide(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, hidden)
	}
	return s
}

// excerpt is the beginning of an answer's body, fit for people: secrets hidden,
// valid UTF-8, no control characters, at most maxExcerpt bytes. whole says that
// body is not cut off; otherwise a secret may be cut in half at its end, so
// that much of the end is dropped.
func (r redactor) excerpt(body []byte, whole bool) string {
	s := r.hide(string(body))
	if !whole {
		s = s[:max(len(s)-r.longest, 0)]
	}
	s = printable(s)
	if len(s) <= maxExcerpt {
		return s
	}
	cut := maxExcerpt
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// printable replaces what a terminal or a log might act upon.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return -1
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// hiddenError shows an error of the HTTP client without the secrets it may
// quote; errors.Is and As still see the error itself.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }

// cleanError drops the address that the HTTP client puts before its errors.
func (r redactor) cleanError(err error) error {
	const longest = 300
	for {
		wrapped, ok := err.(*url.Error) //nolint:errorlint // only the outermost layers name the address
		if !ok {
			break
		}
		err = wrapped.Err
	}
	text := printable(r.hide(err.Error()))
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return &hiddenError{text: text, err: err}
}

// Excerpt is the beginning of what a destination answered, fit for people and
// logs: secrets hidden, no control characters, at most 1 KiB.
func Excerpt(answer string, secrets ...string) string {
	return newRedactor("", secrets).excerpt([]byte(answer), true)
}

// CleanError hides secrets in the text of an error; errors.Is and As still see
// the error itself.
func CleanError(err error, secrets ...string) error {
	return newRedactor("", secrets).cleanError(err)
}

// Plain is the value of a secret that was resolved before sending. Errors wrap
// ErrMisconfigured.
func Plain(s spec.Secret, field string) (string, error) {
	if s.Type != spec.SecretPlain {
		return "", misconfigured("%s is a secret of type %q that was not resolved before sending", field, s.Type)
	}
	return s.Value, nil
}
