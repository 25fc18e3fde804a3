package notify

import (
	"maps"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

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
// the case that something has happened.
func Compose(a *alert.Alert, m spec.Message) Message {
	vars := Variables(a)
	msg := Render(m, vars)
	switch a.State {
	case alert.Retracted:
		msg.Title = msg.Title.after("Retracted: ")
	case alert.Reinstated:
		msg.Title = msg.Title.after("Reinstated: ")
	}
	return msg
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

// after is the text with words of ours in front.
func (t Text) after(prefix string) Text {
	return join(Text{text: prefix}, t)
}

// join concatenates texts, keeping track of values.
func join(parts ...Text) Text {
	var out Text
	for _, p := range parts {
		at := len(out.text)
		out.text += p.text
		for _, v := range p.values {
			out.values = append(out.values, span{at + v.start, at + v.end})
		}
	}
	return out
}

// cut shortens a text to a number of UTF-16 code units, the measure of chat
// services, ending what it had to cut in "…". It never splits a character.
func (t Text) cut(limit int) Text {
	if t.units() <= limit {
		return t
	}
	units, end := 0, 0
	for end < len(t.text) {
		r, size := utf8.DecodeRuneInString(t.text[end:])
		if units+utf16.RuneLen(r) > limit-1 { // one is kept for the ellipsis
			break
		}
		units += utf16.RuneLen(r)
		end += size
	}
	out := Text{text: t.text[:end] + "…"}
	for _, v := range t.values {
		if v.start < end {
			out.values = append(out.values, span{v.start, min(v.end, end)})
		}
	}
	return out
}

// units is the length of a text in UTF-16 code units.
func (t Text) units() int {
	n := 0
	for _, r := range t.text {
		n += utf16.RuneLen(r)
	}
	return n
}
