package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/ethereum/go-ethereum/rpc"
)

// server is a chain with what drives it.
type server struct {
	opts     options
	chain    *chain
	traffic  *traffic
	producer *producer
}

// newServer starts a chain that serves but makes no blocks of its own yet.
func newServer(opts options, log *slog.Logger) (*server, error) {
	s := &server{opts: opts}
	api := &devAPI{server: s, ready: make(chan struct{})}
	c, err := newChain(opts, func(*chain) []rpc.API {
		return []rpc.API{{Namespace: "dev", Service: api}}
	})
	if err != nil {
		return nil, err
	}
	s.chain = c
	s.traffic = newTraffic(c.wallet, c.token, opts.seed, opts.rate, log)
	s.producer = newProducer(c, opts, log)
	close(api.ready)
	return s, nil
}

// run makes blocks and traffic until ctx ends, then closes the chain. It returns
// nil after a clean end.
func (s *server) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() { s.traffic.run(ctx) })
	err := s.producer.run(ctx)
	cancel()
	group.Wait()
	return errors.Join(err, s.chain.Close())
}

func (s *server) readiness() readiness {
	return readiness{
		RPC: s.chain.httpURL(), WS: s.chain.wsURL(),
		Token: s.chain.token, ChainID: s.opts.chainID,
	}
}
