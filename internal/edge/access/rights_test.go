package access_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/retrytopics"
)

// needy is a job whose end needs a right: its text says how it ends.
type needy struct{ End string }

func (needy) Kind() string { return "needy" }

func needyKind(r *edge.Rig) func(*processor.Mux, string) {
	return func(mux *processor.Mux, who string) {
		processor.Handle(mux, func(_ context.Context, j *job.Job[needy]) error {
			r.Note(who, j.Message)
			switch {
			case j.Args.End == "retry" && j.Attempt == 1:
				return errors.New("not yet")
			case j.Args.End == "die":
				return job.Dead(errors.New("never"))
			case j.Args.End == "discard":
				return job.Discard("of no use")
			}
			return nil
		}, job.Policy{})
	}
}

// What each role may do, and what happens where a right is missing.
func TestRights(t *testing.T) {
	both(t, func(g *guarded) {
		g.part("missing at the start", missingAtStart)
		g.part("missing all at once", missingAllAtOnce)
		g.part("taken away while running", takenAway)
		g.part("taken away before a takeover", takenAwayBeforeTakeover)
		g.part("each role with its own", roles)
		if g.Kafka != nil { // kfake answers a wrong password by closing the connection, which says nothing
			g.part("wrong password", wrongPassword)
			g.part("password changed while running", passwordChanged)
		}
		g.part("a producer id that is asked for again", producerIDAgain)
	})
}

