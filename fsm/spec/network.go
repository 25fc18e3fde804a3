package spec

import (
	"encoding/json"
	"math"
	"time"
)

// Chain is a kind of blockchain, as network_type spells it.
type Chain string

// The chains whose documents are read.
const (
	EVM      Chain = "EVM"
	Stellar  Chain = "Stellar"
	Midnight Chain = "Midnight"
	Solana   Chain = "Solana"
)

// Supported reports whether networks of this chain are watched. Documents of
// the others are read and kept.
func (c Chain) Supported() bool { return c == EVM }

// Network is a chain and its endpoints: one file in networks/.
type Network struct {
	Type               Chain
	Slug               string // [a-z0-9_]*
	Name               string
	RPCURLs            []RPCURL
	ChainID            *uint64
	NetworkPassphrase  *string
	BlockTime          time.Duration // whole milliseconds, at least 100 ms
	ConfirmationBlocks uint64        // at least 1
	Cron               string        // see ParseSchedule
	MaxPastBlocks      *PastBlocks   // nil: not given
	StoreBlocks        bool
	Recovery           *Recovery

	// PollInterval (extension poll_interval) replaces the cron schedule; at
	// least 100 ms, 0 when not given.
	PollInterval time.Duration
	// Watch (extension watch) is the slug of a shared network whose blocks this
	// one uses; empty when not given.
	Watch string
}

// RPCURL is an endpoint of a network.
type RPCURL struct {
	Type   string `json:"type_"` // "rpc", or "ws_rpc" on Midnight
	URL    Secret `json:"url"`
	Weight uint32 `json:"weight"` // 0 to 100; 0 is never used
}

// PastBlocks bounds how far behind a network may be caught up.
type PastBlocks struct {
	Unlimited bool
	N         uint64 // blocks, at least 1; 0 when Unlimited
}

// MarshalJSON writes the number, or "unlimited".
func (p PastBlocks) MarshalJSON() ([]byte, error) {
	if p.Unlimited {
		return []byte(`"unlimited"`), nil
	}
	return json.Marshal(p.N)
}

// Recovery is the recovery_config of a network. It is kept for the peer's sake:
// no block is ever skipped here, so there is nothing to recover.
type Recovery struct {
	Enabled         bool
	Cron            string
	MaxBlocksPerRun uint64
	MaxBlockAge     uint64 // blocks
	MaxRetries      uint32
	RetryDelay      time.Duration // whole milliseconds
}

// Secrets returns pointers to every secret of the document, so that a caller can
// seal or resolve them in place.
func (n *Network) Secrets() []*Secret {
	out := make([]*Secret, len(n.RPCURLs))
	for i := range n.RPCURLs {
		out[i] = &n.RPCURLs[i].URL
	}
	return out
}

// RecommendedPastBlocks is floor(interval / block time) + confirmations + 1,
// where the interval lies between the next two firings of the cron schedule
// after now, or is 0 when there are none. The peer uses it as the default of
// max_past_blocks.
func (n *Network) RecommendedPastBlocks(now time.Time) uint64 {
	var perTick uint64
	if s, err := ParseSchedule(n.Cron); err == nil {
		first := s.Next(now)
		if second := s.Next(first); !first.IsZero() && !second.IsZero() {
			perTick = uint64(second.Sub(first) / max(n.BlockTime, time.Millisecond))
		}
	}
	if n.ConfirmationBlocks > math.MaxUint64-perTick-1 {
		return math.MaxUint64
	}
	return perTick + n.ConfirmationBlocks + 1
}

type networkWire struct {
	Type               Chain         `json:"network_type"`
	Slug               string        `json:"slug"`
	Name               string        `json:"name"`
	RPCURLs            []RPCURL      `json:"rpc_urls"`
	ChainID            *uint64       `json:"chain_id,omitempty"`
	NetworkPassphrase  *string       `json:"network_passphrase,omitempty"`
	BlockTimeMS        int64         `json:"block_time_ms"`
	ConfirmationBlocks uint64        `json:"confirmation_blocks"`
	Cron               string        `json:"cron_schedule"`
	MaxPastBlocks      *PastBlocks   `json:"max_past_blocks,omitempty"`
	StoreBlocks        bool          `json:"store_blocks"`
	Recovery           *recoveryWire `json:"recovery_config,omitempty"`
	PollInterval       *durationWire `json:"poll_interval,omitempty"`
	Watch              string        `json:"watch,omitempty"`
}

type recoveryWire struct {
	Enabled         bool   `json:"enabled"`
	Cron            string `json:"cron_schedule"`
	MaxBlocksPerRun uint64 `json:"max_blocks_per_run"`
	MaxBlockAge     uint64 `json:"max_block_age"`
	MaxRetries      uint32 `json:"max_retries"`
	RetryDelayMS    int64  `json:"retry_delay_ms"`
}

// durationWire is the peer's form of a duration, exact to the nanosecond.
type durationWire struct {
	Secs  int64 `json:"secs"`
	Nanos int64 `json:"nanos"`
}

func wireDuration(d time.Duration) *durationWire {
	return &durationWire{Secs: int64(d / time.Second), Nanos: int64(d % time.Second)}
}

// MarshalJSON writes the document with the peer's field names, secrets in clear.
func (n Network) MarshalJSON() ([]byte, error) {
	w := networkWire{
		Type: n.Type, Slug: n.Slug, Name: n.Name, RPCURLs: orEmpty(n.RPCURLs),
		ChainID: n.ChainID, NetworkPassphrase: n.NetworkPassphrase,
		BlockTimeMS: n.BlockTime.Milliseconds(), ConfirmationBlocks: n.ConfirmationBlocks,
		Cron: n.Cron, MaxPastBlocks: n.MaxPastBlocks, StoreBlocks: n.StoreBlocks, Watch: n.Watch,
	}
	if r := n.Recovery; r != nil {
		w.Recovery = &recoveryWire{r.Enabled, r.Cron, r.MaxBlocksPerRun, r.MaxBlockAge, r.MaxRetries, r.RetryDelay.Milliseconds()}
	}
	if n.PollInterval != 0 {
		w.PollInterval = wireDuration(n.PollInterval)
	}
	return Encode(w)
}

// UnmarshalJSON reads a stored document: ParseNetwork with OriginState.
func (n *Network) UnmarshalJSON(data []byte) error {
	got, problems := ParseNetwork(data, WithOrigin(OriginState))
	if err := problems.Err(); err != nil {
		return err
	}
	*n = *got
	return nil
}

// orEmpty makes nil an empty list, since the peer refuses null for a list.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
