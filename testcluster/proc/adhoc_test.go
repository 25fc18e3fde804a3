package proc

import (
	"testing"
)

func TestAdhocDepth(t *testing.T) {
	s := newStandard(t, "transfers")
	f := s.node.Folder
	s.subject.depth = 6
	f.Write(t, "networks/devnet.json", Network("devnet", s.chain.ChainID, 6, s.chain.RPC))
	s.start(t)
	s.blocks(t, 12)
	s.node.AwaitCaughtUp(t, s.chain)
	t.Log(len(s.receiver.Deliveries(t)))
	f.Write(t, "networks/devnet.json", Network("devnet", s.chain.ChainID, 2, s.chain.RPC))
	s.hangUp(t, "configuration read")
	s.blocks(t, 4)
	s.node.AwaitCaughtUp(t, s.chain)
	t.Log(len(s.receiver.Deliveries(t)))
	s.subject.depth = 2
	s.subject.checkRest(t, s.node, s.chain, s.receiver)
	f.Write(t, "networks/devnet.json", Network("devnet", s.chain.ChainID, 6, s.chain.RPC))
	s.hangUp(t, "configuration read")
	s.blocks(t, 10)
	s.node.AwaitCaughtUp(t, s.chain)
	t.Log(len(s.receiver.Deliveries(t)))
	s.subject.depth = 6
	s.subject.checkRest(t, s.node, s.chain, s.receiver)
	s.node.Terminate(t, Patience)
}
