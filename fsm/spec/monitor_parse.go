package spec

import "math"

// ParseMonitor reads a monitor document. The monitor is nil when a problem is
// an error. What it refers to is checked by ReadFolder and CheckReferences.
func ParseMonitor(data []byte, opts ...Option) (*Monitor, Problems) {
	w, root := newWalk(data, newOptions(opts))
	m := readMonitor(root)
	return accepted(w, m)
}

func readMonitor(root node) *Monitor {
	o := root.object()
	if o == nil {
		return nil
	}
	m := &Monitor{
		Name:                o.nonEmpty("name"),
		Addresses:           []Address{},
		TriggerConditions:   []TriggerCondition{},
		ChainConfigurations: []ChainConfiguration{},
	}
	networks := o.required("networks", "an array of strings")
	var ok bool
	if m.Networks, ok = networks.texts(); ok && isEmptyArray(networks.raw) {
		networks.fail("is empty, expected at least one network")
	}
	m.Paused = o.boolean("paused")
	o.list("addresses", func(item node) { m.Addresses = append(m.Addresses, readAddress(item)) })
	m.Match = readMatchConditions(o.required("match_conditions", "an object"))
	o.list("trigger_conditions", func(item node) {
		m.TriggerConditions = append(m.TriggerConditions, readScript(item))
	})
	m.Triggers = o.texts("triggers")
	o.optional("chain_configurations").list(func(item node) {
		m.ChainConfigurations = append(m.ChainConfigurations, readChainConfiguration(item))
	})
	m.Mode, _ = o.optional("mode").oneOf(ModeInstant, ModeConfirmed, ModeBoth, ModeFinalized)
	o.done()
	return m
}

func isEmptyArray(raw []byte) bool {
	first, _ := nextValue(raw[1:])
	return first == nil
}

func readAddress(n node) Address {
	o := n.object()
	if o == nil {
		return Address{}
	}
	a := Address{Address: o.text("address")}
	a.ContractSpec, a.SpecChain = readContractSpec(o.optional("contract_spec"))
	o.done()
	return a
}

func readMatchConditions(n node) MatchConditions {
	c := MatchConditions{Functions: []Signature{}, Events: []Signature{}, Transactions: []Transaction{}}
	o := n.object()
	o.list("functions", func(item node) { c.Functions = append(c.Functions, readSignature(item)) })
	o.list("events", func(item node) { c.Events = append(c.Events, readSignature(item)) })
	o.list("transactions", func(item node) { c.Transactions = append(c.Transactions, readTransaction(item)) })
	o.done()
	return c
}

func readSignature(n node) Signature {
	o := n.object()
	if o == nil {
		return Signature{}
	}
	s := Signature{Signature: o.text("signature"), Expression: o.optionalText("expression")}
	o.done()
	return s
}

func readTransaction(n node) Transaction {
	o := n.object()
	if o == nil {
		return Transaction{}
	}
	status, _ := o.required("status", "a string").oneOf(StatusAny, StatusSuccess, StatusFailure)
	t := Transaction{Status: status, Expression: o.optionalText("expression")}
	o.done()
	return t
}

func readChainConfiguration(n node) ChainConfiguration {
	var c ChainConfiguration
	o := n.object()
	if o == nil {
		return c
	}
	c.EVM = readNoSettings(o.optional("evm"))
	c.Stellar = readNoSettings(o.optional("stellar"))
	c.Solana = readNoSettings(o.optional("solana"))
	if settings := o.optional("midnight").object(); settings != nil {
		c.Midnight = &MidnightConfiguration{ViewingKeys: []Secret{}}
		settings.optional("viewing_keys").list(func(item node) {
			key := readSecret(item)
			item.resolve(key)
			c.Midnight.ViewingKeys = append(c.Midnight.ViewingKeys, key)
		})
		settings.doneLoosely()
	}
	o.doneLoosely()
	return c
}

// readNoSettings reads the empty object of a chain without settings.
func readNoSettings(n node) (given bool) {
	o := n.object()
	o.doneLoosely()
	return o != nil
}

// readScript reads a trigger condition or the config of a script trigger,
// which have the same fields.
func readScript(n node) Script {
	o := n.object()
	if o == nil {
		return Script{}
	}
	var s Script
	path := o.required("script_path", "a string")
	s.ScriptPath, _ = path.text()
	s.Language, _ = o.required("language", "a string").oneOf(JavaScript, Python, Bash)
	if list, ok := o.optional("arguments").texts(); ok {
		s.Arguments = list
	}
	s.TimeoutMS = uint32(o.whole("timeout_ms", 1, math.MaxUint32))
	o.done()
	checkScript(path, s)
	return s
}
