package manifests

import (
	"slices"
	"testing"
)

func TestCommand(t *testing.T) {
	c := Command{
		Args: []string{"serve", "--node=a", "--node=b", "--cluster-listen=:7000"},
		Env:  map[string]string{"OZMO_NODE": "c", "OZMO_DATA": "/data", "OZMO_REDIS_URL": "", "HOME": "/"},
	}
	for flag, want := range map[string]string{"node": "b", "data": "/data", "cluster-listen": ":7000"} {
		if got, ok := c.Get(flag); !ok || got != want {
			t.Errorf("%s: %q, %v; want %q", flag, got, ok, want)
		}
	}
	for _, flag := range []string{"redis-url", "listen", "serve"} {
		if got, ok := c.Get(flag); ok {
			t.Errorf("%s: %q, but it is not set", flag, got)
		}
		if err := c.Set(flag, "x"); err == nil {
			t.Errorf("%s is not set and can be set", flag)
		}
	}
	for _, flag := range []string{"node", "data"} {
		if err := c.Set(flag, "new"); err != nil {
			t.Error(err)
		}
		if got, _ := c.Get(flag); got != "new" {
			t.Errorf("%s: %q after Set", flag, got)
		}
	}
	if want := []string{"serve", "--node=a", "--node=new", "--cluster-listen=:7000"}; !slices.Equal(c.Args, want) {
		t.Errorf("arguments %q, want %q", c.Args, want)
	}
	if got, want := c.Environ(), []string{"HOME=/", "OZMO_DATA=new", "OZMO_NODE=c", "OZMO_REDIS_URL="}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if got, want := c.Flags(), []string{"cluster-listen", "data", "node", "redis-url"}; !slices.Equal(got, want) {
		t.Errorf("flags %q, want %q", got, want)
	}
}
