package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerLimit is how long a server may take for an answer. It is generous: a
// slow machine is no failure.
const answerLimit = 30 * time.Second

// ErrReply is wrapped by the errors that the server answers with.
var ErrReply = errors.New("redis")

// MustDo is Do, failing the test with its error.
func (s *Server) MustDo(args ...string) string {
	s.t.Helper()
	answer, err := s.Do(args...)
	if err != nil {
		s.t.Fatalf("%s: %v", args[0], err)
	}
	return answer
}

// Do runs a command, over the Unix socket and a connection of its own. Several
// values are returned a line each; a value that is not there is "".
func (s *Server) Do(args ...string) (string, error) {
	conn, err := net.DialTimeout("unix", s.socket, answerLimit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	if s.opts.Password != "" {
		if _, err := exchange(conn, r, "AUTH", s.opts.Password); err != nil {
			return "", err
		}
	}
	return exchange(conn, r, args...)
}

func exchange(w io.Writer, r *bufio.Reader, args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", err
	}
	return readAnswer(r)
}

func readAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty answer")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", fmt.Errorf("%w: %s", ErrReply, rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || kind != '$' && kind != '*' {
		return "", fmt.Errorf("an answer that is not understood: %q", line)
	}
	if n < 0 {
		return "", nil // no value
	}
	if kind == '$' {
		value := make([]byte, n+2)
		if _, err := io.ReadFull(r, value); err != nil {
			return "", err
		}
		return string(value[:n]), nil
	}
	values := make([]string, n)
	for i := range values {
		if values[i], err = readAnswer(r); err != nil {
			return "", err
		}
	}
	return strings.Join(values, "\n"), nil
}
