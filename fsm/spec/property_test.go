package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The generators draw valid documents in the form that reading gives them.

func maybe[T any](g *rapid.Generator[T]) *rapid.Generator[*T] { return rapid.Ptr(g, true) }

var (
	genText   = rapid.String()
	genName   = rapid.StringN(1, 20, -1)
	genBlocks = rapid.Uint64Min(1)
	genCron   = rapid.SampledFrom([]string{"0 */5 * * * *", "*/1 * * * *", "@hourly", "0 0 0 1 1 * 2050"})
)

func genSecret(values *rapid.Generator[string]) *rapid.Generator[Secret] {
	return rapid.Custom(func(t *rapid.T) Secret {
		kind := rapid.SampledFrom([]string{SecretPlain, SecretEnvironment, SecretVault, SecretFile, SecretSealed}).Draw(t, "type")
		if kind == SecretPlain {
			return Plain(values.Draw(t, "value"))
		}
		return Secret{kind, genText.Draw(t, "reference")}
	})
}

func prefixed(prefixes ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom(prefixes).Draw(t, "prefix") + genText.Draw(t, "rest")
	})
}

func genDuration(unit time.Duration, lo, hi int64) *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.Int64Range(lo, hi), func(n int64) time.Duration { return time.Duration(n) * unit })
}

var genNetwork = rapid.Custom(func(t *rapid.T) *Network {
	n := &Network{
		Type:               rapid.SampledFrom([]Chain{EVM, Stellar, Midnight, Solana}).Draw(t, "type"),
		Slug:               rapid.StringMatching(`[a-z0-9_]{0,20}`).Draw(t, "slug"),
		Name:               genName.Draw(t, "name"),
		ChainID:            maybe(rapid.Uint64()).Draw(t, "chain_id"),
		NetworkPassphrase:  maybe(genText).Draw(t, "passphrase"),
		BlockTime:          genDuration(time.Millisecond, 100, int64(maxMilliseconds)).Draw(t, "block time"),
		ConfirmationBlocks: genBlocks.Draw(t, "confirmations"),
		Cron:               genCron.Draw(t, "cron"),
		StoreBlocks:        rapid.Bool().Draw(t, "store"),
		Watch:              rapid.StringMatching(`[a-z0-9_]{0,20}`).Draw(t, "watch"),
	}
	kind, schemes := "rpc", []string{"http://", "https://", "ws://", "wss://"}
	if n.Type == Midnight {
		kind, schemes = "ws_rpc", schemes[2:]
	}
	n.RPCURLs = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) RPCURL {
		return RPCURL{kind, genSecret(prefixed(schemes...)).Draw(t, "url"), rapid.Uint32Range(0, 100).Draw(t, "weight")}
	}), 0, 3).Draw(t, "urls")
	switch rapid.IntRange(0, 2).Draw(t, "past") {
	case 1:
		n.MaxPastBlocks = &PastBlocks{Unlimited: true}
	case 2:
		n.MaxPastBlocks = &PastBlocks{N: genBlocks.Draw(t, "n")}
	}
	if rapid.Bool().Draw(t, "recovery") {
		n.Recovery = &Recovery{
			rapid.Bool().Draw(t, "enabled"), genCron.Draw(t, "cron"), rapid.Uint64().Draw(t, "run"), rapid.Uint64().Draw(t, "age"),
			rapid.Uint32().Draw(t, "retries"), genDuration(time.Millisecond, 0, int64(maxMilliseconds)).Draw(t, "delay"),
		}
	}
	if rapid.Bool().Draw(t, "poll") {
		n.PollInterval = genDuration(1, int64(minPollInterval), int64(time.Hour)).Draw(t, "interval")
	}
	return n
})

var genScript = rapid.Custom(func(t *rapid.T) Script {
	language := rapid.SampledFrom([]string{JavaScript, Python, Bash}).Draw(t, "language")
	s := Script{Language: language, ScriptPath: genName.Draw(t, "path") + scriptExtensions[language], TimeoutMS: rapid.Uint32Min(1).Draw(t, "timeout")}
	if rapid.Bool().Draw(t, "with arguments") {
		s.Arguments = rapid.SliceOfN(genText, 0, 3).Draw(t, "arguments")
	}
	return s
})

