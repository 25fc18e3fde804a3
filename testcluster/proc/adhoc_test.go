package proc

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

func TestAdhocTerm(t *testing.T) {
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "15")
	chain.Commit(t.Context(), 20)
	receiver := NewReceiver(t)
	receiver.Refuse = func(req *http.Request, d Delivery) int {
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond)
		return 0
	}
	subjects := []subject{{"alice", "devnet", "devnet", 2, []string{"transfers", "large", "failing", "calls"}}}
	n := NewNode(t, dir)
	setUp(t, n.Folder, chain, receiver, subjects)
	d := drive(t, chain, 5)
	for range 20 {
		n.Start(t)
		n.AwaitStarted(t)
		<-time.After(time.Duration(500+rand.IntN(500)) * time.Millisecond)
		n.Terminate(t, Patience)
	}
	n.Start(t)
	info := d.rest(t)
	n.AwaitCaughtUp(t, chain)
	checkCrash(t, n, d, info, receiver, subjects, 20)
	n.Terminate(t, Patience)
}
