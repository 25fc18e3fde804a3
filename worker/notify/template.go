package notify

import (
	"slices"
	"strconv"
	"strings"
)

// Expand replaces ${name} by the variable of that name, in one pass: what was
// put in is never looked at again. Placeholders without a variable stay as
// they are. ${events} and ${functions} give a summary of what matched, or
// nothing (spec triggers-and-notifications §3).
func Expand(template string, vars map[string]string) Text {
	return expand(template, vars, false)
}

// expand is Expand; where values were lost, it writes "…" for placeholders
// without a variable.
func expand(template string, vars map[string]string, lost bool) Text {
	var b builder
	for {
		end := strings.IndexByte(template, '}')
		if end < 0 {
			break
		}
		// The innermost opening before a closing brace is the placeholder:
		// "${a${b}" holds ${b}.
		start := strings.LastIndex(template[:end], "${")
		if start < 0 {
			b.literal(template[:end+1])
			template = template[end+1:]
			continue
		}
		b.literal(template[:start])
		name := template[start+2 : end]
		value, known := vars[name]
		switch {
		case known:
			b.value(value)
		case name == "events":
			b.summary("Events", "events.", vars)
		case name == "functions":
			b.summary("Functions", "functions.", vars)
		case lost:
			b.literal("…")
		default:
			b.literal(template[start : end+1])
		}
		template = template[end+1:]
	}
	b.literal(template)
	return b.done()
}

// Substitute is the text of Expand.
func Substitute(template string, vars map[string]string) string {
	return Expand(template, vars).String()
}

type builder struct {
	strings.Builder
	values []Span
}

func (b *builder) done() Text { return Text{text: b.String(), values: b.values} }

func (b *builder) literal(s string) { b.WriteString(s) }

func (b *builder) value(s string) {
	if s == "" {
		return
	}
	start := b.Len()
	b.WriteString(s)
	b.values = append(b.values, Span{start, b.Len()})
}

// summary writes what matched of one kind. Entries are the variables
// <prefix>N.signature with an integer N, in numeric order.
func (b *builder) summary(title, prefix string, vars map[string]string) {
	entries := matched(prefix, vars)
	if len(entries) == 0 {
		return
	}
	b.literal("\n\n*Matched " + title + ":*\n")
	for k, e := range entries {
		if k > 0 {
			b.literal("\n")
		}
		b.literal("\n*Reason " + strconv.Itoa(k+1) + "*\n\n*Signature:* `")
		b.value(e.signature)
		b.literal("`\n\n*Params:*\n")
		for _, p := range e.params {
			b.literal("\n")
			b.value(p.name)
			b.literal(": `")
			b.value(p.value)
			b.literal("`")
		}
	}
}

type entry struct {
	n         uint64
	text      string // N as written in the variable's name
	signature string
	params    []param
}

type param struct{ name, value string }

// matched collects the entries of one kind from the flat variables: by N, and
// the parameters of each bytewise by name. Parameters of an N that has no
// signature are left out.
func matched(prefix string, vars map[string]string) []entry {
	params := make(map[string][]param)
	var entries []entry
	for name, value := range vars {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		index, field, ok := strings.Cut(rest, ".")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(index, 10, 64)
		if err != nil {
			continue
		}
		if field == "signature" {
			entries = append(entries, entry{n: n, text: index, signature: value})
		} else if p, ok := strings.CutPrefix(field, "args."); ok {
			params[index] = append(params[index], param{p, value})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.n != b.n {
			if a.n < b.n {
				return -1
			}
			return 1
		}
		return strings.Compare(a.text, b.text)
	})
	for i := range entries {
		e := &entries[i]
		e.params = params[e.text]
		slices.SortFunc(e.params, func(a, b param) int { return strings.Compare(a.name, b.name) })
	}
	return entries
}
