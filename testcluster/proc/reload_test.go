package proc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api"
)

func TestReload(t *testing.T) {
	s := newStandard(t, "transfers")
	const file = "tenants/alice/monitors/calls.json"
	calls := func(expression string) Doc {
		return Monitor("calls", "devnet", s.chain.Token, "receiver", Call(expression))
	}
	s.start(t)
	before := s.blocks(t, 6)
	s.node.AwaitCaughtUp(t, s.chain)
	version := s.tenant(t).Version

	// A new monitor: from the next block on.
	s.node.Folder.Write(t, file, calls(""))
	s.hangUp(t, "configuration read", "changed=1")
	if now := s.tenant(t); now.Monitors != 2 || now.Version != version+1 {
		t.Fatalf("after a monitor was added: %+v, version %d before", now, version)
	}
	added := s.blocks(t, 4)

	// A broken file: the log names file and place, and everything stays.
	s.node.Folder.Write(t, file, calls("valu > 1"))
	line := s.hangUp(t, "level=ERROR", file, "match_conditions.functions[0].expression")
	if !strings.Contains(line, "valu") {
		t.Errorf("the log does not say what is wrong: %s", line)
	}
	s.hangUp(t, "configuration read", "refused=1")
	s.node.Folder.WriteText(t, file, "{")
	s.hangUp(t, "level=ERROR", file)
	if now := s.tenant(t); now.Monitors != 2 || now.Version != version+1 {
		t.Fatalf("a broken file changed the configuration: %+v", now)
	}
	kept := s.blocks(t, 4)

	// Mended: it heals. Depth is 2, so the old one must have judged first.
	s.node.AwaitCaughtUp(t, s.chain)
	s.blocks(t, 2)
	s.node.AwaitCaughtUp(t, s.chain)
	s.node.Folder.Write(t, file, calls("value > "+largeValue))
	s.hangUp(t, "configuration read", "changed=1", "refused=0")
	if now := s.tenant(t); now.Version != version+2 {
		t.Fatalf("the mended file was not taken over: %+v", now)
	}
	healed := s.blocks(t, 4)
	large, err := s.chain.Transfer(t.Context(), 0, 9, largeValue+"0")
	if err != nil {
		t.Fatal(err)
	}
	s.blocks(t, 4)
	s.node.AwaitCaughtUp(t, s.chain)

	var got []string
	for _, d := range s.receiver.Deliveries(t) {
		if d.Monitor == "calls" {
			got = append(got, d.Tx)
		}
	}
	// Blocks within the depth when the monitor came were judged with it, too.
	for _, tx := range before[:len(before)-2] {
		if slices.Contains(got, tx) {
			t.Errorf("transaction %s is older than the monitor", tx)
		}
	}
	for _, tx := range slices.Concat(added, kept, []string{large}) {
		if !slices.Contains(got, tx) {
			t.Errorf("transaction %s was not noticed", tx)
		}
	}
	for _, tx := range healed {
		if slices.Contains(got, tx) {
			t.Errorf("transaction %s does not meet the new condition", tx)
		}
	}
	checkIdentity(t, s.receiver.Deliveries(t))
	s.proved(t)
	s.node.Terminate(t, Patience)
}

// tenant is what the node says of the subject.
func (s *standard) tenant(t testing.TB) api.TenantStatus {
	t.Helper()
	status, err := s.node.Client().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Tenants, func(a api.TenantStatus) bool { return a.ID == s.subject.tenant })
	if i < 0 {
		t.Fatalf("no tenant %s in %+v", s.subject.tenant, status)
	}
	return status.Tenants[i]
}

// hangUp sends SIGHUP and waits for a line of the log that has all the parts,
// and for the end of reading.
func (s *standard) hangUp(t testing.TB, parts ...string) (line string) {
	t.Helper()
	mark := s.node.Log.Mark()
	s.node.Signal(t, syscall.SIGHUP)
	Eventually(t, "reading the folder again", func(context.Context) (err error) {
		if err := s.node.Running(); err != nil {
			return err
		}
		if line, err = s.node.Log.Line(mark, parts...); err == nil {
			_, err = s.node.Log.Line(mark, "configuration read")
		}
		return err
	})
	return line
}

// proved has the node prove what is due, with every version that was in force.
func (s *standard) proved(t testing.TB) {
	t.Helper()
	info, err := s.chain.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, skipped := s.subject.checkCoverage(t, s.node)
	v, err := s.node.Client().Verify(t.Context(), s.subject.tenant, s.subject.network, first, info.Head.Number-s.subject.depth, nil)
	if err == nil && (!v.Proved() || v.Expected == 0 || skipped > 0) {
		err = fmt.Errorf("%d skipped, %+v", skipped, v)
	}
	if err != nil {
		t.Errorf("not proved: %v", err)
	}
}
