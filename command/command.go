// Package command is the command line: one short file a subcommand, and all wiring of the parts.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes. A second signal while stopping ends the process by that signal.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2 // wrong arguments or configuration
	exitMissing = 3 // a privilege or kernel feature is missing
)

const rootHelp = `Vetch shows what talks to what on this machine, with rate, errors and duration of every service. It watches from the
kernel with eBPF, and needs no change to any application.

Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration, 3 a privilege or kernel feature is missing.`

const rootExample = `  sudo vetch run         watch this machine, then open http://127.0.0.1:4780
  vetch map --watch      the live map in the terminal
  vetch top              what pods, or without a cluster programs, use
  vetch doctor           what this kernel offers, and what is missing`

// program is what a subcommand gets from outside, so that tests can give it something else.
type program struct {
	environ []string
	stdout  io.Writer
	stderr  io.Writer
}

// Main runs one command line until it ends or a SIGINT or SIGTERM arrives, and returns the exit code.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals) // before anything ends, so that a second signal ends the process at once
			cancel()
		case <-ctx.Done():
		}
	}()
	return execute(ctx, program{environ, stdout, stderr}, args)
}

func execute(ctx context.Context, p program, args []string) int {
	root := newRoot(p)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var coded *codedError
	if errors.As(err, &coded) {
		code = coded.code
	}
	fmt.Fprintf(p.stderr, "vetch: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nvetch: "))
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(p.stderr, "Run '%s --help' for what can be given.\n", cmd.CommandPath())
	}
	return code
}

func newRoot(p program) *cobra.Command {
	root := &cobra.Command{
		Use:           "vetch",
		Short:         "Observability for Kubernetes and plain Linux that needs no change to any application",
		Long:          rootHelp,
		Example:       rootExample,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.Args = func(_ *cobra.Command, args []string) error { return unknownCommand(root, args) }
	root.SuggestionsMinimumDistance = 2
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrongUsage(err) })
	root.AddCommand(newRun(p), newAgent(p), newWatcher(p), newServer(p), newMap(p), newTop(p), newDoctor(p), newVersion(p), newCheckConfig(p))
	return root
}

func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return wrongUsage(errors.New(text))
}

// noArguments is cobra.NoArgs with our exit code.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUsage(fmt.Errorf("%s takes no arguments, but got %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

// codedError ends the program with code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// usageError is a wrong command line; the user is pointed to --help.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func wrongUsage(err error) error  { return &codedError{exitUsage, &usageError{err}} }
func wrongConfig(err error) error { return &codedError{exitUsage, err} }
func missing(err error) error     { return &codedError{exitMissing, err} }
