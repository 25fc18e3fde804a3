package telegram

import (
	"strconv"
	"strings"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// The limit of Telegram on one message, in UTF-16 code units after the markup
// is taken away. A longer one is shortened: Telegram would refuse it, and the
// alert with it.
const (
	limit      = 4096
	titleLimit = 256 // leaves room for the body where both are too long
)

// Text is the text of a message, escaped (spec triggers-and-notifications §5), and
// without what is not meant to be seen.
func Text(m notify.Message) string {
	const around = 5 // "*title* \n\n" adds five characters
	title, body := m.Title, m.Body
	if title.Units()+body.Units()+around > limit {
		title = title.Cut(titleLimit)
		body = body.Cut(limit - around - title.Units())
	}
	return strings.Map(notify.Visible, "*"+EscapeMarkdownV2(title)+"* \n\n"+EscapeMarkdownV2(body))
}

// Payload is the body of the bot method sendMessage.
func Payload(chatID string, disablePreview bool, m notify.Message) []byte {
	b := notify.AppendString([]byte(`{"chat_id":`), chatID)
	b = append(b, `,"disable_web_page_preview":`...)
	b = strconv.AppendBool(b, disablePreview)
	b = append(b, `,"parse_mode":"MarkdownV2","text":`...)
	b = notify.AppendString(b, Text(m))
	return append(b, '}')
}
