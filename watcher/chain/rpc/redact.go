package rpc

import (
	"net/url"
	"strings"
	"unicode"
)

const (
	minSecret  = 8   // shorter parts of a URL are names such as "v3", not keys
	maxMessage = 200 // bytes of a node's message kept in errors
)

// redactor takes whatever could be a key of one URL out of texts that come
// from elsewhere: nodes and proxies like to repeat what they were asked.
type redactor struct {
	host     string // scheme://host[:port]
	replacer *strings.Replacer
}

func newRedactor(u *url.URL) *redactor {
	r := &redactor{host: u.Scheme + "://" + u.Host}
	var pairs []string
	seen := map[string]bool{}
	add := func(secret, by string) {
		if len(secret) >= minSecret && !seen[secret] {
			seen[secret] = true
			pairs = append(pairs, secret, by)
		}
	}
	// Longer texts first: the replacer takes the first that fits.
	add(u.String(), r.host)
	add(u.RequestURI(), "[path]")
	if pass, ok := u.User.Password(); ok {
		add(pass, "[secret]")
	}
	add(u.User.Username(), "[secret]")
	for _, values := range u.Query() {
		for _, v := range values {
			add(v, "[secret]")
		}
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		add(segment, "[secret]")
	}
	r.replacer = strings.NewReplacer(pairs...)
	return r
}

// clean makes a foreign text fit for an error: redacted, printable, short.
func (r *redactor) clean(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, r.replacer.Replace(text))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}
