package email

import (
	"fmt"
	"net/mail"
	"strconv"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// subjectLimit is the longest subject, in UTF-16 code units: a line of a mail
// may not be longer (RFC 5322 section 2.1.1), whatever it is folded into.
const subjectLimit = 900

// Message makes the mail for a notification (spec triggers-and-notifications
// §6): repeated attempts are the same byte for byte. Errors wrap
// notify.ErrMisconfigured.
func Message(n *notify.Notification, e *spec.Email) (*gomail.Msg, error) {
	composed := notify.Compose(n.Alert, e.Message)
	body, err := Body(composed.Body)
	if err != nil {
		return nil, err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.From(e.Sender); err != nil {
		return nil, misconfigured("sender: %v", err)
	}
	if err := m.ReplyTo(e.Sender); err != nil {
		return nil, misconfigured("sender: %v", err)
	}
	if err := m.To(e.Recipients...); err != nil {
		return nil, misconfigured("recipients: %v", err)
	}
	m.Subject(Subject(composed.Title))
	m.SetDateWithValue(n.Time.UTC())
	// The same for every attempt: a mailbox that gets the mail twice can tell.
	m.SetMessageIDWithValue(n.Key.String() + "@" + domain(e.Sender))
	m.SetGenHeader("User-Agent", "ozmo")
	m.SetGenHeader("X-Ozmo-Alert-Id", n.Alert.ID.String())
	m.SetGenHeader("X-Ozmo-Alert-State", n.Alert.State.String())
	m.SetGenHeader("X-Ozmo-Position", strconv.FormatUint(n.Alert.Position, 10))
	m.SetBodyString(gomail.TypeTextHTML, body)
	return m, nil
}

// Subject is a title on one line, without control characters: nothing in it can
// begin a header of its own.
func Subject(title notify.Text) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return notify.Visible(r)
	}, strings.ToValidUTF8(title.String(), "\uFFFD"))
	return strings.TrimSpace(notify.Words(s).Cut(subjectLimit).String())
}

// domain is what follows the @ of an address.
func domain(address string) string {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return "localhost"
	}
	return a.Address[strings.LastIndexByte(a.Address, '@')+1:]
}

func misconfigured(format string, args ...any) error {
	return fmt.Errorf("%w: %s", notify.ErrMisconfigured, fmt.Sprintf(format, args...))
}
