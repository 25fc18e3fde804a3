package pki_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func TestToken(t *testing.T) {
	for _, ca := range [][32]byte{{}, {1}, newCA(t, "one").Fingerprint()} {
		token := pki.NewToken(ca)
		text := token.Reveal()
		if !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(text) {
			t.Errorf("%q does not survive a shell", text)
		}
		back, err := pki.ParseToken(" " + text + "\n")
		if err != nil || back != token || back.Hash() != token.Hash() || back.Fingerprint != ca {
			t.Errorf("%v, %v", back, err)
		}
		if pki.NewToken(ca).Hash() == token.Hash() {
			t.Error("two tokens share a secret")
		}
		secret := strings.Split(text, ".")[2]
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", token, "pointer", &token)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", token, "pointer", &token)
		inJSON, err := json.Marshal(map[string]any{"token": token})
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{
			token.String(), log.String(), string(inJSON),
			fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token),
			fmt.Sprint(&token, []pki.Token{token}, struct{ T pki.Token }{token}),
		} {
			if contains(shown, secret) || !contains(shown, token.ID) {
				t.Errorf("shown as %s", shown)
			}
			if contains(shown, fmt.Sprintf("%x", secret)) || contains(shown, "[0 ") {
				t.Errorf("shown as %s", shown)
			}
		}
	}
}

func TestParseTokenErrors(t *testing.T) {
	text := pki.NewToken([32]byte{7}).Reveal()
	parts := strings.Split(text, ".")
	with := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, ".")
	}
	cases := []struct {
		name, text string
		kind       error
	}{
		{"empty", "", pki.ErrTokenForm},
		{"a word", "hello", pki.ErrTokenForm},
		{"a URL", "https://example.org/a.b.c", pki.ErrTokenForm},
		{"next version", with(0, "ozmo2"), pki.ErrTokenVersion},
		{"a fifth part", text + ".x", pki.ErrTokenForm},
		{"glued", text + text, pki.ErrTokenForm},
		{"short id", with(1, "12"), pki.ErrTokenForm},
		{"id in capitals", with(1, "ABCDEF0123456789"), pki.ErrTokenForm},
		{"broken line", with(2, parts[2][:10]+"\n"+parts[2][10:]), pki.ErrTokenForm},
		{"other alphabet", with(2, strings.Repeat("+", len(parts[2]))), pki.ErrTokenForm},
		{"long secret", with(2, parts[2]+"AAAA"), pki.ErrTokenForm},
		{"short secret", with(2, parts[2][:8]), pki.ErrTokenCut},
		{"fingerprint of nothing", with(3, strings.Repeat("A", 43)), pki.ErrTokenForm},
		{"bits to spare", with(3, parts[3][:42]+"B"), pki.ErrTokenForm},
		{"huge", "ozmo1." + strings.Repeat("A", 10000), pki.ErrTokenForm},
	}
	for _, tc := range cases {
		_, err := pki.ParseToken(tc.text)
		if !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.kind)
		}
		if err != nil && (contains(err.Error(), parts[2]) || contains(err.Error(), parts[3])) {
			t.Errorf("%s: the error quotes the token: %v", tc.name, err)
		}
	}
	for n := len("ozmo1."); n < len(text); n++ {
		if _, err := pki.ParseToken(text[:n]); !errors.Is(err, pki.ErrTokenCut) {
			t.Errorf("cut to %d characters: %v", n, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(pki.NewToken([32]byte{}).Reveal())
	f.Add(pki.NewToken([32]byte{1, 2, 3}).Reveal())
	f.Add("ozmo1...")
	f.Add("ozmo2.a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := pki.ParseToken(text)
		if err != nil {
			if !errors.Is(err, pki.ErrTokenForm) && !errors.Is(err, pki.ErrTokenCut) && !errors.Is(err, pki.ErrTokenVersion) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if token.Reveal() != strings.TrimSpace(text) {
			t.Fatalf("%q reads as %q", text, token.Reveal())
		}
	})
}
