package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNothingPrintsASecret(t *testing.T) {
	documents := []any{
		Plain("signing-key"), mustNetwork(t, sampleNetwork), mustMonitor(t, sampleMonitor),
		mustTrigger(t, sampleTrigger), mustTrigger(t, sampleEmail), mustTrigger(t, sampleTelegram),
		mustTrigger(t, samplePagerDuty), mustTrigger(t, samplePagerDuty).PagerDuty, *mustTrigger(t, samplePagerDuty).PagerDuty,
		*mustTrigger(t, sampleTrigger).Webhook, mustTrigger(t, sampleEmail).Email, mustTrigger(t, sampleTelegram).Telegram,
		mustMonitor(t, sampleMonitor).ChainConfigurations[1].Midnight, mustNetwork(t, sampleNetwork).RPCURLs[0],
		&Slack{URL: Plain("signing-key")}, &Discord{URL: Plain("signing-key")},
	}
	parts := []any{
		*mustNetwork(t, sampleNetwork), mustTrigger(t, sampleTrigger).Webhook.Headers, mustNetwork(t, sampleNetwork).RPCURLs,
		struct{ M *Monitor }{mustMonitor(t, sampleMonitor)},
		mustMonitor(t, sampleMonitor).ChainConfigurations,
		struct{ E *Email }{mustTrigger(t, sampleEmail).Email},
		*mustTrigger(t, sampleTelegram).Telegram,
	}
	var out bytes.Buffer
	for _, doc := range slices.Concat(documents, parts) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", doc)
		}
	}
	s := Plain("signing-key")
	fmt.Fprintln(&out, s, &s, s.String(), s.GoString())
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		logger := slog.New(handler)
		logger.Info("secret", "s", s, "ps", &s)
		for _, doc := range documents {
			logger.Info("document", "doc", doc)
		}
	}
	for _, secret := range sampleSecrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q was printed", secret)
		}
	}
}

func TestProblemsHoldNoSecret(t *testing.T) {
	// Each sample with its secrets where they cause problems or warnings.
	docs := []string{
		edit(t, sampleNetwork, "https://node", "ftp://node"),
		edit(t, sampleNetwork, "https://node", "http://node"),
		edit(t, sampleNetwork, "https://node.example", "http://key-of-the-account@node.example"),
		edit(t, sampleTrigger, "https://hooks", "http://hooks"),
		edit(t, sampleTrigger, "https://hooks", "hooks"),
		edit(t, sampleTrigger, `{"type": "plain", "value": "signing-key"}`, `"signing-key"`),
		edit(t, sampleTrigger, `"signing-key"`, `["signing-key"]`),
		edit(t, sampleTelegram, "GHI", "GHI\\n"),
		edit(t, sampleEmail, "password-of-mail\"", "password-of-mail"),
		edit(t, sampleEmail, "user-of-mail", "user-of-mail\\u0000"),
		sampleMonitor,
	}
	for _, doc := range docs {
		_, a := ParseNetwork([]byte(doc))
		_, b := ParseTrigger([]byte(doc))
		_, c := ParseMonitor([]byte(doc))
		text := fmt.Sprint(a, b, c, a.Err(), b.Err(), c.Err())
		for _, secret := range sampleSecrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q shown in %s", secret, text)
			}
		}
	}
	n := mustNetwork(t, edit(t, sampleNetwork, "https://node", "http://node"))
	_, ps := ParseNetwork([]byte(edit(t, sampleNetwork, "https://node", "http://node")))
	wantProblems(t, ps, "warning: rpc_urls[0].url: http://node.example is not encrypted: anyone on the way can read and change what is sent")
	if n == nil {
		t.Error("a warning refused the network")
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:pass@node.example:8545/v3/key?x=y": "https://node.example:8545",
		"wss://node.example/key":                         "wss://node.example",
		"just-a-key":                                     hidden,
		"https://%zz":                                    hidden,
		"mailto:a@example.com":                           hidden,
		"":                                               hidden,
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSecretJSON(t *testing.T) {
	for in, want := range map[string]Secret{
		`{"type":"PLAIN","value":"a","note":1}`: Plain("a"),
		`{"type":"sealed","value":"b"}`:         {SecretSealed, "b"},
	} {
		var got Secret
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: %#v, %v", in, got.Type, err)
		}
		roundTrip(t, &got)
	}
	for _, in := range []string{`{"type":"plain"}`, `{"type":"plain","value":null}`, `{"type":"x","value":""}`, `"a"`} {
		var got Secret
		if err := json.Unmarshal([]byte(in), &got); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestLocalResolver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OZMO_TEST_SECRET", "from environment")
	t.Setenv("OZMO_TEST_EMPTY", "")
	for _, tc := range []struct {
		s    Secret
		want string
		err  error
	}{
		{Plain("p"), "p", nil},
		{Secret{SecretEnvironment, "OZMO_TEST_SECRET"}, "from environment", nil},
		{Secret{SecretEnvironment, "OZMO_TEST_EMPTY"}, "", nil},
		{Secret{SecretEnvironment, "OZMO_TEST_UNSET"}, "", ErrSecretNotFound},
		{Secret{SecretFile, file}, "from file", nil},
		{Secret{SecretFile, file + ".gone"}, "", fs.ErrNotExist},
		{Secret{SecretFile, file + ".gone"}, "", ErrSecretNotFound},
		{Secret{SecretVault, "name"}, "", ErrNoResolver},
		{Secret{SecretSealed, "abc"}, "", ErrNoResolver},
		{Secret{"other", "abc"}, "", ErrNoResolver},
	} {
		got, err := LocalResolver{}.Resolve(t.Context(), tc.s)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, %v", tc.s.Type, got, err)
		}
	}
	r := LocalResolver{Next: vault("from vault")}
	if got, err := r.Resolve(t.Context(), Secret{SecretVault, "name"}); got != "from vault" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := r.Resolve(t.Context(), Plain("p")); got != "p" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

type vault string

func (v vault) Resolve(context.Context, Secret) (string, error) { return string(v), nil }

// The rules on values look through references when there is a resolver, and
// the document keeps the reference.
func TestRulesOnResolvedValues(t *testing.T) {
	env := func(url string) Option {
		return WithResolver(t.Context(), LocalResolver{LookupEnv: func(string) (string, bool) { return url, url != "" }})
	}
	n := mustNetwork(t, sampleNetwork, env("wss://a.example"))
	if n.RPCURLs[1].URL != (Secret{SecretEnvironment, "SECOND_URL"}) {
		t.Error("the reference was replaced")
	}
	_, ps := ParseNetwork([]byte(sampleNetwork), env("ftp://a.example/key"))
	wantProblems(t, ps, "rpc_urls[1].url: found an address that starts with none of http://, https://, ws://, wss://")
	_, ps = ParseNetwork([]byte(sampleNetwork), env(""))
	wantProblems(t, ps, `rpc_urls[1].url: cannot be resolved: environment variable "SECOND_URL" is not set: secret not found`)
	mustNetwork(t, sampleNetwork) // without a resolver the value is not looked at
}
