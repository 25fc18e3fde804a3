package egress

import (
	"encoding/binary"
	"net/netip"
)

// rule is why an address is refused by default. The empty one is no reason.
type rule string

// The rules, as errors and metrics spell them.
const (
	ruleDenied    rule = "denied"     // by --egress-deny
	ruleOwn       rule = "cluster"    // an address of the cluster itself
	ruleMetadata  rule = "metadata"   // the cloud's metadata service
	rulePrivate   rule = "private"    // RFC 1918, RFC 4193
	ruleLoopback  rule = "loopback"   //
	ruleLinkLocal rule = "link-local" //
	ruleMulticast rule = "multicast"  //
	ruleUnset     rule = "unspecified"
	ruleBroadcast rule = "broadcast"
	ruleShared    rule = "shared"   // carrier-grade NAT, RFC 6598
	ruleReserved  rule = "reserved" // documentation, benchmarking, protocol assignments, not yet given out
	ruleMalformed rule = "malformed"
)

// words say a rule to people.
var words = map[rule]string{
	ruleDenied:    "denied by --egress-deny",
	ruleOwn:       "an address of this cluster itself",
	ruleMetadata:  "a metadata service",
	rulePrivate:   "a private address",
	ruleLoopback:  "a loopback address",
	ruleLinkLocal: "a link-local address",
	ruleMulticast: "a multicast address",
	ruleUnset:     "an unspecified address",
	ruleBroadcast: "a broadcast address",
	ruleShared:    "an address of carrier-grade NAT",
	ruleReserved:  "a reserved address",
	ruleMalformed: "not a host",
}

type ruledRange struct {
	prefix netip.Prefix
	rule   rule
}

// ranges are those of IANA's registries of special-purpose addresses that are
// not globally reachable, the first that contains an address counts.
var ranges = []ruledRange{
	{netip.MustParsePrefix("0.0.0.0/32"), ruleUnset},
	{netip.MustParsePrefix("0.0.0.0/8"), ruleReserved},
	{netip.MustParsePrefix("10.0.0.0/8"), rulePrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), ruleShared},
	{netip.MustParsePrefix("127.0.0.0/8"), ruleLoopback},
	{netip.MustParsePrefix("169.254.0.0/16"), ruleLinkLocal},
	{netip.MustParsePrefix("172.16.0.0/12"), rulePrivate},
	{netip.MustParsePrefix("192.0.0.0/24"), ruleReserved}, // protocol assignments
	{netip.MustParsePrefix("192.0.2.0/24"), ruleReserved}, // documentation
	{netip.MustParsePrefix("192.31.196.0/24"), ruleReserved},
	{netip.MustParsePrefix("192.52.193.0/24"), ruleReserved},
	{netip.MustParsePrefix("192.88.99.0/24"), ruleReserved}, // relays of 6to4
	{netip.MustParsePrefix("192.168.0.0/16"), rulePrivate},
	{netip.MustParsePrefix("192.175.48.0/24"), ruleReserved},
	{netip.MustParsePrefix("198.18.0.0/15"), ruleReserved},   // benchmarking
	{netip.MustParsePrefix("198.51.100.0/24"), ruleReserved}, // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), ruleReserved},  // documentation
	{netip.MustParsePrefix("224.0.0.0/4"), ruleMulticast},
	{netip.MustParsePrefix("255.255.255.255/32"), ruleBroadcast},
	{netip.MustParsePrefix("240.0.0.0/4"), ruleReserved},

	{netip.MustParsePrefix("::/128"), ruleUnset},
	{netip.MustParsePrefix("::1/128"), ruleLoopback},
	{netip.MustParsePrefix("fc00::/7"), rulePrivate},
	{netip.MustParsePrefix("fe80::/10"), ruleLinkLocal},
	{netip.MustParsePrefix("fec0::/10"), rulePrivate}, // site-local, before ULA
	{netip.MustParsePrefix("ff00::/8"), ruleMulticast},
	{netip.MustParsePrefix("2001:db8::/32"), ruleReserved}, // documentation
	{netip.MustParsePrefix("3fff::/20"), ruleReserved},     // documentation
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	protocolIPv6  = netip.MustParsePrefix("2001::/23") // Teredo, benchmarking, ORCHID, …
	teredo        = netip.MustParsePrefix("2001::/32")
	sixToFour     = netip.MustParsePrefix("2002::/16")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	compatible    = netip.MustParsePrefix("::/96")
	translated    = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
)

// metadata are addresses at which clouds tell machines what they are and which
// keys they have. One of them is not in any special range.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("169.254.169.254"): true, // AWS, Google, Azure, Oracle and others
	netip.MustParseAddr("169.254.169.253"): true, // AWS, names
	netip.MustParseAddr("169.254.170.2"):   true, // AWS, tasks
	netip.MustParseAddr("169.254.170.23"):  true, // AWS, pods
	netip.MustParseAddr("169.254.42.42"):   true, // Scaleway
	netip.MustParseAddr("169.254.0.23"):    true, // Tencent
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd00:ec2::253"):   true,
	netip.MustParseAddr("fd00:ec2::23"):    true,
	netip.MustParseAddr("fd20:ce::254"):    true, // Google
	netip.MustParseAddr("fd00:42::42"):     true, // Scaleway
	netip.MustParseAddr("fe80::a9fe:a9fe"): true, // OpenStack
}

// metadataNames are the names of the same services.
var metadataNames = map[string]bool{
	"metadata": true, "metadata.google.internal": true, "metadata.goog": true, "metadata.azure.internal": true,
	"metadata.tencentyun.com": true, "metadata.platformequinix.com": true,
	"instance-data": true, "instance-data.ec2.internal": true,
}

// byRange is why an address is refused by where it lies.
func byRange(a netip.Addr) rule {
	if metadata[a] {
		return ruleMetadata
	}
	for _, r := range ranges {
		if r.prefix.Contains(a) {
			return r.rule
		}
	}
	switch {
	case a.Is4(), teredo.Contains(a), nat64.Contains(a):
		return "" // the latter two are as good as what they carry
	case protocolIPv6.Contains(a), !globalUnicast.Contains(a):
		return ruleReserved
	}
	return ""
}

// forms are the addresses that a connection to a may end at: itself and the
// IPv4 addresses that it carries, which a gateway would unwrap.
func forms(a netip.Addr) []netip.Addr {
	a = a.Unmap().WithZone("")
	out := []netip.Addr{a}
	if !a.Is6() {
		return out
	}
	b := a.As16()
	inside := func(part []byte) { out = append(out, netip.AddrFrom4([4]byte(part))) }
	switch {
	case a.IsUnspecified() || a.IsLoopback(): // in ::/96, but nothing of IPv4
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		inside(b[12:])
	case sixToFour.Contains(a):
		inside(b[2:6])
	case teredo.Contains(a):
		inside(b[4:8]) // the server
		client := binary.BigEndian.AppendUint32(nil, ^binary.BigEndian.Uint32(b[12:]))
		inside(client)
	}
	// ISATAP, under any prefix.
	if id := binary.BigEndian.Uint32(b[8:12]); id == 0x00005efe || id == 0x02005efe {
		inside(b[12:])
	}
	return out
}
