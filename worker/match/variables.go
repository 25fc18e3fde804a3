package match

import "strconv"

// Variables is the flat map that message templates draw from
// (triggers-and-notifications, section 3). Where an argument name repeats, the
// last one wins.
func (m *Match) Variables() map[string]string {
	vars := make(map[string]string, 8+4*len(m.MatchedOn.Events)+4*len(m.MatchedOn.Functions))
	vars["monitor.name"] = m.MonitorName
	for name, value := range m.Vars {
		vars["transaction."+name] = value
	}
	add := func(list string, on []Condition, args []Call) {
		for i := range on {
			at := list + "." + strconv.Itoa(i) + "."
			vars[at+"signature"] = on[i].Signature
			if i >= len(args) {
				continue
			}
			for _, a := range args[i].Args {
				vars[at+"args."+a.Name] = a.Value
			}
		}
	}
	add("functions", m.MatchedOn.Functions, m.Args.Functions)
	add("events", m.MatchedOn.Events, m.Args.Events)
	return vars
}
