package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// list is what an operator allows or denies.
type list struct {
	prefixes []netip.Prefix
	single   map[netip.Addr]bool // of prefixes, those that were given as one address
	names    map[string]bool
	suffixes []string // with the dot in front
}

// parseList reads entries: CIDR ranges, addresses, host names, or "*.suffix".
func parseList(option string, entries []string) (list, error) {
	l := list{single: map[netip.Addr]bool{}, names: map[string]bool{}}
	for _, entry := range entries {
		if err := l.add(strings.TrimSpace(entry)); err != nil {
			return list{}, fmt.Errorf("%s %q: %w", option, entry, err)
		}
	}
	return l, nil
}

func (l *list) add(entry string) error {
	const want = "want a range like 10.1.0.0/16, an address, or a host name like hooks.example.com or *.example.com"
	if strings.Contains(entry, "/") {
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			return fmt.Errorf("not a range: %s", want)
		}
		if p != p.Masked() {
			return fmt.Errorf("the range begins at %s: write %s", p.Masked().Addr(), p.Masked())
		}
		l.prefixes = append(l.prefixes, unmapped(p))
		return nil
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]")); err == nil {
		if a.Zone() != "" {
			return fmt.Errorf("an address is listed without its zone: write %s", a.WithZone(""))
		}
		a = a.Unmap()
		l.prefixes = append(l.prefixes, netip.PrefixFrom(a, a.BitLen()))
		l.single[a] = true
		return nil
	}
	name, below := strings.CutPrefix(entry, "*.")
	name = plainName(name)
	if why := badName(name); why != "" {
		return fmt.Errorf("%s: %s", why, want)
	}
	if below {
		l.suffixes = append(l.suffixes, "."+name)
	} else {
		l.names[name] = true
	}
	return nil
}

// unmapped is an IPv4 range that was written within ::ffff:0:0/96.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func (l *list) contains(a netip.Addr) bool {
	for _, p := range l.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// names reports whether a host is listed by its name.
func (l *list) named(host string) bool {
	if l.names[host] {
		return true
	}
	for _, s := range l.suffixes {
		if strings.HasSuffix(host, s) && len(host) > len(s) {
			return true
		}
	}
	return false
}

// plainName is a name as it is compared: in lower case, without the dot that
// makes it absolute.
func plainName(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// badName says why a text is no host name, if it is none. What ends in a number
// is refused as well: systems disagree on whether "2130706433", "0x7f.1" and
// "0177.0.0.1" are addresses, and all who read them so mean 127.0.0.1.
func badName(name string) string {
	if name == "" {
		return "the host is empty"
	}
	if len(name) > 253 {
		return "the name is too long"
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "not a host name"
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return "not a host name"
			}
		}
		last = label
	}
	digits, hex := strings.CutPrefix(last, "0x")
	set := "0123456789"
	if hex {
		set += "abcdef"
	}
	if strings.Trim(digits, set) == "" {
		return "a host that ends in a number must be an IP address in its usual form, like 192.0.2.1"
	}
	return ""
}
