package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// env is what a running case works with. Its methods belong to the goroutine of the case.
type env struct {
	Options
	of     Case
	prefix string // of every topic and group made, with the run's own name in it
	opts   []kgo.Opt
	client *kgo.Client
	admin  *kadm.Client
	made   atomic.Int32
}

// cleanGrace is how long deleting what a run made may take.
const cleanGrace = 60 * time.Second

// Run measures the cases one after the other and reports their rows. What it made in the cluster it deletes, also when ctx
// ends; what it could not delete is an error that names it.
func Run(ctx context.Context, cases []Case, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Profile != "" {
		if err := os.MkdirAll(o.Profile, 0o755); err != nil {
			return fmt.Errorf("the folder for profiles: %w", err)
		}
	}
	for _, c := range cases {
		if err := runCase(ctx, c, o.withDefaults()); err != nil {
			return fmt.Errorf("case %s: %w", c.Name, err)
		}
	}
	return nil
}

func runCase(ctx context.Context, c Case, o Options) (err error) {
	e := &env{Options: o, of: c, prefix: "waybill-bench-" + uuid.NewString()[:8] + "-" + c.Name}
	if e.opts, err = o.Connection.Opts(); err != nil {
		return err
	}
	e.opts = append(e.opts, kgo.MetadataMinAge(100*time.Millisecond)) // else new topics are not seen for 5 s
	if e.client, err = kgo.NewClient(e.opts...); err != nil {
		return err
	}
	defer e.client.Close()
	e.admin = kadm.NewClient(e.client)
	if err := e.client.Ping(ctx); err != nil {
		return fmt.Errorf("no broker of %s answers: %w", strings.Join(o.Connection.Brokers, ","), err)
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanGrace)
		defer cancel()
		err = errors.Join(err, e.clean(clean, e.prefix))
	}()
	return c.run(ctx, e)
}

// wants reports whether a row is to be measured.
func (e *env) wants(row string) bool { return e.Row == "" || e.Row == row }

// jobs is how many jobs the case's topic gets.
func (e *env) jobs() int { return e.jobsOr(e.of.jobs) }

// jobsOr is how many jobs a topic gets that has a default of its own.
func (e *env) jobsOr(own int) int {
	if e.Jobs > 0 {
		return e.Jobs
	}
	return own
}

// say reports progress.
func (e *env) say(format string, a ...any) {
	e.Say(e.of.Name + ": " + fmt.Sprintf(format, a...))
}

// name makes a name for a topic or a group that nobody else has.
func (e *env) name(what string) string {
	return fmt.Sprintf("%s-%s-%d", e.prefix, what, e.made.Add(1))
}

// row begins a row of the case.
func (e *env) row(name string, figures ...Figure) *Row {
	return &Row{Case: e.of.Name, Name: name, Rounds: e.Rounds, Figures: figures, Below: e.Below()}
}

// clean deletes the topics and groups that have prefix in their names: what the engine makes for a group bears the job
// topic's name first.
func (e *env) clean(ctx context.Context, prefix string) error {
	topics, err := e.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list the topics to delete (%s*): %w", prefix, err)
	}
	var names []string
	for _, n := range topics.Names() {
		if has(n, prefix) {
			names = append(names, n)
		}
	}
	if len(names) > 0 {
		deleted, derr := e.admin.DeleteTopics(ctx, names...)
		err = derr
		for _, d := range deleted {
			if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
				err = errors.Join(err, fmt.Errorf("delete topic %s: %w", d.Topic, d.Err))
			}
		}
	}
	return errors.Join(err, e.cleanGroups(ctx, prefix))
}

// has reports whether name has the part in it, and no longer number than that.
func has(name, part string) bool {
	_, rest, ok := strings.Cut(name, part)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// cleanGroups waits for members that ended without leaving.
func (e *env) cleanGroups(ctx context.Context, prefix string) error {
	groups, err := e.admin.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("list the groups to delete (%s*): %w", prefix, err)
	}
	for _, g := range groups.Groups() {
		for has(g, prefix) {
			_, err := e.admin.DeleteGroup(ctx, g)
			if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
				break
			}
			if !errors.Is(err, kerr.NonEmptyGroup) || !sleep(ctx, 200*time.Millisecond) {
				return fmt.Errorf("delete group %s: %w", g, err)
			}
		}
	}
	return nil
}

// sleep waits and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
