package spec

import (
	"math"
	"net/mail"
	"strings"
	"unicode"
)

func readEmail(c *object) *Email {
	e := &Email{Host: readHost(c), Port: 465}
	port := c.optional("port")
	if v, ok := port.whole(0, math.MaxUint16); ok {
		e.Port = uint16(v)
		if v != 465 && v != 587 && v != 993 {
			port.warn("found %d, which is unusual: mail is sent encrypted on 465 or 587", v)
		}
	}
	e.TLS, _ = c.optional("tls").oneOf(TLSImplicit, TLSStart, TLSNone)
	if e.TLS == TLSNone {
		c.without("username")
		c.without("password")
	} else {
		e.readCredentials(c)
	}
	e.Message = readMessage(c, 0)
	checkMail(c, e.Message)
	sender := c.required("sender", "an e-mail address")
	e.Sender = readMailAddress(sender)
	recipients := c.required("recipients", "an array of e-mail addresses")
	if recipients.list(func(item node) { e.Recipients = append(e.Recipients, readMailAddress(item)) }) && isEmptyArray(recipients.raw) {
		recipients.fail("is empty, expected at least one e-mail address")
	}
	return e
}

func (e *Email) readCredentials(c *object) {
	user := c.required("username", secretShape)
	e.Username = readSecret(user)
	if v, ok := user.resolve(e.Username); ok {
		switch {
		case v == "":
			user.fail("is empty")
		case strings.ContainsFunc(v, unicode.IsControl):
			user.fail("holds a control character")
		}
	}
	password := c.required("password", secretShape)
	e.Password = readSecret(password)
	if v, ok := password.resolve(e.Password); ok && strings.TrimSpace(v) == "" {
		password.fail("is blank")
	}
}

// without refuses a credential that would cross the network in clear.
func (o *object) without(key string) {
	if n := o.optional(key); n.ok() {
		n.fail("must be absent where tls is %q: it would be sent in clear", TLSNone)
	}
}

func readHost(c *object) string {
	n := c.required("host", "a string")
	s, ok := n.text()
	switch {
	case !ok:
	case strings.TrimSpace(s) == "":
		n.fail("is blank")
	case !strings.Contains(s, ".") || !isHostName(s):
		n.fail("found %s, expected a host name with a dot, of letters, digits, dots and hyphens", quote(s))
	}
	return s
}

func isHostName(s string) bool {
	return isPlainKey(strings.ReplaceAll(s, ".", "-")) && !strings.Contains(s, "_")
}

// checkMail applies the rules of mail headers and bodies to the templates.
func checkMail(c *object, m Message) {
	const maxSubject = 998 // bytes of a line, RFC 5322 section 2.1.1
	path := c.child("message", nil)
	title := node{w: c.w, parent: &path, key: "title", index: -1}
	body := node{w: c.w, parent: &path, key: "body", index: -1}
	if len(m.Title) > maxSubject {
		title.fail("found %d bytes, expected at most %d", len(m.Title), maxSubject)
	}
	if strings.ContainsFunc(m.Title, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		title.fail("holds a control character")
	}
	if strings.ContainsFunc(m.Body, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\r\n\t", r) }) {
		body.fail("holds a control character other than line ends and tabs")
	}
}

func readMailAddress(n node) string {
	s, ok := n.text()
	if !ok {
		return ""
	}
	if _, err := mail.ParseAddress(s); err != nil || strings.ContainsFunc(s, unicode.IsControl) {
		n.fail("found %s, expected an e-mail address", quote(s))
	}
	return s
}
