package egress

import (
	"context"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// However an IPv4 address is wrapped, nothing that is refused plainly passes.
func TestEgressWrappedAddresses(t *testing.T) {
	g := (&world{}).guard(t, Options{})
	rapid.Check(t, func(t *rapid.T) {
		v4 := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4"))
		if rapid.Bool().Draw(t, "loopback") {
			v4[0] = 127
		}
		plain := netip.AddrFrom4(v4)
		refused := g.judge("", plain, 80) != ""
		sixteen := func(set func(*[16]byte)) netip.Addr {
			b := netip.MustParseAddr("2606:4700::").As16()
			set(&b)
			return netip.AddrFrom16(b)
		}
		for name, a := range map[string]netip.Addr{
			"mapped":     netip.AddrFrom16(plain.As16()),
			"zone":       netip.AddrFrom16(plain.As16()).WithZone("eth0"),
			"compatible": sixteen(func(b *[16]byte) { *b = [16]byte{12: v4[0], v4[1], v4[2], v4[3]} }),
			"6to4":       sixteen(func(b *[16]byte) { *b = [16]byte{0x20, 0x02, v4[0], v4[1], v4[2], v4[3], 15: 1} }),
			"nat64":      sixteen(func(b *[16]byte) { *b = [16]byte{0, 0x64, 0xff, 0x9b, 12: v4[0], v4[1], v4[2], v4[3]} }),
			"teredo": sixteen(func(b *[16]byte) {
				*b = [16]byte{0x20, 1, 4: 8, 8, 8, 8, 12: ^v4[0], ^v4[1], ^v4[2], ^v4[3]}
			}),
			"isatap": sixteen(func(b *[16]byte) { copy(b[10:], []byte{0x5e, 0xfe, v4[0], v4[1], v4[2], v4[3]}) }),
		} {
			got := g.judge("", a, 80) != ""
			if refused && !got {
				t.Fatalf("%s is refused, but as %s, %s, it passes", plain, name, a)
			}
			if !refused && got && name != "compatible" {
				t.Fatalf("%s passes, but as %s, %s, it is refused", plain, name, a)
			}
		}
	})
}

func FuzzEgressDial(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", "[::1%lo]:80", "2130706433:1", "a.example:443", "0x7f.1:80", "[::ffff:10.0.0.1]:80", "", ":", "a:b:c", "8.8.8.8:53"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		w := &world{}
		g, err := New(Options{Resolver: everywhere{}, Dialer: w.dial})
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := g.Dial(t.Context(), "tcp", address); err == nil {
			_ = conn.Close()
		}
		for _, d := range w.dialled {
			a := netip.MustParseAddrPort(d)
			if a.Addr().IsPrivate() || a.Addr().IsLoopback() || a.Addr().IsUnspecified() || a.Addr().Is4In6() {
				t.Fatalf("%q: dialled %s", address, d)
			}
		}
	})
}

// everywhere resolves every name to a public and an inner address.
type everywhere struct{}

func (everywhere) Resolve(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("1.1.1.1")}, nil
}
