package spec

// The notices say what is read and kept but has no effect here, so that nobody
// waits for it in vain.

func note(path, message string) Problem {
	return Problem{Path: path, Message: message, Severity: SeverityNotice}
}

// Notices says what of the network is kept but has no effect.
func (n *Network) Notices() Problems {
	var out Problems
	if !n.Type.Supported() {
		out = append(out, note("", "network "+n.Slug+": "+string(n.Type)+" is not supported yet: its monitors are kept but not run"))
	}
	if n.Recovery != nil {
		out = append(out, note("recovery_config", "has no effect: ozmo never skips a block, so there is nothing to recover"))
	}
	if n.StoreBlocks {
		out = append(out, note("store_blocks", "has no effect: ozmo does not need stored blocks"))
	}
	return out
}

// Notices says what of the monitor is kept but has no effect.
func (m *Monitor) Notices() Problems {
	var ps Problems
	if len(m.TriggerConditions) > 0 {
		ps = append(ps, note("trigger_conditions", "are not supported yet: they are kept but drop no match"))
	}
	return ps
}

// Notices says whether the trigger is kept but sends nothing.
func (t *Trigger) Notices() Problems {
	if t.Type != TriggerScript {
		return nil
	}
	return Problems{note("trigger_type", t.Type+" is not supported yet: the trigger is kept but sends nothing")}
}

// in names the file of every problem.
func (ps Problems) in(file string) Problems {
	for i := range ps {
		ps[i].File = file
	}
	return ps
}
