package redis

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
)

// Options of a server. The zero value listens on a Unix socket only.
type Options struct {
	TCP      bool     // also listen on a free port of 127.0.0.1
	TLS      bool     // listen there with TLS
	Password string   // of the user "default"
	Args     []string // more of redis-server's arguments: "--maxmemory", "10mb"
}

// Server is a redis-server process that keeps nothing on disk.
type Server struct {
	t      testing.TB
	opts   Options
	dir    string
	socket string
	port   int
	roots  *x509.CertPool

	log  *logs.Buffer
	cmd  *exec.Cmd
	done chan struct{}
}

// New prepares a server that does not run yet: there is an address, and nobody
// answers. The test fails when there is no redis-server.
func New(t testing.TB, opts Options) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not in PATH: run `make test`, which installs it where it may, or install the package redis-server")
	}
	dir, err := os.MkdirTemp("", "ozmo-redis-") //nolint:usetesting // a socket's path has at most 107 characters
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, opts: opts, dir: dir, socket: filepath.Join(dir, "redis.sock"), log: &logs.Buffer{}, done: make(chan struct{})}
	close(s.done)
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("redis-server said:\n%s", s.log)
		}
		_ = os.RemoveAll(dir) // it is a temporary folder
	})
	if opts.TLS {
		if s.roots, err = writeCertificate(dir); err != nil {
			t.Fatal(err)
		}
	}
	if opts.TCP || opts.TLS {
		if s.port, err = freePort(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Start runs a server until the test ends.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := New(t, opts)
	for attempt := 1; ; attempt++ {
		err := s.start()
		if err == nil {
			return s
		}
		// Another process may have taken the port since it was found free.
		if s.port == 0 || attempt == 5 {
			t.Fatal(err)
		}
		if s.port, err = freePort(); err != nil {
			t.Fatal(err)
		}
	}
}

// Start runs the server, again where it ran before. It is empty.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) start() error {
	args := []string{
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--unixsocket", s.socket, "--port", "0", "--bind", "127.0.0.1",
	}
	switch {
	case s.opts.TLS:
		args = append(args, "--tls-port", strconv.Itoa(s.port), "--tls-auth-clients", "no",
			"--tls-cert-file", filepath.Join(s.dir, certFile), "--tls-key-file", filepath.Join(s.dir, keyFile))
	case s.opts.TCP:
		args = append(args, "--port", strconv.Itoa(s.port))
	}
	if s.opts.Password != "" {
		args = append(args, "--requirepass", s.opts.Password)
	}
	cmd, done := exec.Command("redis-server", append(args, s.opts.Args...)...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.cmd, s.done = cmd, done
	go func() {
		defer close(done)
		_ = cmd.Wait() // its outcome is in ProcessState
	}()
	var failure error
	eventually.Nil(s.t, func() error {
		select {
		case <-done:
			failure = fmt.Errorf("redis-server: %v\n%s", cmd.ProcessState, s.log)
			return nil
		default:
			_, err := s.Do("PING")
			return err
		}
	})
	return failure
}

// URL is where the server listens, with its password.
func (s *Server) URL() string {
	var user string
	if s.opts.Password != "" {
		user = ":" + s.opts.Password + "@"
	}
	switch {
	case s.opts.TLS:
		return fmt.Sprintf("rediss://%s127.0.0.1:%d", user, s.port)
	case s.opts.TCP:
		return fmt.Sprintf("redis://%s127.0.0.1:%d", user, s.port)
	default:
		return "unix://" + user + s.socket
	}
}

// Roots is what a client of a server with TLS trusts.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Stop ends the server as a system does that shuts down, and waits for it.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGCONT) // it may be paused
	select {
	case <-s.done:
	case <-time.After(eventually.Limit):
		s.t.Fatal("redis-server does not end")
	}
}

// Kill ends the server with SIGKILL and waits for it.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	<-s.done
}

// Pause freezes the server: connections stay, and nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Flush makes the server forget everything.
func (s *Server) Flush() {
	s.t.Helper()
	s.MustDo("FLUSHALL")
}

func (s *Server) signal(sig os.Signal) {
	if s.cmd == nil {
		return // it never ran
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("%v to redis-server: %v", sig, err)
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
