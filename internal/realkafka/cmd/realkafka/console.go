package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const help = `commands, for all brokers unless a number follows:
  kill [N]    end at once          start [N]   start what is down, and wait
  stop [N]    shut down in order   restart [N] stop, start, and wait
  pause [N]   freeze               resume [N]  go on
  user NAME PASSWORD               add a SCRAM user
`

// controller is what the console needs of a cluster.
type controller interface {
	Kill(i int) error
	Stop(ctx context.Context, i int) error
	StartBroker(i int) error
	Pause(i int) error
	Resume(i int) error
	WaitReady(ctx context.Context) error
	AddUser(ctx context.Context, user, password string) error
}

// console obeys lines. One goroutine uses it.
type console struct {
	cluster controller
	brokers int
	out     io.Writer
}

// serve obeys lines until ctx ends; the end of the input only ends the obeying, so that
// the command also runs without a terminal.
func (c console) serve(ctx context.Context, in io.Reader) {
	lines := make(chan string)
	// Nothing can interrupt a read of a terminal: this goroutine may still be in one
	// when serve returns, and ends with the process.
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(in)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case line, ok := <-lines:
			if !ok {
				<-ctx.Done()
				return
			}
			c.obey(ctx, line)
		}
	}
}

// obey runs one line and says how it went.
func (c console) obey(ctx context.Context, line string) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return
	}
	err := c.command(ctx, words[0], words[1:])
	switch {
	case err != nil:
		fmt.Fprintln(c.out, err)
	case words[0] != "help":
		fmt.Fprintln(c.out, "done:", strings.Join(words, " "))
	}
}

func (c console) command(ctx context.Context, name string, args []string) error {
	switch name {
	case "help":
		_, err := io.WriteString(c.out, help)
		return err
	case "user":
		if len(args) != 2 {
			return errors.New("want: user NAME PASSWORD")
		}
		return c.cluster.AddUser(ctx, args[0], args[1])
	}
	ids, err := c.ids(args)
	if err != nil {
		return err
	}
	stop := func(i int) error { return c.cluster.Stop(ctx, i) }
	switch name {
	case "kill":
		return each(ids, c.cluster.Kill)
	case "stop":
		return each(ids, stop)
	case "pause":
		return each(ids, c.cluster.Pause)
	case "resume":
		return each(ids, c.cluster.Resume)
	case "start":
		// With some of several brokers up already, the others are still to be started.
		return errors.Join(each(ids, c.cluster.StartBroker), c.cluster.WaitReady(ctx))
	case "restart":
		if err := each(ids, stop); err != nil {
			return err
		}
		return errors.Join(each(ids, c.cluster.StartBroker), c.cluster.WaitReady(ctx))
	}
	return fmt.Errorf("unknown command %q: try help", name)
}

// ids are the brokers the arguments name: one, or all.
func (c console) ids(args []string) ([]int, error) {
	if len(args) == 0 {
		all := make([]int, c.brokers)
		for i := range all {
			all[i] = i + 1
		}
		return all, nil
	}
	i, err := strconv.Atoi(args[0])
	if err != nil || i < 1 || i > c.brokers || len(args) > 1 {
		return nil, fmt.Errorf("want the number of one broker, 1 to %d, or nothing for all", c.brokers)
	}
	return []int{i}, nil
}

// each does the same to each broker and goes on after an error.
func each(ids []int, do func(int) error) error {
	var errs []error
	for _, i := range ids {
		errs = append(errs, do(i))
	}
	return errors.Join(errs...)
}
