package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// errDeclined: whoever was asked did not say yes.
var errDeclined = errors.New("nothing was changed")

// confirmation is the flag --yes of a command that asks before it goes on.
type confirmation struct{ yes bool }

func (c *confirmation) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.yes, "yes", false, "go on without being asked; required where there is no terminal")
}

// check refuses, before any work, a command that could not ask.
func (c *confirmation) check(cmd *cobra.Command, answersComeFrom any) error {
	if c.yes || canAsk(answersComeFrom) {
		return nil
	}
	return usagef("%s asks before it goes on, and there is no terminal to ask on: give --yes", cmd.CommandPath())
}

func canAsk(answersComeFrom any) bool {
	f, ok := answersComeFrom.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// deletion is the flag --yes of a command that deletes. On a terminal all of them ask.
// Elsewhere, what can be had again is deleted without a question, and what is gone for
// good, while others may depend on it, takes --yes.
type deletion struct {
	confirmation

	lasting bool // it is gone for good
}

func (d *deletion) register(cmd *cobra.Command, lasting bool) {
	d.lasting = lasting
	d.confirmation.register(cmd)
	if !lasting {
		cmd.Flags().Lookup("yes").Usage = "go on without being asked, as where there is no terminal"
	}
}

// agree waits for a yes where one is needed.
func (d *deletion) agree(cmd *cobra.Command, question string) error {
	if !d.lasting && !canAsk(cmd.InOrStdin()) {
		return nil
	}
	if err := d.check(cmd, cmd.InOrStdin()); err != nil {
		return err
	}
	return d.ask(cmd, question)
}

// ask waits for a yes.
func (c *confirmation) ask(cmd *cobra.Command, question string) error {
	if c.yes {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s Type yes to go on: ", question)
	answer := make(chan string, 1)
	in := bufio.NewReader(cmd.InOrStdin())
	go func() { // a read cannot be interrupted; the process ends instead
		line, _ := in.ReadString('\n') // what there is of a line decides
		answer <- line
	}()
	select {
	case line := <-answer:
		if strings.TrimSpace(line) == "yes" {
			return nil
		}
	case <-cmd.Context().Done():
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return errDeclined
}
