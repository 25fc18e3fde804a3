package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
)

// Password is in the URL of every server, to be looked for where it must not be.
const Password = "pa55-of-the-database"

const (
	userName = "ozmo"
	database = "ozmo"
)

// Server is a PostgreSQL server with an empty database.
type Server struct {
	t   testing.TB
	bin string
	dir string
	as  *syscall.Credential

	log  *logs.Buffer
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a server until the test ends. The test fails when there is no
// PostgreSQL: it is never skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	as, err := account()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ozmo-pg-") //nolint:usetesting // a socket's path has at most 107 characters
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, bin: bin, dir: dir, as: as, log: &logs.Buffer{}, done: make(chan struct{})}
	close(s.done)
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the PostgreSQL server said:\n%s", s.log)
		}
		_ = os.RemoveAll(dir) // it is a temporary folder
	})
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.run("initdb", "-D", s.data(), "-U", userName, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	s.Start()
	s.run("createdb", "-h", s.dir, "-U", userName, database)
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Start runs the server, again where it ran before.
func (s *Server) Start() {
	s.t.Helper()
	eventually.Nil(s.t, func() error {
		if err := s.launch(); err != nil {
			return err
		}
		for {
			err := s.command("pg_isready", "-h", s.dir, "-U", userName, "-q").Run()
			if err == nil {
				return nil
			}
			select {
			case <-s.done: // of a server that was killed, some process may have lived on
				return fmt.Errorf("it ended: %v", s.cmd.ProcessState)
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
}

func (s *Server) launch() error {
	cmd, done := s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "max_connections=200", "-c", "unix_socket_permissions=0777"), make(chan struct{})
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.done = cmd, done
	go func() {
		defer close(done)
		_ = cmd.Wait() // its outcome is in ProcessState
	}()
	return nil
}

// URL is where the server listens.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://%s:%s@/%s?host=%s", userName, Password, database, url.QueryEscape(s.dir))
}

// Query answers as psql prints it: a line for each row, | between its columns.
func (s *Server) Query(sql string) string {
	s.t.Helper()
	var out, problems bytes.Buffer
	cmd := s.command("psql", "-h", s.dir, "-U", userName, "-d", database, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(sql), &out, &problems
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %v\n%s", sql, err, &problems)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// Dump is what pg_dump writes of the database, to be loaded by Query into an empty one.
func (s *Server) Dump() string {
	s.t.Helper()
	var problems bytes.Buffer
	cmd := s.command("pg_dump", "-h", s.dir, "-U", userName, database)
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("pg_dump: %v\n%s", err, &problems)
	}
	return string(out)
}

// Stop ends the server as a system does that shuts down, and waits for it.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGINT)
	s.Resume()
	select {
	case <-s.done:
	case <-time.After(eventually.Limit):
		s.t.Fatal("the PostgreSQL server does not end")
	}
}

// Kill ends all processes of the server with SIGKILL and waits for it.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	<-s.done
}

// Pause freezes the server: connections stay, and nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// signal reaches the server and the processes that it has made, which are in
// groups of their own.
func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return // it never ran
	}
	select {
	case <-s.done:
		return
	default:
	}
	pids := []int{s.cmd.Process.Pid}
	if sig != syscall.SIGINT {
		pids = append(pids, children(pids[0])...)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Errorf("%v to PostgreSQL's process %d: %v", sig, pid, err)
		}
	}
}

// children are the processes that a process has made.
func children(of int) (out []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is fine
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(of) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// ProcessorTime is what the server's processes have had of the processors, those that
// have ended among them.
func (s *Server) ProcessorTime() time.Duration {
	ticks := 0
	for i, pid := range append([]int{s.cmd.Process.Pid}, children(s.cmd.Process.Pid)...) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended: the next look finds it with its parent
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest)
		for k := 11; k < 15 && k < len(fields) && (i == 0 || k < 13); k++ { // own, and of children that ended
			n, _ := strconv.Atoi(fields[k]) // a number
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100)
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = ownGroup(s.as)
	return cmd
}

func (s *Server) run(name string, args ...string) {
	s.t.Helper()
	if out, err := s.command(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// binaries is the folder of PostgreSQL's programs: Debian keeps those of the server
// out of PATH.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is fine
	if path, err := exec.LookPath("postgres"); err == nil && len(found) == 0 {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("there is no PostgreSQL server: run `make test`, which installs it where it may, or install the package postgresql")
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0]), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no number
	return n
}
