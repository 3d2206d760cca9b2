// Command waybill sets up, looks at and repairs groups of workers that run jobs from Kafka topics, and shows on one
// machine what that is like (waybill demo).
//
// Each noun is a file. What a command prints for programs (--json) or for people goes to standard output, everything else
// to standard error. The exit status is 0 for success, 1 for a failure, and 2 where a command says so in its help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return (&app{in: stdin, out: stdout, err: stderr, engine: inspect.Engine}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.err, "waybill: interrupted")
		return 1
	}
	fmt.Fprintln(a.err, "waybill:", err)
	return 1
}

// exitStatus is the error of a command that has said everything and wants this status.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }
