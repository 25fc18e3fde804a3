package notify

import "hash/maphash"

// endpoint is what fails, or is limited, as one: a tenant's address with the
// key it is used with. A service counts by key (one incoming webhook of Slack,
// one bot), and a new key is a new chance. Of what is secret only a hash is
// kept, and that depends on the process.
type endpoint struct {
	tenant, kind string
	sum          uint64
}

var endpointSeed = maphash.MakeSeed()

// endpointOf tells where a notification goes. Further parts distinguish places
// behind one key.
func endpointOf(n *Notification, parts ...string) endpoint {
	var h maphash.Hash
	h.SetSeed(endpointSeed)
	add := func(s string) {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	add(Destination(n.Trigger))
	for _, s := range n.Trigger.Secrets() {
		add(s.Value)
	}
	for _, p := range parts {
		add(p)
	}
	return endpoint{tenant: n.Alert.Tenant, kind: n.Trigger.Type, sum: h.Sum64()}
}

// place is endpointOf with what the type of trigger has besides its keys.
func place(n *Notification) endpoint {
	if t := n.Trigger.Telegram; t != nil {
		return endpointOf(n, t.ChatID)
	}
	return endpointOf(n)
}
