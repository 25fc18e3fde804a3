package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// options is what the command line says.
type options struct {
	listen         string
	insecureListen bool
	chainID        uint64
	seed           uint64
	blockTime      time.Duration // 0: blocks only on demand
	rate           float64       // transfers per second, 0: none
	reorgEvery     int           // blocks, 0: never
	reorgDepth     int           // blocks
	reorgMode      reorgMode
	readyFile      string
	json           bool
}

func defaultOptions() options {
	return options{
		listen:     "127.0.0.1:8545",
		chainID:    1337,
		seed:       1,
		blockTime:  time.Second,
		rate:       2,
		reorgDepth: 5,
		reorgMode:  modeReinclude,
	}
}

// parseOptions reads the arguments (without the program's name). Usage and
// complaints about flags go to out.
func parseOptions(args []string, out io.Writer) (options, error) {
	o := defaultOptions()
	fs := flag.NewFlagSet("devchain", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&o.listen, "listen", o.listen, "`address` of HTTP and WebSocket JSON-RPC; port 0 takes a free port")
	fs.BoolVar(&o.insecureListen, "insecure-listen", false, "allow an address other than loopback (the keys of all funds are public)")
	fs.Uint64Var(&o.chainID, "chain-id", o.chainID, "chain `id`")
	fs.Uint64Var(&o.seed, "seed", o.seed, "seed `number` of accounts, traffic and reorganisations")
	fs.DurationVar(&o.blockTime, "block-time", o.blockTime, "`interval` between blocks; 0 makes blocks only on dev_commit")
	fs.Float64Var(&o.rate, "rate", o.rate, "ERC-20 transfers per second (`number`); 0 for none")
	fs.IntVar(&o.reorgEvery, "reorg-every", o.reorgEvery, "reorganise the chain every N `blocks`; 0 for never (needs --block-time)")
	fs.IntVar(&o.reorgDepth, "reorg-depth", o.reorgDepth, "greatest depth in `blocks` of these reorganisations; each takes a random one from 1 on")
	mode := fs.String("reorg-mode", string(o.reorgMode), "what becomes of transactions in these reorganisations: reinclude, drop or move")
	fs.StringVar(&o.readyFile, "ready-file", "", "`path` of a JSON file written once the chain serves")
	fs.BoolVar(&o.json, "json", false, "print the content of the ready file on standard output as well")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: devchain takes flags only", fs.Arg(0))
	}
	o.reorgMode = reorgMode(*mode)
	return o, o.validate()
}

func (o options) validate() error {
	if _, _, err := o.hostPort(); err != nil {
		return err
	}
	switch {
	case o.chainID == 0:
		return errors.New("--chain-id must not be 0")
	case o.blockTime < 0:
		return fmt.Errorf("--block-time %v must not be negative", o.blockTime)
	case !validRate(o.rate):
		return fmt.Errorf("--rate %v must lie between 0 and %d transfers per second", o.rate, maxRate)
	case o.reorgEvery < 0:
		return fmt.Errorf("--reorg-every %d must not be negative", o.reorgEvery)
	case o.reorgEvery > 0 && o.blockTime == 0:
		return errors.New("--reorg-every needs a --block-time: without a timer use dev_reorg")
	case o.reorgDepth < 1 || o.reorgDepth > maxReorgDepth:
		return fmt.Errorf("--reorg-depth %d must lie between 1 and %d", o.reorgDepth, maxReorgDepth)
	}
	return o.reorgMode.validate()
}

// hostPort splits the listen address and refuses hosts other than loopback
// unless they were allowed.
func (o options) hostPort() (string, int, error) {
	host, service, err := net.SplitHostPort(o.listen)
	if err != nil {
		return "", 0, fmt.Errorf("--listen %q is not host:port: %w", o.listen, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("--listen %q: port %q is not a number from 0 to 65535", o.listen, service)
	}
	if o.insecureListen {
		if host == "" {
			host = "0.0.0.0"
		}
		return host, int(port), nil
	}
	if host == "localhost" {
		return host, int(port), nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("--listen %q is not a loopback address: use 127.0.0.1, ::1 or localhost, or add --insecure-listen", o.listen)
	}
	return host, int(port), nil
}
