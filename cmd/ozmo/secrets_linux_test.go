package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// typeSecret answers the questions of `ozmo secret set` on a terminal, and gives
// what was to be seen on it.
func typeSecret(t *testing.T, o *operator, answers ...string) (code int, seen string) {
	t.Helper()
	t.Setenv("OZMO_DATA", listenAs(t, o))
	screen, keyboard := terminal(t)
	r, w := io.Pipe()
	codes := make(chan int, 1)
	go func() {
		codes <- run(t.Context(), []string{"secret", "set", "acme", "hook"}, screen, io.Discard, w)
		_ = w.Close()
	}()
	var all strings.Builder
	in := bufio.NewReader(r)
	for _, question := range []string{"(not shown):", "Once more:"} {
		for text := ""; !strings.HasSuffix(text, question); {
			var err error
			if text, err = in.ReadString(':'); err != nil {
				t.Fatalf("not asked: %s\n%s%s", question, all.String(), text)
			}
			all.WriteString(text)
		}
		eventually.Nil(t, func() error {
			state, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
			if err == nil && state.Lflag&unix.ECHO != 0 {
				err = errors.New("the terminal shows what is typed")
			}
			return err
		})
		if _, err := keyboard.WriteString(answers[0]); err != nil {
			t.Fatal(err)
		}
		answers = answers[1:]
	}
	rest, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	code = <-codes
	// What the terminal has shown can be read on the keyboard's side; the read of
	// a terminal knows no deadline, so that it is closed instead.
	shown := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(keyboard) // ends with an error once the other side is closed
		shown <- string(data)
	}()
	_ = screen.Close()
	select {
	case text := <-shown:
		return code, all.String() + string(rest) + text
	case <-time.After(time.Minute):
		t.Fatal("the terminal does not end")
		return 0, ""
	}
}

func TestSecretOnATerminal(t *testing.T) {
	o := &operator{}
	code, seen := typeSecret(t, o, "hunter2\n", "hunter2\n")
	if code != exitOK || o.said() != `set hook of acme to "hunter2"` {
		t.Errorf("exit %d, the node was asked to %q\n%s", code, o.said(), seen)
	}
	if strings.Contains(seen, "hunter2") {
		t.Errorf("the secret is on the screen: %q", seen)
	}
	for says, typed := range map[string][]string{"the two differ": {"hunter2\n", "hunter3\n"}, "is empty": {"\n", "\n"}} {
		o := &operator{}
		code, seen := typeSecret(t, o, typed...)
		if code != exitFailure || !strings.Contains(seen, says) || o.said() != "" {
			t.Errorf("exit %d, want %q, the node was asked to %q\n%s", code, says, o.said(), seen)
		}
	}
}
