package redis_test

import (
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	for name, tc := range map[string]struct {
		opts redis.Options
		url  string
	}{
		"socket":   {redis.Options{}, "unix:///"},
		"password": {redis.Options{Password: "p"}, "unix://:p@/"},
		"tcp":      {redis.Options{TCP: true}, "redis://127.0.0.1:"},
		"tls":      {redis.Options{TLS: true}, "rediss://127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			s := redis.Start(t, tc.opts)
			if !strings.HasPrefix(s.URL(), tc.url) {
				t.Errorf("URL %s, want %s", s.URL(), tc.url)
			}
			s.MustDo("SET", "k", "a\r\nb")
			s.MustDo("SET", "l", "")
			if got := s.MustDo("MGET", "k", "l", "m"); got != "a\r\nb\n\n" {
				t.Errorf("the values are %q", got)
			}
			if _, err := s.Do("NO-SUCH-COMMAND"); !errors.Is(err, redis.ErrReply) {
				t.Errorf("an unknown command: %v", err)
			}
			s.Flush()
			if got := s.MustDo("DBSIZE"); got != "0" {
				t.Errorf("%s keys after a flush", got)
			}
			s.Pause()
			s.Stop()
			if _, err := s.Do("PING"); err == nil {
				t.Error("a server that was stopped answers")
			}
			s.Start()
			s.Pause()
			s.Resume()
			s.MustDo("SET", "k", "v")
			s.Kill()
			s.Start()
			if got := s.MustDo("EXISTS", "k"); got != "0" {
				t.Error("a server that was killed remembers")
			}
		})
	}
}
