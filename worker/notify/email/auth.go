package email

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// credentials authenticate in the first way that both sides know. The
// connection is encrypted, so that the simple ones come first: every server
// that has them gets them right.
type credentials struct {
	host, user, password string
	chosen               smtp.Auth
}

// Start implements smtp.Auth.
func (c *credentials) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, errors.New("the connection is not encrypted: no credentials are sent")
	}
	for _, way := range []struct {
		name string
		auth func() smtp.Auth
	}{
		{"PLAIN", func() smtp.Auth { return smtp.PlainAuth("", c.user, c.password, c.host, false) }},
		{"LOGIN", func() smtp.Auth { return smtp.LoginAuth(c.user, c.password, c.host, false) }},
		{"SCRAM-SHA-256", func() smtp.Auth { return smtp.ScramSHA256Auth(c.user, c.password) }},
		{"CRAM-MD5", func() smtp.Auth { return smtp.CRAMMD5Auth(c.user, c.password) }},
	} {
		if slices.ContainsFunc(server.Auth, func(s string) bool { return strings.EqualFold(s, way.name) }) {
			c.chosen = way.auth()
			return c.chosen.Start(server)
		}
	}
	return "", nil, fmt.Errorf("the server offers no way to authenticate that is known here (it offers: %s)", strings.Join(server.Auth, ", "))
}

// Next implements smtp.Auth.
func (c *credentials) Next(challenge []byte, more bool) ([]byte, error) {
	return c.chosen.Next(challenge, more)
}
