package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world answers names and takes connections, and notes which.
type world struct {
	mu      sync.Mutex
	names   map[string][][]string // answers in order; the last one stays
	asked   []string
	dialled []string
	fail    map[string]error
	hang    map[string]bool
}

func (w *world) Resolve(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, host)
	host = strings.ToLower(host)
	answers := w.names[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		w.names[host] = answers[1:]
	}
	var out []netip.Addr
	for _, a := range answers[0] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	err, hang := w.fail[address], w.hang[address]
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	_ = there.Close()
	return here, nil
}

func (w *world) guard(t *testing.T, o Options) *Guard {
	t.Helper()
	o.Resolver, o.Dialer = w, w.dial
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// dial tells which addresses were dialled, and why none was.
func dial(t *testing.T, w *world, o Options, address string) ([]string, error) {
	t.Helper()
	w.dialled = nil
	conn, err := w.guard(t, o).Dial(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return w.dialled, err
}

func TestEgressRefusesByDefault(t *testing.T) {
	for host, want := range map[string]string{
		"10.0.0.1":                         "private",
		"172.16.0.1":                       "private",
		"172.31.255.255":                   "private",
		"192.168.1.1":                      "private",
		"127.0.0.1":                        "loopback",
		"127.255.255.254":                  "loopback",
		"169.254.1.1":                      "link-local",
		"0.0.0.0":                          "unspecified",
		"0.1.2.3":                          "reserved",
		"255.255.255.255":                  "broadcast",
		"224.0.0.1":                        "multicast",
		"239.255.255.255":                  "multicast",
		"240.0.0.1":                        "reserved",
		"100.64.0.1":                       "carrier-grade NAT",
		"100.127.255.255":                  "carrier-grade NAT",
		"192.0.0.8":                        "reserved",
		"192.0.2.1":                        "reserved",
		"198.18.0.1":                       "reserved",
		"198.19.255.255":                   "reserved",
		"198.51.100.7":                     "reserved",
		"203.0.113.9":                      "reserved",
		"192.88.99.1":                      "reserved",
		"169.254.169.254":                  "metadata",
		"100.100.100.200":                  "metadata",
		"168.63.129.16":                    "metadata",
		"::":                               "unspecified",
		"::1":                              "loopback",
		"fd00::1":                          "private",
		"fc00::1":                          "private",
		"fec0::1":                          "private",
		"fe80::1":                          "link-local",
		"ff02::1":                          "multicast",
		"fd00:ec2::254":                    "metadata",
		"2001:db8::1":                      "reserved",
		"3fff::1":                          "reserved",
		"2001:2::1":                        "reserved", // benchmarking
		"100::1":                           "reserved", // discard only
		"4000::1":                          "reserved", // not given out
		"64:ff9b:1::808:808":               "reserved", // local-use translation
		"::ffff:127.0.0.1":                 "loopback",
		"::ffff:a9fe:a9fe":                 "metadata",
		"::127.0.0.1":                      "reserved",
		"::8.8.8.8":                        "reserved",
		"::ffff:0:8.8.8.8":                 "reserved",
		"2002:7f00:1::1":                   "loopback", // 6to4
		"2002:a00:1::":                     "private",
		"2002:a9fe:a9fe::":                 "metadata",
		"64:ff9b::127.0.0.1":               "loopback", // NAT64
		"64:ff9b::a9fe:a9fe":               "metadata",
		"2001:0:7f00:1:0:0:f7f7:f7f7":      "loopback", // Teredo: its server
		"2001:0:808:808:0:0:80ff:fffe":     "loopback", // its client, 127.0.0.1 inverted
		"2001:0:808:808:0:0:5601:5601":     "metadata",
		"2606:4700::5efe:7f00:1":           "loopback", // ISATAP
		"2606:4700::200:5efe:a9fe:a9fe":    "metadata",
		"fe80::1%eth0":                     "link-local",
		"::1%lo":                           "loopback",
		"::ffff:127.0.0.1%1":               "loopback",
		"fd00:ec2::254%eth0":               "metadata",
		"2130706433":                       "usual form",
		"0177.0.0.1":                       "usual form",
		"0x7f.1":                           "usual form",
		"0x7f000001":                       "usual form",
		"0X7F000001":                       "usual form",
		"127.1":                            "usual form",
		"127.0.0.1.":                       "usual form",
		"0":                                "usual form",
		"017700000001":                     "usual form",
		"evil.example.0x":                  "usual form",
		"256.256.256.256":                  "usual form",
		"":                                 "empty",
		".":                                "empty",
		"a..b":                             "not a host name",
		"a.example..":                      "not a host name",
		"a b":                              "not a host name",
		"ⓛocalhost":                        "not a host name",
		"127。0。0。1":                        "not a host name",
		"a.example%00.b":                   "not a host name",
		"[::1]":                            "", // SplitHostPort takes no further brackets
		"metadata":                         "metadata",
		"metadata.google.internal":         "metadata",
		"METADATA.google.internal.":        "metadata",
		"instance-data":                    "metadata",
		strings.Repeat("a", 64) + ".b":     "not a host name",
		strings.Repeat("a.", 127) + "abcd": "too long",
	} {
		w := &world{names: map[string][][]string{host: {{"8.8.8.8"}}}}
		dialled, err := dial(t, w, Options{}, net.JoinHostPort(host, "443"))
		if !errors.Is(err, notify.ErrForbidden) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want a refusal that says %q", host, err, want)
		}
		if len(dialled)+len(w.asked) > 0 {
			t.Errorf("%q: dialled %v, resolved %v", host, dialled, w.asked)
		}
		if g := w.guard(t, Options{}); want != "" && g.Check(host) == nil {
			t.Errorf("%q: Check lets it pass", host)
		}
		// What is refused is refused under a name as well.
		if a, err := netip.ParseAddr(host); err == nil {
			w := &world{names: map[string][][]string{"a.example": {{a.String()}}}}
			dialled, err := dial(t, w, Options{}, "a.example:443")
			if !errors.Is(err, notify.ErrForbidden) || len(dialled) > 0 || strings.Contains(err.Error(), host) {
				t.Errorf("a name for %s: dialled %v, %v", host, dialled, err)
			}
		}
	}
}

func TestEgressDialsWhatIsPublic(t *testing.T) {
	for host, want := range map[string]string{
		"8.8.8.8":                      "8.8.8.8:443",
		"::ffff:8.8.8.8":               "8.8.8.8:443",
		"100.63.255.255":               "100.63.255.255:443",
		"172.32.0.1":                   "172.32.0.1:443",
		"2606:4700::1111":              "[2606:4700::1111]:443",
		"64:ff9b::8.8.8.8":             "[64:ff9b::808:808]:443",
		"2002:808:808::1":              "[2002:808:808::1]:443",
		"2001:0:808:808:0:0:f7f7:f7f7": "[2001:0:808:808::f7f7:f7f7]:443",
		"a.example":                    "1.1.1.1:443",
		"a.example.":                   "1.1.1.1:443",
		"A.Example":                    "1.1.1.1:443",
		"xn--bcher-kva.example":        "1.1.1.1:443",
		"4.example":                    "1.1.1.1:443",
		"0x7f.example":                 "1.1.1.1:443",
	} {
		w := &world{names: map[string][][]string{strings.ToLower(host): {{"1.1.1.1"}}}}
		dialled, err := dial(t, w, Options{}, net.JoinHostPort(host, "443"))
		if err != nil || len(dialled) != 1 || dialled[0] != want {
			t.Errorf("%q: dialled %v, %v, want %s", host, dialled, err, want)
		}
		if err := w.guard(t, Options{}).Check(host); err != nil {
			t.Errorf("%q: Check: %v", host, err)
		}
	}
}

func TestEgressRefusesOtherNetworksAndPorts(t *testing.T) {
	w := &world{}
	g := w.guard(t, Options{})
	for _, c := range [][2]string{
		{"udp", "8.8.8.8:53"},
		{"unix", "/run/ozmo.sock"},
		{"tcp", "8.8.8.8:0"},
		{"tcp", "8.8.8.8:65536"},
		{"tcp", "8.8.8.8:http"},
		{"tcp", "8.8.8.8"},
		{"tcp", ":443"},
		{"ip", "8.8.8.8:1"},
	} {
		if _, err := g.Dial(t.Context(), c[0], c[1]); !errors.Is(err, notify.ErrForbidden) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if len(w.dialled) > 0 {
		t.Errorf("dialled %v", w.dialled)
	}
}

// A name server that answers with a public address first, and with an inner
// one when asked again, is asked once: what was judged is what is dialled.
func TestEgressDNSRebinding(t *testing.T) {
	w := &world{names: map[string][][]string{"rebind.example": {{"93.184.215.14"}, {"127.0.0.1"}}}}
	dialled, err := dial(t, w, Options{}, "rebind.example:80")
	if err != nil || len(dialled) != 1 || dialled[0] != "93.184.215.14:80" || len(w.asked) != 1 {
		t.Fatalf("dialled %v after asking %v: %v", dialled, w.asked, err)
	}
	// The next connection sees the other answer, and is not made.
	dialled, err = dial(t, w, Options{}, "rebind.example:80")
	if !errors.Is(err, notify.ErrForbidden) || len(dialled) != 0 {
		t.Fatalf("dialled %v: %v", dialled, err)
	}
}

func TestEgressJudgesEveryCandidate(t *testing.T) {
	w := &world{names: map[string][][]string{"mixed.example": {{"127.0.0.1", "::1", "1.1.1.1", "10.0.0.1", "2606:4700::1111"}}}}
	w.fail = map[string]error{"1.1.1.1:25": errors.New("refused")}
	dialled, err := dial(t, w, Options{}, "mixed.example:25")
	if err != nil || len(dialled) != 2 || dialled[0] != "1.1.1.1:25" || dialled[1] != "[2606:4700::1111]:25" {
		t.Errorf("dialled %v: %v", dialled, err)
	}
	// Only of the wanted family.
	w = &world{names: map[string][][]string{"mixed.example": {{"1.1.1.1", "::1"}}}}
	if _, err := w.guard(t, Options{}).Dial(t.Context(), "tcp6", "mixed.example:25"); !errors.Is(err, notify.ErrForbidden) || len(w.dialled) > 0 {
		t.Errorf("dialled %v: %v", w.dialled, err)
	}
}

func TestEgressAllowAndDeny(t *testing.T) {
	names := map[string][][]string{
		"in.example":     {{"10.1.2.3"}},
		"x.corp.example": {{"10.1.2.3"}},
		"corp.example":   {{"10.1.2.3"}},
		"meta.example":   {{"169.254.169.254"}},
		"metadata":       {{"169.254.169.254"}},
		"own.example":    {{"10.9.9.9"}},
		"a.example":      {{"1.1.1.1"}},
	}
	own := func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("10.9.9.9:7000"), netip.MustParseAddrPort("[::ffff:9.9.9.9]:8080")}
	}
	for _, tc := range []struct {
		allow, deny, address string
		ok                   bool
	}{
		{"10.0.0.0/8", "", "10.1.2.3:80", true},
		{"10.0.0.0/8", "", "in.example:80", true},
		{"10.1.2.3", "", "in.example:80", true},
		{"10.1.2.4", "", "in.example:80", false},
		{"::ffff:10.1.0.0/112", "", "10.1.2.3:80", true},
		{"10.0.0.0/8", "", "[::ffff:10.1.2.3]:80", true},
		{"10.0.0.0/8", "", "[64:ff9b::10.1.2.3]:80", true}, // what it carries is allowed
		{"64:ff9b::/96", "", "[64:ff9b::10.1.2.3]:80", false},
		{"::/0", "", "[::ffff:10.1.2.3]:80", false},
		{"in.example", "", "in.example:80", true},
		{"0.0.0.0/0", "", "0.0.0.0:80", false}, // systems take it for loopback
		{"::/0", "", "[::]:80", false},
		{"IN.example.", "", "in.example.:80", false}, // resolves to nothing here, but see below
		{"in.example", "", "10.1.2.3:80", false},
		{"*.corp.example", "", "x.corp.example:80", true},
		{"*.corp.example", "", "corp.example:80", false},
		{"*.orp.example", "", "x.corp.example:80", false},
		{"10.0.0.0/8", "10.1.0.0/16", "in.example:80", false},
		{"in.example", "10.1.0.0/16", "in.example:80", false},
		{"10.0.0.0/8", "in.example", "in.example:80", false},
		{"in.example", "*.example", "in.example:80", false},
		{"", "1.1.1.0/24", "a.example:80", false},
		{"", "0.0.0.0/0", "a.example:80", false},
		{"", "1.1.1.1", "[64:ff9b::101:101]:80", false},
		{"169.254.0.0/16", "", "169.254.169.254:80", false},
		{"169.254.0.0/16", "", "169.254.1.1:80", true},
		{"meta.example", "", "meta.example:80", false},
		{"metadata", "", "metadata:80", false},
		{"169.254.169.254", "", "meta.example:80", true},
		{"169.254.169.254", "", "metadata:80", false},
		{"169.254.169.254", "169.254.169.254", "169.254.169.254:80", false},
		{"", "", "own.example:443", false},
		{"10.0.0.0/8", "", "own.example:443", true},
		{"10.0.0.0/8", "", "own.example:7000", false},
		{"10.9.9.9", "", "own.example:7000", false},
		{"own.example", "", "own.example:7000", false},
		{"", "", "9.9.9.9:80", false},
		{"9.9.9.9", "", "9.9.9.9:80", true},
		{"9.9.9.9", "", "9.9.9.9:8080", false},
		{"9.9.9.9", "", "[2002:909:909::]:8080", false},
	} {
		w := &world{names: names}
		o := Options{Own: own}
		if tc.allow != "" {
			o.Allow = []string{tc.allow}
		}
		if tc.deny != "" {
			o.Deny = []string{tc.deny}
		}
		dialled, err := dial(t, w, o, tc.address)
		if tc.ok != (err == nil) || tc.ok != (len(dialled) == 1) {
			t.Errorf("allow %q, deny %q: %s: dialled %v, %v", tc.allow, tc.deny, tc.address, dialled, err)
		}
	}
	w := &world{names: map[string][][]string{"in.example.": {{"10.1.2.3"}}}}
	if _, err := dial(t, w, Options{Allow: []string{"IN.example."}}, "in.example.:80"); err != nil {
		t.Errorf("an absolute name: %v", err)
	}
	w = &world{names: map[string][][]string{"metadata": {{"169.254.169.254"}}}}
	if _, err := dial(t, w, Options{Allow: []string{"metadata", "169.254.169.254"}}, "metadata:80"); err != nil {
		t.Errorf("the metadata service, allowed by name and address: %v", err)
	}
}

