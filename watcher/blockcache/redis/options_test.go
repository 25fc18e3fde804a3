package redis_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/watcher/blockcache/redis"
)

const secret = "s3cr3t"

func TestOptionsAreRefused(t *testing.T) {
	for _, url := range []string{
		"", "localhost:6379", "http://user:" + secret + "@host", "redis://:" + secret + "/x@host:6379", "redis://user:" + secret + "%zz@host",
		"redis://:1?" + secret + "@host", "redis://host/" + secret, "redis://host/1/" + secret, "redis://:" + secret + "@host?pool_size=9",
		"unix://:" + secret + "@", "redis://host?db=" + secret, "redis://:" + secret + "@ho st",
	} {
		c, err := redis.New(redis.Options{URL: url, Cluster: "c"})
		if !errors.Is(err, redis.ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", url, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the password: %v", err)
		}
		if c != nil {
			c.Close()
		}
	}
	for name, o := range map[string]redis.Options{
		"no cluster": {URL: "redis://host"},
		"colon":      {URL: "redis://host", Cluster: "a:b"},
		"timeout":    {URL: "redis://host", Cluster: "a", Timeout: -1},
		"queue":      {URL: "redis://host", Cluster: "a", QueueEntries: -1},
	} {
		if _, err := redis.New(o); !errors.Is(err, redis.ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", name, err)
		}
	}
}

func TestOptionsHideThePassword(t *testing.T) {
	for url, want := range map[string]string{
		"redis://user:" + secret + "@host:1/2":         "redis://host:1",
		"rediss://:" + secret + "@host":                "rediss://host",
		"unix://user:" + secret + "@/run/redis?db=1":   "unix:///run/redis",
		"redis://user:" + secret + "%zz@host":          "redis",
		"redis://user:pass@host:6379?db=1&x=" + secret: "redis://host:6379",
	} {
		o := redis.Options{URL: url, Cluster: "c"}
		if o.String() != want {
			t.Errorf("%s is shown as %s, want %s", url, o, want)
		}
		out := &logs.Buffer{}
		slog.New(slog.NewTextHandler(out, nil)).Info("m", "options", o)
		for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", o, o, o, o), out.String()} {
			if strings.Contains(shown, secret) {
				t.Errorf("the password is shown: %s", shown)
			}
		}
	}
}