// Without a right that a worker needs it does not start, and says which one is missing; it starts without those that are
// good to have, and says what is lost.
func missingAtStart(p *part) {
	t := p.g.t
	p.make()
	all := p.rights(setup.Worker)
	p.grant("worker", all...)
	if err := p.rig.Start("first", verify).Stop(); err != nil { // kfake asks for the right of a group once it exists
		t.Error(err)
	}
	for n, right := range all {
		p.revoke("worker", right)
		i := p.rig.Launch(fmt.Sprint("w", n), verify)
		if !right.Spare {
			if err := i.Ended(); err == nil || !strings.Contains(err.Error(), right.String()+": "+right.For) {
				t.Errorf("without %s: %v", right, err)
			}
		} else {
			p.rig.Until(func() string {
				if len(i.Logged(right.String())) == 0 {
					return "it does not say that it lacks " + right.String()
				}
				return ""
			})
			if err := i.Stop(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		p.grant("worker", right)
	}
}

func missingAllAtOnce(p *part) {
	p.make()
	err := p.rig.Launch("w", verify).Ended()
	for _, r := range p.rights(setup.Worker) {
		if err == nil || !r.Spare && !strings.Contains(err.Error(), r.String()) {
			p.g.t.Errorf("%v does not name %s", err, r)
		}
	}
}

func verify(c *consumer.Config) { c.Setup = consumer.Verify }

// A right that is taken away while a worker runs stops what needs it, and nothing else: what fails is in the status with its
// topic and what to do, it is tried again without haste, other topics go on, and all is made up for once the right is back.
func takenAway(p *part) {
	w := watch(p)
	topic, group := p.rig.Topic, p.rig.Group
	tier := retrytopics.TierTopic(topic, group, p.rig.Tiers[0])
	for _, c := range []struct {
		name  string
		right setup.Right
		end   string // of a job that needs the right
		what  string // the trouble
		pause string
	}{
		{"read jobs", setup.Right{Name: topic, Op: setup.Read}, "", "fetch", "denied"},
		{"read retries", setup.Right{Name: tier, Op: setup.Read}, "retry", "fetch", "denied"},
		{"write retries", setup.Right{Name: tier, Op: setup.Write}, "retry", "write", "unacked_writes"},
		{"write letters", setup.Right{Name: retrytopics.DeadLetterTopic(topic, group), Op: setup.Write}, "die", "write", "unacked_writes"},
		{"write the audit", setup.Right{Name: retrytopics.AuditTopic(group), Op: setup.Write}, "discard", "write", "unacked_writes"},
		{"write receipts", setup.Right{Name: retrytopics.ReceiptTopic(topic, group), Op: setup.Write}, "", "receipts", "unacked_writes"},
	} {
		p.g.t.Run(c.name, func(*testing.T) {
			p.revoke("worker", c.right)
			w.put(c.end)
			w.trouble(w.instance, c.what, c.right)
			w.paused(c.pause)
			w.calm()
			w.othersGoOn()
			p.grant("worker", c.right)
			w.healed(w.instance)
		})
	}
	for _, c := range []struct{ name, topic, end, what string }{ // without DESCRIBE a topic might as well not be there
		{"the jobs may not even be seen", topic, "", "fetch"},
		{"the retries may not even be seen", tier, "retry", "write"},
		{"the letters may not even be seen", retrytopics.DeadLetterTopic(topic, group), "die", "write"},
		{"the receipts may not even be seen", retrytopics.ReceiptTopic(topic, group), "", "receipts"},
	} {
		p.g.t.Run(c.name, func(*testing.T) {
			rights := slices.DeleteFunc(p.rights(setup.Worker), func(r setup.Right) bool { return r.Name != c.topic || r.Group })
			op := setup.Write
			if c.what == "fetch" {
				op = setup.Read
			}
			p.revoke("worker", rights...)
			w.put(c.end)
			w.trouble(w.instance, c.what, setup.Right{Name: c.topic, Op: op})
			w.calm()
			w.othersGoOn()
			p.grant("worker", rights...)
			w.healed(w.instance)
		})
	}
	for name, rights := range map[string][]setup.Right{"the group": {{Group: true, Name: group, Op: setup.Read}}, "everything": p.rights(setup.Worker)} {
		p.g.t.Run(name, func(*testing.T) {
			p.revoke("worker", rights...)
			w.put("die")
			w.groupTrouble()
			w.calm()
			p.grant("worker", rights...)
			w.healed(w.instance)
		})
	}
	if err := w.instance.Stop(); err != nil {
		p.g.t.Error(err)
	}
}

// What only a takeover needs is missed by the next owner: its tasks wait, and it says for what.
func takenAwayBeforeTakeover(p *part) {
	w := watch(p)
	heir := p.rig.Launch("b", verify, func(c *consumer.Config) { c.Topics = append(c.Topics, w.other) })
	p.rig.Until(func() string {
		if err := heir.Ready(); err != nil {
			return err.Error()
		}
		return ""
	})
	receipts := setup.Right{Name: retrytopics.ReceiptTopic(p.rig.Topic, p.rig.Group), Op: setup.Read}
	p.revoke("worker", receipts)
	w.put("")
	if err := w.instance.Stop(); err != nil {
		p.g.t.Error(err)
	}
	w.trouble(heir, "restore", receipts)
	w.othersGoOn()
	p.grant("worker", receipts)
	w.healed(heir)
	if err := heir.Stop(); err != nil {
		p.g.t.Error(err)
	}
}

// A client that lost its producer id asks for another, which it gets only while it may write somewhere: what it is told without the right
// must not be kept for good. It loses the id where it does not know what became of records: brokers hung, or were gone.
func producerIDAgain(p *part) {
	t := p.g.t
	p.make()
	line := make(chan struct{}) // closed when the line is silent: until then the job that needs a write runs
	p.rig.Kinds = func(mux *processor.Mux, who string) {
		processor.Handle(mux, func(ctx context.Context, j *job.Job[needy]) error {
			p.rig.Note(who, j.Message)
			select {
			case <-line:
			case <-ctx.Done():
			}
			return job.Dead(errors.New("never"))
		}, job.Policy{})
	}
	all := p.rights(setup.Worker)
	p.grant("worker", all...)
	var l edge.Line
	i := p.rig.Start("w", verify, func(c *consumer.Config) { c.Opts = append(c.Opts, kgo.Dialer(l.Dial)) })
	p.rig.Good(2)
	p.rig.Finished()
	p.rig.Put(p.rig.Job(0, "needy", "dying-1", `{}`))
	p.rig.Until(func() string { return p.ran("dying-1", 1) })
	l.Become(edge.Silent)
	close(line)
	p.rig.Good(2)
	p.rig.Until(func() string { return says(i, "have timed out before they were able to be produced") })
	p.revoke("worker", all...)
	l.Become(edge.Fine)
	p.rig.Until(func() string { return says(i, "grant this user") })
	time.Sleep(3 * time.Second) // for how long the right is away, and not to wait for something
	p.grant("worker", all...)
	p.rig.Good(2)
	p.rig.Finished()
	p.rig.Until(func() string { return ready(i) })
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}