func TestEgressRefusalsSayWhatToDo(t *testing.T) {
	w := &world{names: map[string][][]string{"in.example": {{"10.1.2.3"}}}}
	reg := prometheus.NewRegistry()
	g := w.guard(t, Options{Registerer: reg, Deny: []string{"bad.example"}})
	for host, want := range map[string]string{
		"in.example":      `destination is not allowed: "in.example" has an address that is not to be connected to: a private address (an operator allows it with --egress-allow in.example)`,
		"127.0.0.1":       `destination is not allowed: "127.0.0.1" is a loopback address (an operator allows it with --egress-allow 127.0.0.1)`,
		"bad.example":     `destination is not allowed: "bad.example" is denied by --egress-deny`,
		"169.254.169.254": `destination is not allowed: "169.254.169.254" is a metadata service (an operator allows it only by its very address, with --egress-allow)`,
	} {
		_, err := g.Dial(t.Context(), "tcp", net.JoinHostPort(host, "80"))
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if got := testutil.ToFloat64(g.refused.WithLabelValues("private")); got != 1 {
		t.Errorf("%v private ones counted", got)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestEgressListsAreChecked(t *testing.T) {
	for entry, want := range map[string]string{
		"":                   "empty",
		"10.0.0.1/8":         "10.0.0.0/8",
		"10.0.0.0/33":        "not a range",
		"a/b":                "not a range",
		"fe80::1%eth0":       "without its zone",
		"0x7f.1":             "usual form",
		"http://a.example":   "not a range",
		"a.example:80":       "not a host name",
		"*.":                 "empty",
		"*":                  "not a host name",
		"a.*.example":        "not a host name",
		"127.0.0.1:8080":     "not a host name",
		"hooks example":      "not a host name",
		"10.0.0.0-10.0.0.99": "usual form",
	} {
		_, allow := New(Options{Allow: []string{"a.example", entry}})
		_, deny := New(Options{Deny: []string{entry}})
		for option, err := range map[string]error{"--egress-allow": allow, "--egress-deny": deny} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), option) {
				t.Errorf("%s %q: %v, want %q", option, entry, err, want)
			}
		}
	}
	if _, err := New(Options{Allow: []string{" 10.0.0.0/8 ", "[::1]", "*.a_b.Example", "::/0"}}); err != nil {
		t.Error(err)
	}
}

// A candidate that does not answer costs a moment, not the whole attempt.
func TestEgressTriesTheNextAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			names: map[string][][]string{"a.example": {{"2606:4700::1111", "1.1.1.1"}}},
			hang:  map[string]bool{"[2606:4700::1111]:443": true},
		}
		start := time.Now()
		conn, err := w.guard(t, Options{}).Dial(t.Context(), "tcp", "a.example:443")
		if err != nil || time.Since(start) != stagger {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		_ = conn.Close()
		synctest.Wait()
	})
	refused := errors.New("refused")
	w := &world{
		names: map[string][][]string{"a.example": {{"1.1.1.1", "1.0.0.1"}}},
		fail:  map[string]error{"1.1.1.1:443": refused, "1.0.0.1:443": errors.New("reset")},
	}
	if dialled, err := dial(t, w, Options{}, "a.example:443"); !errors.Is(err, refused) || len(dialled) != 2 {
		t.Errorf("dialled %v: %v", dialled, err)
	}
	if _, err := dial(t, w, Options{}, "unknown.example:443"); err == nil || errors.Is(err, notify.ErrForbidden) {
		t.Errorf("a name nobody knows: %v", err)
	}
}
