package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDemoUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--for", "-1s"}, "--for -1s must not be negative"},
		{[]string{"--block-time", "10ms"}, "--block-time 10ms must lie between 100ms and 1m0s"},
		{[]string{"--block-time", "2m"}, "--block-time 2m0s must lie"},
		{[]string{"--rate", "0"}, "--rate 0 must be more than 0"},
		{[]string{"--rate", "NaN"}, "--rate NaN must be more than 0"},
		{[]string{"--rate", "1001"}, "at most 1000"},
		{[]string{"--reorg-every", "-1"}, "--reorg-every -1 must not be negative"},
		{[]string{"now"}, "unknown command"},
	} {
		ozmo(t, append([]string{"demo"}, tc.args...)...).want(t, exitUsage, "", tc.want)
	}
}

var (
	lastLine = regexp.MustCompile(`(?m)^[1-9]\d* alerts? received, signatures verified, [1-9]\d* blocks? judged, 0 blocks skipped, block-to-alert p50 [\d.]+ ms p99 [\d.]+ ms\n\z`)
	// Somebody who interrupts a demo does not wait long for what is being judged.
	interruptedLine = regexp.MustCompile(`(?m)^[1-9]\d* alerts? received, signatures verified, \d+ blocks? judged, 0 blocks skipped, .*\n\z`)
	chainURL        = regexp.MustCompile(`(?m)^  chain +(http://\S+)`)
)

// TestDemo runs the whole demo, with a devchain that is built once.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds devchain")
	}
	bin := t.TempDir()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	checkout, ok := findCheckout(dir)
	if !ok {
		t.Fatalf("%s is in no checkout", dir)
	}
	if err := buildDevchain(t.Context(), checkout, filepath.Join(bin, devchainName)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Run("command", testDemoCommand)
	t.Run("reorgs", testDemoReorgs)
	t.Run("no", testDemoWithoutAlerts)
	t.Run("int", testDemoInterrupted)
	t.Run("kill", testDemoKilled)
}

// runDemo runs the command until it has received some alerts.
func runDemo(t *testing.T, alerts int, args ...string) result {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	a := &app{}
	root := a.root()
	for _, c := range root.Commands() {
		if c.Name() == "demo" {
			root.RemoveCommand(c)
		}
	}
	cmd := demoCommand(a, &demoOptions{alerts: alerts})
	a.noteRunning(cmd)
	root.AddCommand(cmd)
	var stdout, stderr bytes.Buffer
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(append([]string{"demo", "--for", "3m", "--block-time", "300ms", "--rate", "10"}, args...))
	ran, err := root.ExecuteContextC(t.Context())
	r := result{code: a.report(&stderr, ran, err), stdout: stdout.String(), stderr: stderr.String()}
	m := chainURL.FindStringSubmatch(r.stdout)
	if m == nil {
		t.Fatalf("no chain in the banner; exit code %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	if err := answers(m[1]); err == nil {
		t.Error("the chain outlives the demo")
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return r
}

func testDemoCommand(t *testing.T) {
	r := runDemo(t, hintsAfter)
	r.want(t, exitOK, "FIRED  ", "")
	for _, want := range []string{"  tenant      default\n", "  network     devnet\n", "Where to look now", "Where to look next", "coverage show default devnet --data "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in:\n%s", want, r.stdout)
		}
	}
	if !lastLine.MatchString(r.stdout) || strings.Contains(r.stdout, "\x1b") {
		t.Errorf("output, with a last line that is not as promised, or with colours:\n%s", r.stdout)
	}
}

func testDemoReorgs(t *testing.T) {
	r := runDemo(t, 2*hintsAfter, "--reorg-every", "2")
	r.want(t, exitOK, "FIRED  ", "")
	if !lastLine.MatchString(r.stdout) {
		t.Errorf("last line:\n%s", r.stdout)
	}
}

func testDemoWithoutAlerts(t *testing.T) {
	r := runDemo(t, 0, "--for", "1ms", "--rate", "0.001")
	r.want(t, exitFailure, "0 alerts received, signatures verified, ", "no alert was received")
}

// TestDemoProcess is no test: it is the demo in a process that can be killed.
func TestDemoProcess(t *testing.T) {
	if os.Getenv("OZMO_TEST_DEMO") == "" {
		t.Skip("started by TestDemo")
	}
	os.Args = []string{"ozmo", "demo", "--block-time", "300ms", "--rate", "10"}
	main()
}

// demoProcess is a demo in a process of its own.
type demoProcess struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	out   strings.Builder
	chain string
	temp  string
}

// startDemo starts a demo and waits for its first alert.
func startDemo(t *testing.T) *demoProcess {
	t.Helper()
	p := &demoProcess{temp: t.TempDir()}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDemoProcess$")
	p.cmd.Env = append(os.Environ(), "OZMO_TEST_DEMO=1", "TMPDIR="+p.temp)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	p.until(t, "FIRED  ")
	m := chainURL.FindStringSubmatch(p.out.String())
	if m == nil {
		t.Fatalf("no chain in the banner:\n%s", p.out.String())
	}
	p.chain = m[1]
	return p
}

// until reads to a line that begins in a certain way.
func (p *demoProcess) until(t *testing.T, prefix string) {
	t.Helper()
	for p.lines.Scan() {
		p.out.WriteString(p.lines.Text() + "\n")
		if strings.HasPrefix(p.lines.Text(), prefix) {
			return
		}
	}
	t.Fatalf("no line begins with %q in:\n%s", prefix, p.out.String())
}

// end sends a signal and reads what is left.
func (p *demoProcess) end(t *testing.T, s os.Signal) error {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	for p.lines.Scan() {
		p.out.WriteString(p.lines.Text() + "\n")
	}
	return p.cmd.Wait()
}

func testDemoInterrupted(t *testing.T) {
	p := startDemo(t)
	if err := answers(p.chain); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until(t, "The configuration was read again: nothing has changed.")
	if err := p.end(t, os.Interrupt); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if !interruptedLine.MatchString(p.out.String()) {
		t.Errorf("last line:\n%s", p.out.String())
	}
	if err := answers(p.chain); err == nil {
		t.Error("the chain outlives the demo")
	}
	if left, err := os.ReadDir(p.temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func testDemoKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	p := startDemo(t)
	if err := p.end(t, os.Kill); err == nil {
		t.Error("killed, and no error")
	}
	// The kernel ends the chain in its own time.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for answers(p.chain) == nil {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("the chain outlives a demo that was killed")
		}
	}
}

// answers tells whether somebody listens at a URL.
func answers(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
