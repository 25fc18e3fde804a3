package spec

import (
	"strings"
	"testing"
)

func seed(f *testing.F, docs ...string) {
	for _, doc := range docs {
		f.Add([]byte(doc))
	}
	for _, doc := range []string{"", "null", "{}", "[]", `{"a":{"a":[1,"\"",{}]}}`, "{\"\\u0000\":1,\"\\u0000\":2}", "\xff", `{"name":"\ud800"}`} {
		f.Add([]byte(doc))
	}
}

// fuzzParse checks what must hold for any input: no panic, a document or an
// error, every problem on one line, and a round trip of what was accepted.
func fuzzParse[T any](t *testing.T, data []byte, parse func([]byte, ...Option) (*T, Problems)) {
	for _, origin := range []Origin{OriginFolder, OriginTenant, OriginState} {
		doc, ps := parse(data, WithOrigin(origin))
		if (doc == nil) != (len(ps.Errors()) > 0) {
			t.Fatalf("document %v with problems %v", doc != nil, ps)
		}
		for _, p := range ps {
			if strings.ContainsAny(p.String(), "\n\r") {
				t.Fatalf("problem on several lines: %q", p.String())
			}
		}
		if doc != nil {
			roundTrip(t, doc)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	seed(f, sampleNetwork, withoutRecovery)
	f.Fuzz(func(t *testing.T, data []byte) { fuzzParse(t, data, ParseNetwork) })
}

func FuzzParseMonitor(f *testing.F) {
	seed(f, sampleMonitor)
	f.Fuzz(func(t *testing.T, data []byte) { fuzzParse(t, data, ParseMonitor) })
}

func FuzzParseTrigger(f *testing.F) {
	seed(f, sampleTrigger, sampleEmail, sampleScript, sampleTelegram, samplePagerDuty, sampleConsole)
	f.Fuzz(func(t *testing.T, data []byte) { fuzzParse(t, data, ParseTrigger) })
}

func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"0 */5 * * * *", "@hourly", "1-2/3,4 * * ? JAN MON-SUN 2024/2", "*/9999999999 * * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		from := at("Mon 2024-01-01 00:00:00")
		if next := s.Next(from); !next.IsZero() && !next.After(from) {
			t.Fatalf("%q fires at %v", text, next)
		}
	})
}
