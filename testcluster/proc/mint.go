package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
)

// Mint is a chain in the test's own process whose blocks hold as many transfers
// as a test wants, at the moments it wants: every alert that is owed is known, and
// when its block became available.
type Mint struct {
	chain    *fakechain.Chain
	endpoint *fakechain.Endpoint
	server   *httptest.Server

	mu     sync.Mutex
	nonce  uint64
	blocks []Minted
	asked  map[uint64]*asking // by height
}

// Minted is a block of transfers.
type Minted struct {
	Height uint64
	Hash   string
	Txs    []string
	At     time.Time // when it became available
	Asked  time.Time // when somebody first asked for it, or for its receipts; zero: nobody has
	Given  time.Time // when both had been given
}

// asking is what was asked of a block so far.
type asking struct {
	asked, given time.Time
}

// NewMint serves until the test ends.
func NewMint(t testing.TB) *Mint {
	t.Helper()
	m := &Mint{chain: fakechain.New(fakechain.Options{First: 1, TxPerBlock: -1}), asked: map[uint64]*asking{}}
	var err error
	if m.endpoint, err = m.chain.NewEndpoint(); err != nil {
		t.Fatal(err)
	}
	m.server = httptest.NewServer(m)
	t.Cleanup(func() {
		m.endpoint.Close()
		m.server.Close()
	})
	return m
}

// URL is where to ask for blocks, WS where to hear of them.
func (m *Mint) URL() string { return m.server.URL }

// WS is where to subscribe.
func (m *Mint) WS() string { return m.endpoint.WSURL() }

// Token is the contract of the transfers.
func (m *Mint) Token() string { return "0x" + hex.EncodeToString(fakechain.Token[:]) }

// Block makes a block with so many transfers.
func (m *Mint) Block(transfers int) Minted {
	m.mu.Lock()
	txs := make([]fakechain.Tx, transfers)
	for i := range txs {
		m.nonce++
		var from fakechain.Address
		binary.BigEndian.PutUint64(from[12:], m.nonce)
		txs[i] = fakechain.Transfer(from, fakechain.Address{1}, m.nonce)
	}
	m.mu.Unlock()
	return m.With(txs...)
}

// With makes a block of these transactions.
func (m *Mint) With(txs ...fakechain.Tx) Minted {
	b := m.chain.ExtendWith(txs...) // the last it does is to tell subscribers
	out := Minted{Height: b.Number, Hash: b.Hash.String(), At: time.Now()}
	for _, tx := range b.Txs {
		out.Txs = append(out.Txs, tx.Hash.String())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks = append(m.blocks, out)
	return out
}

// Blocks are all blocks that were made, oldest first.
func (m *Mint) Blocks() []Minted {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Minted, len(m.blocks))
	for i, b := range m.blocks {
		if a := m.asked[b.Height]; a != nil {
			b.Asked, b.Given = a.asked, a.given
		}
		out[i] = b
	}
	return out
}

// Head is the height of the newest block.
func (m *Mint) Head() uint64 { return m.chain.Head().Number }

// ServeHTTP passes requests on to the endpoint and notes when blocks were asked
// for.
func (m *Mint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	began := time.Now()
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.endpoint.ServeHTTP(w, r)
	heights := m.heights(body)
	if len(heights) == 0 {
		return
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range heights {
		a := m.asked[h]
		if a == nil {
			a = &asking{asked: began}
			m.asked[h] = a
		}
		if began.Before(a.asked) {
			a.asked = began
		}
		a.given = now
	}
}

// heights are those of the blocks and receipts that a request asks for.
func (m *Mint) heights(body []byte) (out []uint64) {
	type request struct {
		Method string
		Params []json.RawMessage
	}
	var list []request
	if err := json.Unmarshal(body, &list); err != nil {
		var one request
		if json.Unmarshal(body, &one) != nil {
			return nil
		}
		list = []request{one}
	}
	for _, r := range list {
		switch {
		case len(r.Params) == 0:
			continue
		case r.Method == "eth_getBlockReceipts":
		case r.Method == "eth_getBlockByNumber" && len(r.Params) > 1 && string(r.Params[1]) == "true":
		default:
			continue
		}
		var which string
		if json.Unmarshal(r.Params[0], &which) != nil {
			continue
		}
		if hash, err := fsm.ParseHash(which); err == nil {
			if b := m.chain.ByHash(hash); b != nil {
				out = append(out, b.Number)
			}
		} else if height, err := strconv.ParseUint(which, 0, 64); err == nil {
			out = append(out, height)
		}
	}
	return out
}
