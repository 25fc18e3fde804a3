package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseOptions(t *testing.T) {
	got, err := parseOptions([]string{
		"--listen", "[::1]:0", "--block-time=250ms", "--rate", "0", "--seed", "7", "--reorg-every", "10", "--reorg-depth", "3",
		"--reorg-mode", "move", "--chain-id", "99", "--ready-file", "r.json", "--json",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		listen: "[::1]:0", chainID: 99, seed: 7, blockTime: 250 * time.Millisecond, reorgEvery: 10, reorgDepth: 3,
		reorgMode: modeMove, readyFile: "r.json", json: true,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	tests := []struct{ args, want string }{
		{"--listen 0.0.0.0:8545", "--insecure-listen"},
		{"--listen :8545", "loopback"},
		{"--listen example.org:8545", "loopback"},
		{"--listen 127.0.0.1", "host:port"},
		{"--listen 127.0.0.1:99999", "port"},
		{"--chain-id 0", "--chain-id"},
		{"--block-time -1s", "--block-time"},
		{"--rate -1", "--rate"},
		{"--rate 1001", "--rate"},
		{"--rate NaN", "--rate"},
		{"--reorg-every -1", "--reorg-every"},
		{"--reorg-every 5 --block-time 0", "--block-time"},
		{"--reorg-depth 0", "--reorg-depth"},
		{"--reorg-depth 65", "--reorg-depth"},
		{"--reorg-mode shuffle", "shuffle"},
		{"--no-such-flag", "no-such-flag"},
		{"stray", "stray"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			_, err := parseOptions(strings.Fields(test.args), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that names %q", err, test.want)
			}
		})
	}
}

func TestInsecureListen(t *testing.T) {
	o, err := parseOptions([]string{"--listen", ":0", "--insecure-listen"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if host, port, err := o.hostPort(); host != "0.0.0.0" || port != 0 || err != nil {
		t.Errorf("host %q, port %d, error %v", host, port, err)
	}
}

func TestHelpIsNoError(t *testing.T) {
	if _, err := parseOptions([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want flag.ErrHelp", err)
	}
	if code := run(t.Context(), []string{"--help"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if code := run(t.Context(), []string{"--rate", "x"}, io.Discard, io.Discard); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
}
