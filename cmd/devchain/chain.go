package main

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

// chain is the node and what devchain keeps beside it.
type chain struct {
	opts     options
	accounts []account
	token    common.Address
	setup    uint64 // height below which no reorganisation reaches: the token's block

	stack  *node.Node
	eth    *eth.Ethereum
	client *ethclient.Client
	pool   *syncedPool
	wallet *wallet

	mu     sync.RWMutex // one change of the head at a time; readers that need a still chain hold it shared
	forks  uint64       // reorganisations so far
	closed bool
}

// newChain starts a node and deploys the token in block 1. register may add
// APIs (the dev_ namespace) before the node listens.
//
// The parts are those of go-ethereum's ethclient/simulated, put together here
// because that package neither lets other APIs join its server nor builds a
// branch aside: its Fork rewinds the visible head first, which a watcher of a
// real node never sees.
func newChain(opts options, register func(*chain) []rpc.API) (*chain, error) {
	accounts, err := newAccounts(opts.seed)
	if err != nil {
		return nil, err
	}
	stack, err := newStack(opts)
	if err != nil {
		return nil, err
	}
	c := &chain{opts: opts, accounts: accounts, stack: stack}
	if err := c.start(register); err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	return c, nil
}

func (c *chain) start(register func(*chain) []rpc.API) error {
	var err error
	if c.eth, err = eth.New(c.stack, ethConfig(c.opts, c.accounts)); err != nil {
		return fmt.Errorf("set up the node: %w", err)
	}
	c.pool = &syncedPool{TxPool: c.eth.TxPool()}
	c.wallet = newWallet(c.accounts, c.pool, new(big.Int).SetUint64(c.opts.chainID))
	system := filters.NewFilterSystem(c.eth.APIBackend, filters.Config{})
	c.stack.RegisterAPIs([]rpc.API{{Namespace: "eth", Service: filters.NewFilterAPI(system)}})
	if register != nil {
		c.stack.RegisterAPIs(register(c))
	}
	c.mu.Lock() // extend wants it
	defer c.mu.Unlock()
	if err := c.stack.Start(); err != nil {
		return fmt.Errorf("listen on %s: %w", c.opts.listen, err)
	}
	c.eth.SetSynced()
	c.client = ethclient.NewClient(c.stack.Attach())
	if err := c.deployToken(); err != nil {
		c.client.Close()
		return err
	}
	return nil
}

func (c *chain) deployToken() error {
	deployed, err := c.wallet.deploy(0)
	if err != nil {
		return fmt.Errorf("deploy the token: %w", err)
	}
	block, err := c.extend()
	if err != nil {
		return fmt.Errorf("deploy the token: %w", err)
	}
	receipts := c.eth.BlockChain().GetReceiptsByHash(block.Hash())
	if len(receipts) != 1 || receipts[0].Status != 1 {
		return errors.New("deploy the token: the transaction failed on chain")
	}
	c.token, c.setup = deployed.Address, block.NumberU64()
	return nil
}

// Close stops serving and drops the chain. A second call does nothing.
func (c *chain) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	// Without the lock: the node waits for calls in progress, which may want it
	// to find the chain closed.
	c.client.Close()
	return c.stack.Close()
}

// httpURL and wsURL say where the chain serves.
func (c *chain) httpURL() string { return c.stack.HTTPEndpoint() }

func (c *chain) wsURL() string { return "ws" + strings.TrimPrefix(c.stack.HTTPEndpoint(), "http") }

func newStack(opts options) (*node.Node, error) {
	host, port, err := opts.hostPort()
	if err != nil {
		return nil, err
	}
	conf := node.DefaultConfig
	conf.DataDir = ""
	conf.P2P = p2p.Config{NoDiscovery: true}
	modules := []string{"eth", "net", "web3", "txpool", "dev"}
	// The same host and port for both makes the node serve both on one listener.
	conf.HTTPHost, conf.HTTPPort, conf.HTTPModules = host, port, modules
	conf.WSHost, conf.WSPort, conf.WSModules = host, port, modules
	if opts.insecureListen {
		conf.HTTPVirtualHosts = []string{"*"}
	}
	stack, err := node.New(&conf)
	if err != nil {
		return nil, fmt.Errorf("set up the node: %w", err)
	}
	return stack, nil
}

func ethConfig(opts options, accounts []account) *ethconfig.Config {
	rules := *params.AllDevChainProtocolChanges
	rules.ChainID = new(big.Int).SetUint64(opts.chainID)

	// The forks' system contracts must be there from the first block.
	alloc := core.SystemContractAllocs()
	maps.Copy(alloc, genesisAlloc(accounts))

	conf := ethconfig.Defaults
	conf.Genesis = &core.Genesis{Config: &rules, GasLimit: conf.Miner.GasCeil, Alloc: alloc}
	conf.SyncMode = ethconfig.FullSync
	conf.TxPool.NoLocals = true
	conf.Miner.GasPrice = big.NewInt(1) // whatever the pool accepts gets mined
	conf.LogNoHistory = true            // an index would be rebuilt at every reorganisation
	// The defaults are sized for mainnet; everything here is in memory already.
	conf.DatabaseCache, conf.TrieCleanCache, conf.TrieDirtyCache, conf.SnapshotCache = 16, 16, 16, 0
	// The hash scheme keeps the last 128 states and collects the rest. The path
	// scheme's history of states, in memory, makes blocks slow after some 10 000.
	conf.StateScheme = rawdb.HashScheme
	return &conf
}
