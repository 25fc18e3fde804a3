package spec

import (
	"math"
	"strings"
	"time"
)

// ParseNetwork reads a network document. The network is nil when a problem is
// an error.
func ParseNetwork(data []byte, opts ...Option) (*Network, Problems) {
	w, root := newWalk(data, newOptions(opts))
	n := readNetwork(root)
	return accepted(w, n)
}

// accepted drops what was read from a refused document: it has holes.
func accepted[T any](w *walk, doc *T) (*T, Problems) {
	if w.errors() > 0 {
		doc = nil
	}
	return doc, w.finish()
}

func readNetwork(root node) *Network {
	o := root.object()
	if o == nil {
		return nil
	}
	n := &Network{RPCURLs: []RPCURL{}}
	chain, _ := o.required("network_type", "a string").oneOf(string(EVM), string(Stellar), string(Midnight), string(Solana))
	n.Type = Chain(chain)
	n.Slug = readSlug(o.required("slug", "a string"))
	n.Name = o.nonEmpty("name")
	o.list("rpc_urls", func(item node) {
		n.RPCURLs = append(n.RPCURLs, readRPCURL(item, n.Type))
	})
	if id, ok := o.optional("chain_id").whole(0, math.MaxUint64); ok {
		n.ChainID = &id
	}
	n.NetworkPassphrase = o.optionalText("network_passphrase")
	n.BlockTime = milliseconds(o.required("block_time_ms", "a whole number"), 100)
	n.ConfirmationBlocks = o.whole("confirmation_blocks", 1, math.MaxUint64)
	n.Cron = readCron(o)
	past := o.optional("max_past_blocks")
	n.MaxPastBlocks = readPastBlocks(past)
	n.StoreBlocks, _ = o.optional("store_blocks").boolean()
	n.Recovery = readRecovery(o.optional("recovery_config"))
	n.PollInterval = readPollInterval(o.optional("poll_interval"))
	n.Watch = readWatch(o.optional("watch"))
	o.done()
	checkNetwork(n, o, past)
	return n
}

// MaxDepth is how many blocks deep a block is judged at most: reorganisations are
// followed twice as deep.
const MaxDepth = 512

// Depth is how deep a block must lie before monitors of the network judge it:
// its confirmation_blocks, at most MaxDepth.
func (n *Network) Depth() uint64 { return min(n.ConfirmationBlocks, MaxDepth) }

// checkNetwork warns of what is valid but hardly meant.
func checkNetwork(n *Network, o *object, past node) {
	if n.ConfirmationBlocks > MaxDepth {
		o.child("confirmation_blocks", nil).warn("found %d: blocks are judged %d deep at most", n.ConfirmationBlocks, MaxDepth)
	}
	usable := 0
	for _, u := range n.RPCURLs {
		if u.Weight > 0 {
			usable++
		}
	}
	if usable == 0 && n.Watch == "" && o.find("rpc_urls") != nil {
		o.child("rpc_urls", nil).warn("holds no endpoint of a weight above 0: the network cannot be watched")
	}
	if n.MaxPastBlocks == nil {
		return
	}
	if n.MaxPastBlocks.Unlimited {
		if n.StoreBlocks {
			past.warn("is unlimited while store_blocks is on: a long catch-up would store every block")
		}
		return
	}
	if n.BlockTime == 0 || n.ConfirmationBlocks == 0 {
		return
	}
	if want := n.RecommendedPastBlocks(o.w.now); n.MaxPastBlocks.N > 0 && n.MaxPastBlocks.N < want {
		past.warn("found %d, which is less than the recommended %d for this schedule and block time: blocks may be skipped", n.MaxPastBlocks.N, want)
	}
}

const slugChars = "abcdefghijklmnopqrstuvwxyz0123456789_"

func readSlug(n node) string {
	s, ok := n.text()
	switch {
	case !ok:
	case s == "":
		n.warn("is empty: give the network a slug of lower-case letters, digits and underscores")
	case !isSlug(s):
		n.fail("found %s, expected only lower-case letters, digits and underscores", quote(s))
	}
	return s
}

func isSlug(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(slugChars, s[i]) < 0 {
			return false
		}
	}
	return true
}

func readCron(o *object) string {
	n := o.required("cron_schedule", "a cron schedule")
	s, ok := n.text()
	if !ok {
		return ""
	}
	schedule, err := ParseSchedule(s)
	switch {
	case err != nil:
		n.fail("found %s: %v", quote(s), err)
	case schedule.Next(n.w.now).IsZero():
		n.warn("found %s, which never fires", quote(s))
	}
	return s
}

func readPastBlocks(n node) *PastBlocks {
	const want = `expected a whole number of at least 1 or "unlimited"`
	switch {
	case !n.ok():
		return nil
	case n.raw[0] == '"':
		if s := unquote(n.raw); s != "unlimited" {
			n.fail("found %s, %s%s", quote(s), want, didYouMean(s, []string{"unlimited"}))
			return nil
		}
		return &PastBlocks{Unlimited: true}
	case !isNumber(n.raw):
		n.fail("found %s, %s", n.found(), want)
		return nil
	default:
		v, ok := n.whole(1, math.MaxUint64)
		if !ok {
			return nil
		}
		return &PastBlocks{N: v}
	}
}

func readRecovery(n node) *Recovery {
	o := n.object()
	if o == nil {
		return nil
	}
	r := &Recovery{
		Enabled:         o.boolean("enabled"),
		Cron:            readCron(o),
		MaxBlocksPerRun: o.whole("max_blocks_per_run", 0, math.MaxUint64),
		MaxBlockAge:     o.whole("max_block_age", 0, math.MaxUint64),
		MaxRetries:      o.whole32("max_retries", 0),
		RetryDelay:      milliseconds(o.required("retry_delay_ms", "a whole number"), 0),
	}
	o.done()
	return r
}

func readRPCURL(n node, chain Chain) RPCURL {
	o := n.object()
	if o == nil {
		return RPCURL{}
	}
	types, schemes := []string{"rpc"}, []string{"http://", "https://", "ws://", "wss://"}
	if chain == Midnight {
		types, schemes = []string{"ws_rpc"}, []string{"ws://", "wss://"}
	}
	var u RPCURL
	kind := o.required("type_", "a string")
	if chain == "" { // already a problem of its own
		u.Type, _ = kind.text()
	} else {
		u.Type, _ = kind.oneOf(types...)
	}
	address := o.required("url", secretShape)
	u.URL = readSecret(address)
	if v, ok := address.resolve(u.URL); ok {
		switch {
		case !hasPrefix(v, schemes):
			address.fail("found an address that starts with none of %s", join(schemes))
		case hasPrefix(v, []string{"http://", "ws://"}):
			address.warn("%s is not encrypted: anyone on the way can read and change what is sent", Redact(v))
		}
	}
	u.Weight = uint32(o.whole("weight", 0, 100))
	o.done()
	return u
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

const minPollInterval = 100 * time.Millisecond

func readPollInterval(n node) time.Duration {
	d, ok := n.duration()
	if ok && d < minPollInterval {
		n.fail("found %v, expected at least %v", d, minPollInterval)
	}
	return d
}

func readWatch(n node) string {
	s, ok := n.text()
	if ok && (s == "" || !isSlug(s)) {
		n.fail("found %s, expected the slug of a shared network", quote(s))
	}
	return s
}