var genAddress = rapid.Custom(func(t *rapid.T) Address {
	a := rapid.SampledFrom([]Address{
		{},
		{ContractSpec: json.RawMessage(`[]`), SpecChain: EVM},
		{ContractSpec: json.RawMessage(`[{"type":"event","name":"E","inputs":[{"type":"uint8[2][]"}],"extra":"<&>"}]`), SpecChain: EVM},
		{ContractSpec: json.RawMessage(`[{"function_v0":{"name":"f","inputs":[],"outputs":[]}}]`), SpecChain: Stellar},
		{ContractSpec: json.RawMessage(`{"version":"0","name":"p"}`), SpecChain: Solana},
	}).Draw(t, "spec")
	a.Address = genText.Draw(t, "address")
	return a
})

var genMonitor = rapid.Custom(func(t *rapid.T) *Monitor {
	signatures := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Signature {
		return Signature{genText.Draw(t, "signature"), maybe(genText).Draw(t, "expression")}
	}), 0, 3)
	return &Monitor{
		Name:      genName.Draw(t, "name"),
		Networks:  rapid.SliceOfN(genText, 1, 3).Draw(t, "networks"),
		Paused:    rapid.Bool().Draw(t, "paused"),
		Addresses: rapid.SliceOfN(genAddress, 0, 3).Draw(t, "addresses"),
		Match: MatchConditions{
			Functions: signatures.Draw(t, "functions"),
			Events:    signatures.Draw(t, "events"),
			Transactions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Transaction {
				return Transaction{rapid.SampledFrom([]string{StatusAny, StatusSuccess, StatusFailure}).Draw(t, "status"), maybe(genText).Draw(t, "expression")}
			}), 0, 2).Draw(t, "transactions"),
		},
		TriggerConditions: rapid.SliceOfN(genScript, 0, 2).Draw(t, "conditions"),
		Triggers:          rapid.SliceOfN(genText, 0, 3).Draw(t, "triggers"),
		ChainConfigurations: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ChainConfiguration {
			c := ChainConfiguration{EVM: rapid.Bool().Draw(t, "evm"), Stellar: rapid.Bool().Draw(t, "stellar"), Solana: rapid.Bool().Draw(t, "solana")}
			if rapid.Bool().Draw(t, "midnight") {
				c.Midnight = &MidnightConfiguration{rapid.SliceOfN(genSecret(genText), 0, 2).Draw(t, "keys")}
			}
			return c
		}), 0, 2).Draw(t, "chains"),
		Mode: rapid.SampledFrom([]string{"", ModeInstant, ModeConfirmed, ModeBoth, ModeFinalized}).Draw(t, "mode"),
	}
})

var genMessage = rapid.Custom(func(t *rapid.T) Message {
	return Message{rapid.StringMatching(`[A-Za-z${} ]{0,30}x`).Draw(t, "title"), rapid.StringMatching(`[A-Za-z${}\n\t ]{0,60}y`).Draw(t, "body")}
})

