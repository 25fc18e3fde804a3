package email

import (
	"fmt"
	"net/mail"
	"strings"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// leaveOut takes those recipients off a mail that the server refuses for good, so
// that the others get it, and tells of them, a line each. It changes nothing where
// all are refused, nor where one is refused for now, which is the error then:
// nobody gets the mail with this attempt, so that nobody gets it twice with the next.
func (s *session) leaveOut(c *smtp.Client, m *gomail.Msg) (refused string, err error) {
	from, err := m.GetSender(false)
	if err != nil {
		return "", err
	}
	if err := c.Mail(from); err != nil {
		return "", err
	}
	var accepted []string
	var texts strings.Builder
	for _, recipient := range s.email.Recipients {
		address, err := mail.ParseAddress(recipient)
		if err != nil {
			return "", misconfigured("recipients: %v", err)
		}
		if err = c.Rcpt(address.Address); err == nil {
			accepted = append(accepted, recipient)
			continue
		}
		code, text, ok := reply(err)
		if !ok || code < 500 {
			return "", err
		}
		fmt.Fprintf(&texts, "%s was refused: %d %s\n", address.Address, code, text)
	}
	if err := c.Reset(); err != nil || len(accepted) == 0 || texts.Len() == 0 {
		return "", err
	}
	if err := m.To(accepted...); err != nil {
		return "", misconfigured("recipients: %v", err)
	}
	return texts.String(), nil
}
