package spec

import "strings"

func readPagerDuty(c *object) *PagerDuty {
	p := &PagerDuty{Severity: PagerDutyCritical, URL: DefaultPagerDutyURL}
	key := c.required("routing_key", secretShape)
	p.RoutingKey = readSecret(key)
	if v, ok := key.resolve(p.RoutingKey); ok {
		switch {
		case strings.TrimSpace(v) == "":
			key.fail("is blank")
		case len(v) != 32 || !isPlainKey(v):
			key.warn("does not look like an integration key of PagerDuty: expected 32 letters and digits")
		}
	}
	if severity := c.optional("severity"); severity.ok() {
		p.Severity, _ = severity.oneOf(PagerDutyCritical, PagerDutyError, PagerDutyWarning, PagerDutyInfo)
	}
	if address := c.optional("url"); address.ok() {
		p.URL = readPlainURL(address)
	}
	p.Message = readMessage(c, 0)
	return p
}

// readPlainURL reads an address that holds no secret.
func readPlainURL(n node) string {
	s, ok := n.text()
	switch {
	case !ok:
	case !hasPrefix(s, []string{"http://", "https://"}):
		n.fail("found an address that does not start with http:// or https://")
	case strings.HasPrefix(s, "http://"):
		n.warn("%s is not encrypted: anyone on the way can read what is sent", Redact(s))
	}
	return s
}