var genTrigger = rapid.Custom(func(t *rapid.T) *Trigger {
	tr := &Trigger{Name: genName.Draw(t, "name"), Type: rapid.SampledFrom(triggerTypes).Draw(t, "type")}
	if tr.Type == TriggerScript {
		s := genScript.Draw(t, "script")
		tr.Script = &s
		return tr
	}
	initial := genDuration(1, 0, int64(time.Hour)).Draw(t, "initial")
	tr.Retry = RetryPolicy{
		rapid.Uint32().Draw(t, "retries"), rapid.Uint32().Draw(t, "base"), initial,
		initial + genDuration(1, 0, int64(time.Hour)).Draw(t, "more"), rapid.SampledFrom([]string{JitterNone, JitterFull}).Draw(t, "jitter"),
	}
	tr.Schedule = rapid.SliceOfN(genDuration(1, int64(shortestWait), int64(longestWait)), 0, maxSchedule).Draw(t, "schedule")
	if len(tr.Schedule) == 0 {
		tr.Schedule = nil
	}
	message := genMessage.Draw(t, "message")
	switch tr.Type {
	case TriggerSlack:
		tr.Slack = &Slack{genSecret(prefixed("https://hooks.slack.com/")).Draw(t, "url"), message}
	case TriggerDiscord:
		tr.Discord = &Discord{genSecret(prefixed("https://discord.com/api/webhooks/")).Draw(t, "url"), message}
	case TriggerTelegram:
		token := rapid.StringMatching(`[0-9]{8,10}:[A-Za-z0-9_-]{35}`)
		tr.Telegram = &Telegram{genSecret(token).Draw(t, "token"), genName.Draw(t, "chat") + ".", rapid.Bool().Draw(t, "preview"), message}
	case TriggerEmail:
		word := rapid.StringMatching(`[a-z]{1,9}`)
		tr.Email = &Email{
			word.Draw(t, "host") + ".example", rapid.Uint16().Draw(t, "port"), genSecret(word).Draw(t, "user"), genSecret(word).Draw(t, "password"),
			message, word.Draw(t, "sender") + "@example.com",
			[]string{word.Draw(t, "recipient") + "@example.com"},
			rapid.SampledFrom([]string{"", TLSImplicit, TLSStart, TLSNone}).Draw(t, "tls"),
		}
		if tr.Email.TLS == TLSNone {
			tr.Email.Username, tr.Email.Password = Secret{}, Secret{}
		}
	case TriggerPagerDuty:
		tr.PagerDuty = &PagerDuty{
			genSecret(rapid.StringMatching(`[0-9a-f]{32}`)).Draw(t, "key"),
			rapid.SampledFrom([]string{PagerDutyCritical, PagerDutyError, PagerDutyWarning, PagerDutyInfo}).Draw(t, "severity"),
			message, rapid.SampledFrom([]string{DefaultPagerDutyURL, "http://pager.example/x"}).Draw(t, "url"),
		}
	case TriggerWebhook:
		h := &Webhook{
			URL:         genSecret(prefixed("http://", "https://")).Draw(t, "url"),
			Method:      rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"),
			Secret:      maybe(genSecret(genText)).Draw(t, "secret"),
			PayloadMode: rapid.SampledFrom([]string{PayloadTemplate, PayloadRaw}).Draw(t, "mode"),
			Message:     &message,
		}
		if h.PayloadMode == PayloadRaw && rapid.Bool().Draw(t, "no message") {
			h.Message = nil
		}
		for name, value := range rapid.MapOfN(genText, genSecret(genText), 0, 20).Draw(t, "headers") {
			if h.Headers == nil {
				h.Headers = make(map[string]*Secret)
			}
			h.Headers[name] = &value
		}
		tr.Webhook = h
	}
	return tr
})

func checkRoundTrip[T any](t *rapid.T, doc *T) {
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if !Equal(doc, &back) {
		t.Fatalf("changed: %s", data)
	}
	// Marshalling escapes characters inside contract specs.
	if m, ok := any(&back).(*Monitor); ok {
		for i, a := range m.Addresses {
			m.Addresses[i].ContractSpec = unescapeHTML(a.ContractSpec)
		}
	}
	if !reflect.DeepEqual(doc, &back) {
		again, _ := json.Marshal(back)
		t.Fatalf("changed:\n%s\n%s", data, again)
	}
}

func unescapeHTML(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return nil
	}
	return json.RawMessage(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(raw)))
}

func TestRoundTripNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkRoundTrip(t, genNetwork.Draw(t, "network")) })
}

func TestRoundTripMonitor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkRoundTrip(t, genMonitor.Draw(t, "monitor")) })
}

func TestRoundTripTrigger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkRoundTrip(t, genTrigger.Draw(t, "trigger")) })
}

// Secrets reaches every secret: once all are sealed, no other is left.
func TestSecretsReachesAll(t *testing.T) {
	check := func(t *rapid.T, doc any, secrets []*Secret) {
		for _, s := range secrets {
			*s = Secret{SecretSealed, "x"}
		}
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		sealed := strings.Count(string(data), `{"type":"sealed","value":"x"}`)
		if sealed != len(secrets) {
			t.Fatalf("%d secrets, %d sealed: %s", len(secrets), sealed, data)
		}
		for _, kind := range []string{SecretPlain, SecretEnvironment, SecretVault, SecretFile} {
			if strings.Contains(string(data), fmt.Sprintf(`{"type":%q,"value"`, kind)) {
				t.Fatalf("a secret was missed: %s", data)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, m, tr := genNetwork.Draw(t, "network"), genMonitor.Draw(t, "monitor"), genTrigger.Draw(t, "trigger")
		check(t, n, n.Secrets())
		check(t, m, m.Secrets())
		check(t, tr, tr.Secrets())
	})
}
