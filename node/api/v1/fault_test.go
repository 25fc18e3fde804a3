package v1

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

// No request, however odd, is a fault of the node's, and none tells one tenant of
// the other.
func TestNoRequestIsAFault(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.furnish("bolt")
	r.backtest("acme", "bolt")
	owner, operator := r.key("acme", fsm.RoleOwner), r.key("", fsm.RoleOperator)
	start := r.snapshot()
	words := []string{
		"acme", "net", "mon", "hook", "sec", deliveryKey, "aaaaaaaaaaaa", "..", ".", "%00", "acme%2Fnet", "%2e%2e", "\u202e", "💥", strings.Repeat("x", 300), "-1",
		"18446744073709551616", "null", "'\"<>&;", "a b",
	}
	bodies := []string{
		"", "null", "[]", "{}", "1e999", `{"value":null}`, `{"value":"` + strings.Repeat("y", 70000) + `"}`, strings.Repeat("[", 20000), `{"a":{"a":{"a":1}}}`, "\xff\xfe", `{"monitors":1e40}`,
		`{"networks":{"\u0000":{}},"monitors":{"":{}},"triggers":null,"scripts":[]}`, bundleDoc("monitors/..", monitorDoc("m", "net", "", "hook"), "scripts/../x.py", scriptDoc("Python", "x")),
		monitorDoc("\u0000\u202e", "net", "1 == ", "hook"), monitorDoc("m", "net", strings.Repeat("(", 5000), "hook"), networkDoc("net", "http://[::1", -1), triggerDoc("", ""),
		`{"role":"owner","expires":"0000-00-00"}`, `{"role":"viewer","role":"owner"}`, networkDoc("mon", "https://x.example", 3), `{"monitor":"mon","from":18446744073709551615}`, `{"monitor":"mon","last":18446744073709551615}`, `{"document":{"name":[]},"from":0,"to":5}`,
		`{"monitor":"mon","network":"corp/net","from":1}`, monitorDoc("m", "net", "value > 99999999999999999999999999999999", "hook"),
	}
	rapid.Check(t, func(rt *rapid.T) {
		r.restore(start)
		key := rapid.SampledFrom([]string{owner, operator}).Draw(rt, "key")
		chosen := rapid.SampledFrom(operations).Draw(rt, "operation")
		o := &chosen
		path := o.path
		for _, name := range []string{"{id}", "{name}", "{key}", "{number}"} {
			path = strings.ReplaceAll(path, name, url.PathEscape(rapid.SampledFrom(words).Draw(rt, name)))
		}
		path = strings.ReplaceAll(path, "{tenant}", "acme")
		if q := rapid.SampledFrom([]string{"", "limit", "cursor", "network", "from", "force", "state", "dry_run", "mode", "create", "other"}).Draw(rt, "query"); q != "" {
			path += "?" + q + "=" + url.QueryEscape(rapid.SampledFrom(words).Draw(rt, "value"))
		}
		body := rapid.OneOf(rapid.SampledFrom(bodies), rapid.String()).Draw(rt, "body")
		got := r.do(key, o.method, path, body)
		if got.status >= 500 {
			rt.Fatalf("%s %s: %d %s", o.method, path, got.status, got.body)
		}
		if documented := o.in(r.api.huma.OpenAPI()).Responses[strconv.Itoa(got.status)]; documented == nil {
			rt.Fatalf("%s %s: nothing is said of %d: %s", o.method, path, got.status, got.body)
		}
		if key == owner && strings.Contains(got.body, "bolt") {
			rt.Fatalf("%s %s tells of another tenant: %s", o.method, path, got.body)
		}
		if got.status >= 400 && got.header.Get("Content-Type") != "application/problem+json" {
			rt.Fatalf("%s %s: %d is no problem: %s", o.method, path, got.status, got.body)
		}
	})
}
