package spec

type triggerWire struct {
	Name   string `json:"name"`
	Type   string `json:"trigger_type"`
	Config any    `json:"config"`
}

type retryWire struct {
	MaxRetries uint32        `json:"max_retries"`
	Base       uint32        `json:"base_for_backoff"`
	Initial    *durationWire `json:"initial_backoff"`
	Max        *durationWire `json:"max_backoff"`
	Jitter     string        `json:"jitter"`
}

// againWire is how sending is repeated, at the end of every channel's settings.
type againWire struct {
	Retry    retryWire       `json:"retry_policy"`
	Schedule []*durationWire `json:"retry_schedule,omitempty"`
}

type slackWire struct {
	URL     Secret  `json:"slack_url"`
	Message Message `json:"message"`
	againWire
}

type discordWire struct {
	URL     Secret  `json:"discord_url"`
	Message Message `json:"message"`
	againWire
}

type telegramWire struct {
	Token             Secret  `json:"token"`
	ChatID            string  `json:"chat_id"`
	DisableWebPreview bool    `json:"disable_web_preview"`
	Message           Message `json:"message"`
	againWire
}

type webhookWire struct {
	URL         Secret                `json:"url"`
	Method      string                `json:"method"`
	Secret      *Secret               `json:"secret,omitempty"`
	Headers     map[string]headerWire `json:"headers,omitempty"`
	PayloadMode string                `json:"payload_mode"`
	Message     *Message              `json:"message,omitempty"`
	againWire
}

// headerWire is a header value: a plain one is a JSON string, as in the peer.
type headerWire Secret

func (h headerWire) MarshalJSON() ([]byte, error) {
	if h.Type == SecretPlain {
		return Encode(h.Value)
	}
	return Encode(Secret(h))
}

type emailWire struct {
	Host       string   `json:"host"`
	Port       uint16   `json:"port"`
	TLS        string   `json:"tls,omitempty"`
	Username   *Secret  `json:"username,omitempty"`
	Password   *Secret  `json:"password,omitempty"`
	Message    Message  `json:"message"`
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
	againWire
}

type pagerDutyWire struct {
	RoutingKey Secret  `json:"routing_key"`
	Severity   string  `json:"severity"`
	URL        string  `json:"url"`
	Message    Message `json:"message"`
	againWire
}

type scriptWire struct {
	Arguments  []string `json:"arguments"`
	Language   string   `json:"language"`
	ScriptPath string   `json:"script_path"`
	TimeoutMS  uint32   `json:"timeout_ms"`
}

// MarshalJSON writes the document with the peer's field names, defaults filled
// in and secrets in clear.
func (t Trigger) MarshalJSON() ([]byte, error) {
	again := againWire{Retry: retryWire{
		MaxRetries: t.Retry.MaxRetries, Base: t.Retry.Base,
		Initial: wireDuration(t.Retry.Initial), Max: wireDuration(t.Retry.Max), Jitter: t.Retry.Jitter,
	}}
	for _, d := range t.Schedule {
		again.Schedule = append(again.Schedule, wireDuration(d))
	}
	w := triggerWire{Name: t.Name, Type: t.Type}
	switch {
	case t.Slack != nil:
		w.Config = slackWire{t.Slack.URL, t.Slack.Message, again}
	case t.Discord != nil:
		w.Config = discordWire{t.Discord.URL, t.Discord.Message, again}
	case t.Telegram != nil:
		c := t.Telegram
		w.Config = telegramWire{c.Token, c.ChatID, c.DisableWebPreview, c.Message, again}
	case t.Webhook != nil:
		c := t.Webhook
		headers := make(map[string]headerWire, len(c.Headers))
		for name, value := range c.Headers {
			headers[name] = headerWire(*value)
		}
		w.Config = webhookWire{c.URL, c.Method, c.Secret, headers, c.PayloadMode, c.Message, again}
	case t.Email != nil:
		c := t.Email
		e := emailWire{c.Host, c.Port, c.TLS, &c.Username, &c.Password, c.Message, c.Sender, orEmpty(c.Recipients), again}
		if c.TLS == TLSNone {
			e.Username, e.Password = nil, nil
		}
		w.Config = e
	case t.PagerDuty != nil:
		c := t.PagerDuty
		w.Config = pagerDutyWire{c.RoutingKey, c.Severity, c.URL, c.Message, again}
	case t.Type == TriggerConsole:
		w.Config = again
	case t.Script != nil:
		w.Config = scriptWire(*t.Script)
	}
	return Encode(w)
}

// UnmarshalJSON reads a stored document: ParseTrigger with OriginState.
func (t *Trigger) UnmarshalJSON(data []byte) error {
	got, problems := ParseTrigger(data, WithOrigin(OriginState))
	if err := problems.Err(); err != nil {
		return err
	}
	*t = *got
	return nil
}
