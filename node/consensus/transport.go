package consensus

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

const (
	transportTimeout = 10 * time.Second // of one message, but snapshots by their size
	streamsKept      = 3                // open and idle, per member

	// One message under way per member: Raft's pipeline (two) can lock up when a
	// response ends it while a message is being sent; replication to that member
	// and Shutdown then wait for ever.
	messagesUnderWay = 1
)

// transport sends to servers, not to addresses: it finds out where a server is
// at the time, and says on the stream whom it wants. Raft's own hook for that,
// the address provider, is asked by id alone and cannot say what the
// configuration holds.
type transport struct {
	*raft.NetworkTransport
	streams *streams
	locate  func(server string) (address string, ok bool) // nil: as configured
}

func newTransport(s *streams, locate func(string) (string, bool), logger hclogLogger) *transport {
	return &transport{
		streams: s, locate: locate,
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: s, MaxPool: streamsKept, MaxRPCsInFlight: messagesUnderWay, Timeout: transportTimeout, Logger: logger,
		}),
	}
}

// cut ends every stream, so that nothing waits for a member that is silent.
func (t *transport) cut() error {
	t.CloseStreams()
	return t.streams.Close()
}

// target is what streams.Dial reads: gossip knows better where a server is than
// the configuration, which holds the address it was added with.
func (t *transport) target(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress {
	address := string(configured)
	if t.locate != nil {
		if now, ok := t.locate(string(id)); ok && now != "" {
			address = now
		}
	}
	return raft.ServerAddress(string(id) + " " + address)
}

// AppendEntries sends entries to a server.
func (t *transport) AppendEntries(id raft.ServerID, at raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, t.target(id, at), req, resp)
}

// RequestVote asks a server for its vote.
func (t *transport) RequestVote(id raft.ServerID, at raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, t.target(id, at), req, resp)
}

// RequestPreVote asks a server whether it would vote.
func (t *transport) RequestPreVote(id raft.ServerID, at raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, t.target(id, at), req, resp)
}

// InstallSnapshot sends a snapshot to a server.
func (t *transport) InstallSnapshot(id raft.ServerID, at raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, t.target(id, at), req, resp, data)
}

// TimeoutNow tells a server to take over. A leader that waits for the answer
// takes no entries, so a server that is silent is not waited for as long as
// other messages are.
func (t *transport) TimeoutNow(id raft.ServerID, at raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	answered := make(chan error, 1)
	late := new(raft.TimeoutNowResponse)
	go func() { answered <- t.NetworkTransport.TimeoutNow(id, t.target(id, at), req, late) }()
	timer := time.NewTimer(transferTimeout / 2)
	defer timer.Stop()
	select {
	case err := <-answered:
		*resp = *late
		return err
	case <-timer.C:
		return fmt.Errorf("%s does not answer", id)
	}
}
