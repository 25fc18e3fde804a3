package spec

import "math"

// object is a JSON object being read field by field. Every field asked for is a
// known one; done reports the rest.
type object struct {
	node
	members []member
	index   map[string]int // position in members, once there are many
	known   []string
}

// manyMembers is where a map beats looking at every member in turn.
const manyMembers = 16

type member struct {
	key  string
	raw  []byte
	used bool
}

// object reads the node as an object; nil when it is none. Keys given twice
// are a problem.
func (n node) object() *object {
	if !n.ok() {
		return nil
	}
	if n.raw[0] != '{' {
		n.fail("found %s, expected an object", n.found())
		return nil
	}
	o := &object{node: n}
	rest := n.raw[1:]
	for {
		var key, value []byte
		if key, rest = nextValue(rest); key == nil {
			break
		}
		value, rest = nextValue(rest)
		m := member{key: unquote(key), raw: value}
		if o.find(m.key) != nil {
			o.child(m.key, m.raw).fail("is given twice in one object")
			continue
		}
		o.add(m)
	}
	return o
}

func (o *object) add(m member) {
	o.members = append(o.members, m)
	switch n := len(o.members); {
	case n == manyMembers:
		o.index = make(map[string]int, 2*n)
		for i := range o.members {
			o.index[o.members[i].key] = i
		}
	case n > manyMembers:
		o.index[m.key] = n - 1
	}
}

func (o *object) find(key string) *member {
	if o.index != nil {
		if i, ok := o.index[key]; ok {
			return &o.members[i]
		}
		return nil
	}
	for i := range o.members {
		if o.members[i].key == key {
			return &o.members[i]
		}
	}
	return nil
}

func (o *object) child(key string, raw []byte) node {
	return node{w: o.w, parent: &o.node, key: key, index: -1, raw: raw}
}

// optional is the field, unusable when it is absent or null.
func (o *object) optional(key string) node {
	if o == nil {
		return node{}
	}
	o.known = append(o.known, key)
	n := o.child(key, nil)
	if m := o.find(key); m != nil {
		m.used = true
		n.raw = m.raw
	}
	if n.isNull() {
		n.raw = nil
	}
	return n
}

// required is the field; absence and null are problems.
func (o *object) required(key, what string) node {
	if o == nil {
		return node{}
	}
	n := o.optional(key)
	if n.ok() {
		return n
	}
	if o.find(key) != nil {
		n.fail("found null, expected %s", what)
		return n
	}
	n.fail("is missing, expected %s", what)
	return n
}

func (o *object) text(key string) string {
	s, _ := o.required(key, "a string").text()
	return s
}

// nonEmpty is a required string with at least one character.
func (o *object) nonEmpty(key string) string {
	n := o.required(key, "a string")
	s, ok := n.text()
	if ok && s == "" {
		n.fail("is empty")
	}
	return s
}

func (o *object) optionalText(key string) *string {
	if s, ok := o.optional(key).text(); ok {
		return &s
	}
	return nil
}

func (o *object) boolean(key string) bool {
	b, _ := o.required(key, "true or false").boolean()
	return b
}

func (o *object) whole(key string, lo, hi uint64) uint64 {
	v, _ := o.required(key, "a whole number").whole(lo, hi)
	return v
}

func (o *object) whole32(key string, lo uint64) uint32 {
	return uint32(o.whole(key, lo, math.MaxUint32))
}

func (o *object) texts(key string) []string {
	list, _ := o.required(key, "an array of strings").texts()
	return list
}

// list calls each for every element of a required array.
func (o *object) list(key string, each func(node)) {
	o.required(key, "an array").list(each)
}

// unknown calls each for every field not asked for so far.
func (o *object) unknown(each func(node)) {
	if o == nil {
		return
	}
	for _, m := range o.members {
		if !m.used {
			each(o.child(m.key, m.raw))
		}
	}
}

// done reports the fields not asked for so far as problems.
func (o *object) done() {
	o.unknown(func(n node) {
		n.fail("is an unknown field%s", o.suggestion(n.key))
	})
}

// doneLoosely is done for objects in which the peer tolerates unknown fields.
func (o *object) doneLoosely() {
	o.unknown(func(n node) {
		n.warn("is an unknown field and has no effect%s", o.suggestion(n.key))
	})
}

// suggestion prefers fields that are not there: a misspelt field is missing.
func (o *object) suggestion(key string) string {
	var absent []string
	for _, k := range o.known {
		if o.find(k) == nil {
			absent = append(absent, k)
		}
	}
	if s := didYouMean(key, absent); s != "" {
		return s
	}
	return "; known fields are " + join(o.known)
}
