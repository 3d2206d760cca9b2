// Package suite measures: rounds of sides, each a process of its own, one after the other, into a results file that a later
// call goes on with.
//
// Only the command calls it. It deletes the topics and groups it made, which bear a name of their own, and touches nothing
// else in the cluster.
package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/bench/internal/peers"
	"github.com/waybill-dev/waybill/bench/internal/side"
	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/bench"
)

// Case is one thing that is measured.
type Case struct {
	Name string
	jobs int
	work time.Duration
	// cut says whose passes end with the side's seconds: where a part of the topic is as good as all of it.
	cut func(peers.Peer) bool
}

// Cases are all there are. A topic of noop may be cut, since each job costs the same; in work only for those who run one
// job at a time: for the others the end of the topic, where the fullest partition or the hottest key is alone, belongs to it.
func Cases() []Case {
	return []Case{
		{"noop", 3_000_000, 0, func(peers.Peer) bool { return true }},
		{"work", 70_000, time.Millisecond, func(p peers.Peer) bool { return p.Serial }},
		{"latency", 0, 0, func(peers.Peer) bool { return true }},
	}
}

// Options say what is run. Every field is required but Jobs, Until and Peers.
type Options struct {
	Brokers []string
	Cases   []string
	Peers   []string  // IDs; none: all
	Side    []string  // command that becomes a side
	Results string    // file
	Rounds  int       // that the file is to have of each peer
	Seconds float64   // of a side at least
	Jobs    int       // in a topic; 0: what the case says
	Until   time.Time // no side begins later; zero: never
	Setting Setting   // Seconds and Jobs are filled in
	Say     func(format string, a ...any)
}

// sideTimeout is how long one side may take: it joins a group again for each pass.
const sideTimeout = 3 * time.Minute

// Run measures what the results file does not have yet.
func Run(ctx context.Context, o Options) error {
	done, err := ReadResults(o.Results)
	if err != nil {
		return err
	}
	for _, c := range Cases() {
		if !slices.Contains(o.Cases, c.Name) {
			continue
		}
		if err := runCase(ctx, c, o, done); err != nil {
			return fmt.Errorf("case %s: %w", c.Name, err)
		}
	}
	return nil
}

// turn is a side still to be measured.
type turn struct {
	peer  peers.Peer
	round int
}

// missing are the sides still to be measured, rounds first: the peers take turns.
func missing(c Case, o Options, done []Result) []turn {
	var out []turn
	for round := 1; round <= o.Rounds; round++ {
		for _, p := range peers.All() {
			has := slices.ContainsFunc(done, func(r Result) bool { return r.Case == c.Name && r.Peer == p.ID && r.Round == round })
			if !has && (len(o.Peers) == 0 || slices.Contains(o.Peers, p.ID)) {
				out = append(out, turn{p, round})
			}
		}
	}
	return out
}

func (o Options) over() bool { return !o.Until.IsZero() && time.Now().After(o.Until) }

func runCase(ctx context.Context, c Case, o Options, done []Result) (err error) {
	turns := missing(c, o, done)
	if len(turns) == 0 || o.over() {
		return nil
	}
	if o.Jobs > 0 && c.jobs > 0 {
		c.jobs = o.Jobs
	}
	prefix := "waybill-peers-" + uuid.NewString()[:8] + "-" + c.Name
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	defer func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer stop()
		err = errors.Join(err, clean(ctx, admin, prefix))
	}()
	topic := prefix + "-jobs"
	if err := bench.Fill(ctx, connect.Settings{Brokers: o.Brokers}, bench.Load{Topic: topic, Jobs: c.jobs}); err != nil {
		return err
	}
	o.Setting.Seconds, o.Setting.Jobs = o.Seconds, c.jobs
	for i, t := range turns {
		if o.over() {
			o.Say("%s: %d sides are left for the next call", c.Name, len(turns)-i)
			return nil
		}
		if c.jobs == 0 { // a topic of its own for each, which begins empty
			topic = fmt.Sprintf("%s-jobs%d", prefix, i)
			if err := bench.Fill(ctx, connect.Settings{Brokers: o.Brokers}, bench.Load{Topic: topic}); err != nil {
				return err
			}
		}
		task := side.Task{Peer: t.peer.ID, Brokers: o.Brokers, Topic: topic, Group: fmt.Sprintf("%s-g%d", prefix, i), Jobs: c.jobs, Seconds: o.Seconds,
			Work: c.work, Cut: c.cut(t.peer)}
		s, err := run(ctx, o.Side, task)
		if err != nil {
			return fmt.Errorf("%s, round %d: %w", t.peer.ID, t.round, err)
		}
		o.Say("%s %s round %d: %.0f/s, %.2f us, p99 %.2f ms (%d jobs, %d passes, %.1f s)", c.Name, t.peer.ID, t.round, float64(s.Jobs)/s.Seconds,
			s.CPU*1e6/float64(s.Jobs), s.P99, s.Jobs, s.Passes, s.Seconds)
		if err := add(o.Results, Result{Case: c.Name, Peer: t.peer.ID, Round: t.round, Sample: s, Version: t.peer.Version(), Setting: o.Setting}); err != nil {
			return err
		}
		if err := clean(ctx, admin, task.Group); err != nil { // what Waybill made for the group
			return err
		}
	}
	return nil
}

// run is the life of one side as its parent sees it.
func run(ctx context.Context, command []string, t side.Task) (side.Sample, error) {
	ctx, stop := context.WithTimeout(ctx, sideTimeout)
	defer stop()
	text, err := json.Marshal(t)
	if err != nil {
		return side.Sample{}, err
	}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(text), &out, &said
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second
	if err := c.Run(); err != nil {
		return side.Sample{}, fmt.Errorf("%w: %.2000s", err, said.String())
	}
	return side.Read(out.Bytes())
}

// clean deletes topics and groups that have part in their names, followed by no digit.
func clean(ctx context.Context, admin *kadm.Client, part string) error {
	has := func(name string) bool {
		_, rest, ok := strings.Cut(name, part)
		return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list the topics to delete (%s): %w", part, err)
	}
	var errs []error
	if names := slices.DeleteFunc(topics.Names(), func(n string) bool { return !has(n) }); len(names) > 0 {
		deleted, err := admin.DeleteTopics(ctx, names...)
		errs = append(errs, err)
		for _, d := range deleted {
			if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
				errs = append(errs, fmt.Errorf("delete topic %s: %w", d.Topic, d.Err))
			}
		}
	}
	groups, err := admin.ListGroups(ctx)
	errs = append(errs, err)
	for _, g := range groups.Groups() {
		if has(g) {
			errs = append(errs, deleteGroup(ctx, admin, g))
		}
	}
	return errors.Join(errs...)
}

// deleteGroup waits for members that ended without leaving.
func deleteGroup(ctx context.Context, admin *kadm.Client, group string) error {
	for {
		_, err := admin.DeleteGroup(ctx, group)
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		if !errors.Is(err, kerr.NonEmptyGroup) {
			return fmt.Errorf("delete group %s: %w", group, err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("delete group %s: %w", group, err)
		}
	}
}
