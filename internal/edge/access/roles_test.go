package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// A job goes all the way between an operator, a producer and a worker who each have the rights of their role and no other:
// set up, enqueued, retried, filed, looked at, redriven, done.
func roles(p *part) {
	t, ctx := p.g.t, p.g.t.Context()
	p.rig.Kinds = needyKind(p.rig)
	if _, err := p.g.admin.CreateTopic(ctx, p.rig.Partitions, 1, nil, p.rig.Topic); err != nil {
		t.Fatal(err)
	}
	p.setUpByOperator()
	p.enqueueByProducer("retry", "die")
	p.grant("worker", p.rights(setup.Worker)...)
	i := p.rig.Start("w", verify)
	p.rig.Until(func() string { return p.ran("die", 1) + p.ran("retry", 2) })
	p.redriveByOperator()
	p.rig.Until(func() string { return p.ran("die", 2) })
	p.rig.Finished()
	if len(i.Status().Troubles) > 0 {
		t.Errorf("troubles: %+v", i.Status().Troubles)
	}
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}

func (p *part) ran(id string, times int) string {
	if n := len(p.rig.Runs(id)); n < times {
		return fmt.Sprintf("%s ran %d times, not %d", id, n, times)
	}
	return ""
}

func (p *part) setUpByOperator() {
	t, ctx := p.g.t, p.g.t.Context()
	p.grant("operator", p.rights(setup.Operator)...)
	adm, err := kadm.NewOptClient(p.g.opts("operator")...)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	report, err := setup.Plan(ctx, adm, p.g.opts("operator"), p.want)
	if err == nil {
		err = setup.Apply(ctx, adm, p.g.opts("operator"), report)
	}
	if err == nil {
		report, err = setup.Plan(ctx, adm, p.g.opts("operator"), p.want)
	}
	if err != nil || !report.OK() {
		t.Fatal(err, report.Changes)
	}
}

// lagOf looks at the ends of all topics of the group, as the listings of the CLI do.
func lagOf(ctx context.Context, adm *kadm.Client, p *part) error {
	for _, r := range p.rights(setup.Worker) {
		if !r.Group {
			ends, err := adm.ListEndOffsets(ctx, r.Name)
			if err == nil {
				err = ends.Error()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	return nil
}

// enqueueByProducer also has a producer whose user may not write at first: its first producer id is refused, which a client
// keeps for good.
func (p *part) enqueueByProducer(ids ...string) {
	t, ctx := p.g.t, p.g.t.Context()
	q, err := producer.New(producer.Config{Brokers: p.g.At.Brokers, SASL: as("producer"), Topic: p.rig.Topic, Opts: []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	for range 2 {
		if _, err := q.Enqueue(ctx, needy{}, nil); err == nil || !strings.Contains(err.Error(), "permission to write to topic "+p.rig.Topic) {
			t.Errorf("without the right to write: %v", err)
		}
	}
	p.grant("producer", p.rights(setup.Producer)...)
	for _, id := range ids {
		p.rig.Until(func() string {
			if _, err := q.Enqueue(ctx, needy{End: id}, &job.Options{ID: id}); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	write := setup.Right{Name: p.rig.Topic, Op: setup.Write}
	p.revoke("producer", write)
	p.rig.Until(func() string {
		if _, err := q.Enqueue(ctx, needy{}, nil); err == nil || !strings.Contains(err.Error(), "permission to write") {
			return fmt.Sprintf("after the right was taken away: %v", err)
		}
		return ""
	})
	p.grant("producer", write)
	p.rig.Until(func() string {
		if _, err := q.Enqueue(ctx, needy{End: ids[0]}, &job.Options{ID: ids[0]}); err != nil { // a duplicate
			return err.Error()
		}
		return ""
	})
}

func (p *part) redriveByOperator() {
	t, ctx := p.g.t, p.g.t.Context()
	letters, err := dlq.Open(p.g.opts("operator"), p.rig.Topic, p.rig.Group)
	if err != nil {
		t.Fatal(err)
	}
	defer letters.Close()
	p.rig.Until(func() string {
		n := 0
		if _, err := letters.List(ctx, dlq.Filter{}, func(*dlq.Letter) error { n++; return nil }); err != nil || n != 1 {
			return fmt.Sprintf("%d letters, %v", n, err)
		}
		return ""
	})
	report, err := letters.Redrive(ctx, dlq.Request{Tier: p.rig.TierTopics()[0], All: true, Reason: "the test says so", Edit: func(l *dlq.Letter) error {
		l.Payload = []byte(`{"End":""}`)
		return nil
	}})
	if err != nil || report.Redriven != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	p.lookAtGroup()
}

// lookAtGroup asks what the listings of the CLI ask.
func (p *part) lookAtGroup() {
	t, ctx := p.g.t, p.g.t.Context()
	adm, err := kadm.NewOptClient(p.g.opts("operator")...)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	if groups, err := adm.DescribeGroups(ctx, p.rig.Group); err != nil || errors.Is(groups.Error(), kerr.GroupAuthorizationFailed) {
		t.Error(err, groups.Error())
	}
	if _, err := adm.FetchOffsets(ctx, p.rig.Group); err != nil {
		t.Error(err)
	}
	if err := lagOf(ctx, adm, p); err != nil {
		t.Error(err)
	}
}
