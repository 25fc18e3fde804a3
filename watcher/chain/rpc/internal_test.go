package rpc

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRedaction(t *testing.T) {
	for _, raw := range []string{
		"https://user:passw0rd-long@node.example:8545/v3/0123456789abcdef?apikey=fedcba9876543210",
		"wss://node.example/ws/0123456789abcdef",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		r := newRedactor(u)
		for _, text := range []string{
			raw, "bad key 0123456789abcdef\n", "GET " + u.RequestURI() + " failed", "key=fedcba9876543210", "user passw0rd-long",
			strings.Repeat("x", 150) + "0123456789abcdef" + strings.Repeat("y", 1000),
		} {
			got := r.clean(text)
			for _, secret := range []string{"0123456789abcdef", "fedcba9876543210", "passw0rd-long"} {
				if strings.Contains(raw, secret) && strings.Contains(got, secret) {
					t.Errorf("%q: %q is still there: %q", text, secret, got)
				}
			}
			if len(got) > maxMessage+len("…") || strings.ContainsAny(got, "\n\x00") {
				t.Errorf("%q: not fit for a log line: %q", text, got)
			}
		}
		if want := u.Scheme + "://" + u.Host; r.host != want {
			t.Errorf("host %q, want %q", r.host, want)
		}
	}
}

func TestReasonOfJSONRPCError(t *testing.T) {
	for _, tc := range []struct {
		code    int
		message string
		want    string
	}{
		{-32601, "Method not found", ReasonMethodMissing},
		{-32000, "the method eth_getBlockReceipts does not exist/is not available", ReasonMethodMissing},
		{-32600, "Unsupported method: eth_getBlockReceipts on ETH_MAINNET", ReasonMethodMissing},
		{-32004, "whatever", ReasonMethodMissing},
		{-32005, "limit exceeded", ReasonRateLimited},
		{429, "Your app has exceeded its compute units per second capacity", ReasonRateLimited},
		{-32000, "Too Many Requests", ReasonRateLimited},
		{-32000, "header not found", ReasonRPC},
		{-32000, "block does not exist", ReasonRPC},
		{-32602, "invalid argument 0", ReasonRPC},
		{-32603, "Internal error", ReasonRPC},
	} {
		if got := rpcReason(tc.code, tc.message); got != tc.want {
			t.Errorf("%d %q: %s, want %s", tc.code, tc.message, got, tc.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "999999999999": maxPause,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestStandingOrder(t *testing.T) {
	all := []standing{
		{usable: true, weight: 10, index: 0, open: true},
		{usable: true, weight: 100, index: 1, demoted: true},
		{usable: true, weight: 5, index: 2},
		{usable: true, weight: 50, index: 3, missing: true},
		{usable: true, weight: 50, index: 4},
		{usable: false, weight: 100, index: 5},
	}
	slices.SortFunc(all, standing.compare)
	var got []int
	for _, s := range all {
		got = append(got, s.index)
	}
	// Weight first among the healthy, a missing method within a weight only.
	if want := []int{4, 3, 2, 1, 0, 5}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestStandingIsTotalOrder(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) standing {
		return standing{
			usable: rapid.Bool().Draw(t, "usable"), open: rapid.Bool().Draw(t, "open"), demoted: rapid.Bool().Draw(t, "demoted"),
			weight: rapid.IntRange(1, 3).Draw(t, "weight"), missing: rapid.Bool().Draw(t, "missing"), index: rapid.IntRange(0, 3).Draw(t, "index"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw.Draw(t, "a"), draw.Draw(t, "b"), draw.Draw(t, "c")
		if a.compare(b) != -b.compare(a) || (a.compare(b) == 0) != (a == b) {
			t.Fatalf("not antisymmetric: %+v %+v", a, b)
		}
		if a.compare(b) <= 0 && b.compare(c) <= 0 && a.compare(c) > 0 {
			t.Fatalf("not transitive: %+v %+v %+v", a, b, c)
		}
	})
}

// A failing endpoint loses its place to a lighter one and gets it back.
func TestPenaltyFades(t *testing.T) {
	p, err := NewPool(Options{Network: "n", Endpoints: []Endpoint{{"http://a.example", 10}, {"http://b.example", 1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	now := time.Now().Add(time.Second)
	first := func(now time.Time) string { return order(p.http, "", now)[0].redact.host }
	heavy := p.http[0]
	heavy.fault(now)
	if got := first(now); got != "http://a.example" {
		t.Errorf("one failure: %s comes first", got)
	}
	heavy.fault(now)
	if got := first(now); got != "http://b.example" {
		t.Errorf("two failures: %s comes first", got)
	}
	if got := first(now.Add(2 * penaltyHalfLife)); got != "http://a.example" {
		t.Errorf("a while later: %s comes first", got)
	}
	heavy.pause(now, 30*time.Second)
	if got := first(now.Add(29 * time.Second)); got != "http://b.example" {
		t.Errorf("while it is to be left alone: %s comes first", got)
	}
	if got := first(now.Add(31 * time.Second)); got != "http://a.example" {
		t.Errorf("afterwards: %s comes first", got)
	}
	heavy.setLacks("m", now)
	if !heavy.lacks("m", now.Add(59*time.Minute)) || heavy.lacks("m", now.Add(61*time.Minute)) {
		t.Error("a missing method is to be remembered for an hour")
	}
}
