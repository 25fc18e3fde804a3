package notify

import (
	"cmp"
	"maps"
	"strconv"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// Message is a message with its variables filled in.
type Message struct{ Title, Body Text }

// Render fills in title and body.
func Render(m spec.Message, vars map[string]string) Message {
	return Message{Title: Expand(m.Title, vars), Body: Expand(m.Body, vars)}
}

// Compose renders a message for an alert. An alert that is not simply fired
// says so at the head of its title: the words of the template were written for
// the case that something has happened. Where what matched was too large to be
// kept until now, the message says so, and which alert it is about.
func Compose(a *alert.Alert, m spec.Message) Message {
	var msg Message
	if Lost(a) {
		vars := remembered(a)
		msg = Message{Title: expand(m.Title, vars, true), Body: expand(m.Body, vars, true)}
		msg.Body = Join(msg.Body, Words("\n\n"), reminder(a))
	} else {
		msg = Render(m, Variables(a))
	}
	msg.Title = Join(Words(prefix(a.State)), msg.Title)
	return msg
}

// Lost reports that an alert comes without what matched. Only a later state of
// an alert can: what it is made from is kept within bounds.
func Lost(a *alert.Alert) bool { return len(a.Variables) == 0 && a.State != alert.Fired }

func prefix(s alert.State) string {
	switch s {
	case alert.Retracted:
		return "Retracted: "
	case alert.Reinstated:
		return "Reinstated: "
	case alert.Confirmed:
		return "Confirmed: "
	default:
		return ""
	}
}

// Variables are the template variables of an alert: those of the match (spec
// triggers-and-notifications §3) and, where the match has none of that name,
// alert.id, alert.state, block.number, block.hash and network.slug.
func Variables(a *alert.Alert) map[string]string {
	vars := map[string]string{
		"alert.id":     a.ID.String(),
		"alert.state":  a.State.String(),
		"block.number": strconv.FormatUint(a.Block.Height, 10),
		"block.hash":   a.Block.Hash.String(),
		"network.slug": a.NetworkSlug,
	}
	maps.Copy(vars, a.Variables)
	return vars
}

// remembered are the variables of an alert that comes without its own.
func remembered(a *alert.Alert) map[string]string {
	vars := Variables(a)
	vars["monitor.name"] = monitor(a)
	if a.Tx != "" {
		vars["transaction.hash"], vars["transaction.signature"] = a.Tx, a.Tx
	}
	return vars
}

func monitor(a *alert.Alert) string { return cmp.Or(a.MonitorName, a.MonitorID) }

// reminder tells which alert this is, when its message cannot.
func reminder(a *alert.Alert) Text {
	text := "This is about alert ${alert.id} of monitor ${monitor.name}: "
	if a.Tx != "" {
		text += "transaction ${transaction.hash} "
	}
	return Expand(text+"in block ${block.number} of ${network.slug}. What matched was too large to be kept.", remembered(a))
}
