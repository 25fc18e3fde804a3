package spec

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPagerDutyFields(t *testing.T) {
	tr := mustTrigger(t, samplePagerDuty)
	want := &PagerDuty{
		RoutingKey: Plain("0123456789abcdefRoutingKeyOfDuty"), Severity: PagerDutyWarning,
		Message: Message{"Alert", "Body"}, URL: DefaultPagerDutyURL,
	}
	if !reflect.DeepEqual(tr.PagerDuty, want) || tr.Retry != DefaultRetryPolicy() {
		t.Errorf("got %+v", *tr)
	}
	if want := []time.Duration{5 * time.Second, time.Minute, 48 * time.Hour}; !slices.Equal(tr.Schedule, want) {
		t.Errorf("schedule %v, want %v", tr.Schedule, want)
	}
	plain := mustTrigger(t, edit(t, samplePagerDuty, `"severity": "warning",`, ``))
	if plain.PagerDuty.Severity != PagerDutyCritical {
		t.Errorf("severity %q by default", plain.PagerDuty.Severity)
	}
}

func TestConsole(t *testing.T) {
	tr := mustTrigger(t, sampleConsole)
	if tr.Type != TriggerConsole || !slices.Equal(tr.Schedule, []time.Duration{time.Minute}) || tr.Secrets() != nil {
		t.Errorf("got %+v", *tr)
	}
	data, err := json.Marshal(tr)
	if err != nil || !strings.Contains(string(data), `"retry_schedule":[{"secs":60,"nanos":0}]`) {
		t.Errorf("%s, %v", data, err)
	}
	_, ps := ParseTrigger([]byte(sampleConsole), WithOrigin(OriginTenant))
	wantProblems(t, ps, `trigger_type: found "console", which only the operator's folder may use: it writes to the node's own output`)
}

// How mail is encrypted follows from the port unless the trigger says so, and
// nothing secret may go over a connection that is not.
func TestMailSecurity(t *testing.T) {
	for _, tc := range []struct{ from, to, want string }{
		{`"host"`, `"host"`, TLSImplicit},
		{`"host"`, `"port": 465, "host"`, TLSImplicit},
		{`"host"`, `"port": 587, "host"`, TLSStart},
		{`"host"`, `"port": 25, "host"`, TLSStart},
		{`"host"`, `"port": 2525, "tls": null, "host"`, TLSStart},
		{`"host"`, `"port": 2525, "tls": "implicit", "host"`, TLSImplicit},
		{`"host"`, `"tls": "starttls", "host"`, TLSStart},
	} {
		if got := mustTrigger(t, edit(t, sampleEmail, tc.from, tc.to)).Email.Security(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.to, got, tc.want)
		}
	}
	open := edit(t, sampleEmail, `"username": {"type": "plain", "value": "user-of-mail"},
		"password": {"type": "plain", "value": "password-of-mail"},`, `"tls": "none",`)
	tr := mustTrigger(t, open)
	if tr.Email.Security() != TLSNone || tr.Secrets() != nil {
		t.Errorf("got %+v", *tr.Email)
	}
	roundTrip(t, tr)
	_, ps := ParseTrigger([]byte(edit(t, sampleEmail, `"host"`, `"tls": "none", "host"`)))
	wantProblems(t, ps,
		`config.password: must be absent where tls is "none": it would be sent in clear`,
		`config.username: must be absent where tls is "none": it would be sent in clear`)
}

func TestExtensionProblems(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`"1s",`, 21), ",")
	for _, tc := range []struct{ doc, from, to, want string }{
		{samplePagerDuty, `"warning"`, `"warn"`, `config.severity: found "warn", expected "critical", "error", "warning" or "info"…`},
		{samplePagerDuty, `0123456789abcdefRoutingKeyOfDuty`, ` `, `config.routing_key: is blank`},
		{samplePagerDuty, `0123456789abcdefRoutingKeyOfDuty`, `short`, `warning: config.routing_key: does not look like an integration key…`},
		{samplePagerDuty, `"severity"`, `"url": "ftp://x", "severity"`, `config.url: found an address that does not start with http:// or https://`},
		{samplePagerDuty, `"severity"`, `"url": "http://x.example/k", "severity"`, `warning: config.url: http://x.example is not encrypted…`},
		{samplePagerDuty, `"severity"`, `"severty"`, `config.severty: is an unknown field; did you mean "severity"?`},
		{samplePagerDuty, `"5s"`, `"500ms"`, `config.retry_schedule[0]: found 500ms, expected 1s to 48h0m0s`},
		{samplePagerDuty, `172800`, `172801`, `config.retry_schedule[2]: found 48h0m1s, expected 1s to 48h0m0s`},
		{samplePagerDuty, `"5s"`, `"soon"`, `config.retry_schedule[0]: found "soon", expected milliseconds like 250…`},
		{samplePagerDuty, `"5s"`, `null`, `config.retry_schedule[0]: found null, expected milliseconds like 250…`},
		{sampleConsole, `["1m"]`, `[]`, `config.retry_schedule: holds 0 durations, expected 1 to 20`},
		{sampleConsole, `["1m"]`, `[` + many + `]`, `config.retry_schedule: holds 21 durations, expected 1 to 20`},
		{sampleConsole, `["1m"]`, `"1m"`, `config.retry_schedule: found a string, expected an array`},
		{sampleEmail, `"host"`, `"tls": "maybe", "host"`, `config.tls: found "maybe", expected "implicit", "starttls" or "none"…`},
		{sampleScript, `"arguments"`, `"retry_schedule": ["1s"], "arguments"`, `config.retry_schedule: is an unknown field…`},
	} {
		_, ps := ParseTrigger([]byte(edit(t, tc.doc, tc.from, tc.to)))
		wantProblems(t, ps, tc.want)
	}
	if tr := mustTrigger(t, edit(t, sampleConsole, `["1m"]`, `null`)); tr.Schedule != nil {
		t.Errorf("null gives %v", tr.Schedule)
	}
}

// Every channel but scripts is served.
func TestNoticesOfTriggers(t *testing.T) {
	for _, doc := range []string{sampleTrigger, sampleEmail, sampleTelegram, samplePagerDuty, sampleConsole} {
		if ps := mustTrigger(t, doc).Notices(); len(ps) != 0 {
			t.Errorf("%v", ps)
		}
	}
	if ps := mustTrigger(t, sampleScript).Notices(); len(ps) != 1 || ps[0].Path != "trigger_type" {
		t.Errorf("script: %v", ps)
	}
}
