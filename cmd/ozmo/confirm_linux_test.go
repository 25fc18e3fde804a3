package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: what a program sees, and who sits before it.
func terminal(t *testing.T) (screen, keyboard *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return screen, keyboard
}

func TestConfirmationOnATerminal(t *testing.T) {
	o := &operator{status: someStatus()}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	file := filepath.Join(write(t, map[string]any{"x.tar": string(archiveOf(t, "prod", "state"))}), "x.tar")
	screen, keyboard := terminal(t)
	for answer, want := range map[string]int{"yes\n": exitOK, "y\n": exitFailure, "\n": exitFailure} {
		o.mu.Lock()
		o.orders = nil
		o.mu.Unlock()
		if _, err := keyboard.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"restore", file}, screen, &stdout, &stderr)
		if code != want || !strings.Contains(stderr.String(), "Replace it? Type yes to go on: ") {
			t.Errorf("%q: exit %d\n%s%s", answer, code, stdout.String(), stderr.String())
		}
		if done := o.said() != ""; done != (want == exitOK) {
			t.Errorf("%q: the node was asked to %q", answer, o.said())
		}
		if want != exitOK && !strings.Contains(stderr.String(), "nothing was changed") {
			t.Errorf("%q: %s", answer, stderr.String())
		}
	}
}

// Ctrl-C at the question is an answer.
func TestConfirmationInterrupted(t *testing.T) {
	dir := nodeOf(t, "a", "00000000", threeServers...)
	screen, _ := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	asked := make(chan struct{})
	go func() {
		for in := bufio.NewReader(r); ; {
			text, err := in.ReadString(':')
			if strings.HasSuffix(text, "Type yes to go on:") {
				close(asked)
				_, _ = io.Copy(io.Discard, in)
				return
			}
			if err != nil {
				return
			}
		}
	}()
	go func() { <-asked; cancel() }()
	code := run(ctx, []string{"recover", "--data", dir, "--peers", "a"}, screen, io.Discard, w)
	_ = w.Close()
	if code != exitFailure {
		t.Errorf("exit %d", code)
	}
	select {
	case <-asked:
	default:
		t.Error("nothing was asked")
	}
	ozmo(t, "recover", "--data", dir, "--peers", "a", "--yes").want(t, exitOK, "1 server of 3 vote", "")
}

func TestBackupToATerminal(t *testing.T) {
	o := &operator{status: someStatus(), archive: archiveOf(t, "prod", "state")}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	screen, _ := terminal(t)
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"backup", "-"}, strings.NewReader(""), screen, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "not for a terminal") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}
