package notify

// The limits of chat services on one message, in UTF-16 code units. Longer
// text is shortened: the service would refuse it, and the alert with it.
const (
	slackLimit    = 3000 // text of a section block
	discordLimit  = 2000
	telegramLimit = 4096 // after the markup is taken away

	// telegramTitleLimit leaves room for the body where both are too long.
	telegramTitleLimit = 256
)

// SlackPayload is the body for an incoming webhook of Slack.
func SlackPayload(m Message) []byte {
	b := []byte(`{"blocks":[{"text":{"text":`)
	b = appendString(b, headed(m).cut(slackLimit).text)
	return append(b, `,"type":"mrkdwn"},"type":"section"}]}`...)
}

// DiscordPayload is the body for a webhook of Discord.
func DiscordPayload(m Message) []byte {
	b := []byte(`{"content":`)
	b = appendString(b, headed(m).cut(discordLimit).text)
	return append(b, '}')
}

// headed is the text that Slack and Discord share.
func headed(m Message) Text {
	return join(Text{text: "*"}, m.Title, Text{text: "*\n\n"}, m.Body)
}

// TelegramPayload is the body for the bot method sendMessage.
func TelegramPayload(chatID string, disablePreview bool, m Message) []byte {
	b := []byte(`{"chat_id":`)
	b = appendString(b, chatID)
	b = append(b, `,"disable_web_page_preview":`...)
	b = appendValue(b, disablePreview)
	b = append(b, `,"parse_mode":"MarkdownV2","text":`...)
	b = appendString(b, telegramText(m))
	return append(b, '}')
}

func telegramText(m Message) string {
	const around = 5 // "*title* \n\n" adds five characters
	title, body := m.Title, m.Body
	if title.units()+body.units()+around > telegramLimit {
		title = title.cut(telegramTitleLimit)
		body = body.cut(telegramLimit - around - title.units())
	}
	return "*" + EscapeMarkdownV2(title) + "* \n\n" + EscapeMarkdownV2(body)
}

// WebhookPayload is the body of a webhook in template mode.
func WebhookPayload(m Message) []byte {
	b := []byte(`{"body":`)
	b = appendString(b, m.Body.text)
	b = append(b, `,"title":`...)
	b = appendString(b, m.Title.text)
	return append(b, '}')
}
