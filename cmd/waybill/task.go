package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
)

func taskCommand(a *app) *cobra.Command {
	return noun("task", "Look at the tasks of a group", &cobra.Command{
		Use:   "list",
		Short: "Each task with its owner, its frontier and what waits",
		Long: `list prints every task: partition i of a job topic with partition i of its tiers. The owner is the instance that wrote
the newest ownership record into the receipt log; the epoch is that record's offset, the fencing token its handlers see.
Beside it stands the client id of the member that the group has assigned the task to.`,
		Example: `  waybill task list --brokers localhost:9092 --group mailer
  waybill task list --group mailer --json | jq -c 'select(.lag > 1000)'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.taskList(c.Context()) },
	})
}

func (a *app) taskList(ctx context.Context) error {
	_, r, tasks, err := a.tasks(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if a.json {
		for _, task := range tasks {
			if err := a.printJSON(task); err != nil {
				return err
			}
		}
		return nil
	}
	out := newTable(a.out)
	out.row("TASK", "ASSIGNED TO", "OWNER", "EPOCH", "COMMITTED", "END", "LAG", "WAITING")
	for _, task := range tasks {
		out.row(fmt.Sprintf("%s/%d", task.Topic, task.Partition), dash(task.Client), dash(task.Instance), orDash(task.Epoch), orDash(task.Committed), task.End, task.Lag, tierList(task.Tiers))
	}
	return out.flush()
}

// tasks opens a reader and lists the tasks of the job topics it is about.
func (a *app) tasks(ctx context.Context) (target, *inspect.Reader, []inspect.Task, error) {
	t, r, err := a.look(ctx)
	if err != nil {
		return t, nil, nil, err
	}
	all, err := r.Tasks(ctx, a.chosen(r))
	if err != nil {
		r.Close()
		return t, nil, nil, t.unreached(err)
	}
	return t, r, all, nil
}

func orDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// tierList is what waits in each tier that is not empty.
func tierList(tiers []inspect.TaskWaiting) string {
	var parts []string
	for _, t := range tiers {
		if t.Waiting > 0 {
			parts = append(parts, fmt.Sprintf("%s:%d", t.Tier, t.Waiting))
		}
	}
	return dash(strings.Join(parts, " "))
}
