package setup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/internal/control"
)

type rig struct {
	*testing.T
	ctx     context.Context
	cluster *kfake.Cluster
	opts    []kgo.Opt
	adm     *kadm.Client
}

// withRig runs test in virtual time beside a broker in memory.
func withRig(t *testing.T, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		opts := []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(network.DialContext)}
		adm, err := kadm.NewOptClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer adm.Close()
		test(&rig{t, t.Context(), c, opts, adm})
	})
}

func (r *rig) plan(w Want) Report {
	r.Helper()
	report, err := Plan(r.ctx, r.adm, r.opts, w)
	if err != nil {
		r.Fatal(err)
	}
	return report
}

func (r *rig) apply(report Report) {
	r.Helper()
	if err := Apply(r.ctx, r.adm, r.opts, report); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) configs(topic string) map[string]string {
	r.Helper()
	have, err := Look(r.ctx, r.adm, want(), control.Layout{})
	if err != nil {
		r.Fatal(err)
	}
	return have[topic].Configs
}

func TestPlanApplyVerify(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		report := r.plan(w)
		if err := report.Err(); err == nil || !strings.Contains(err.Error(), "topic emails: the job topic does not exist") {
			t.Errorf("without a job topic: %v", err)
		}
		w.Topics[0].Partitions = 4
		report = r.plan(w)
		if len(report.Changes) != 7 || report.Partitions != 16 {
			t.Errorf("%d partitions, %v", report.Partitions, report.Changes)
		}
		r.apply(report)
		report = r.plan(want())
		if !report.OK() || report.Partitions != 16 {
			t.Errorf("after applying: %d partitions, %v", report.Partitions, report.Changes)
		}
		r.apply(report) // does nothing
		layout, err := control.ReadLayout(r.ctx, r.opts, "mailer")
		if err != nil || layout.Topics["emails"].Partitions != 4 || len(layout.Tiers("emails")) != 1 {
			t.Errorf("layout %+v, %v", layout, err)
		}
		r.apply(report)
		if got := r.configs("emails.mailer.retry.10s"); got["message.timestamp.type"] != "LogAppendTime" || got["retention.ms"] != "-1" {
			t.Errorf("configs %v", got)
		}
	})
}

// A tier is taken from the configuration, another is added: the first stays in the layout and is still checked.
func TestTiersComeAndGo(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		w.Topics[0].Partitions = 4
		r.apply(r.plan(w))
		w.Tiers = []time.Duration{time.Minute}
		report := r.plan(w)
		if got := render(report); got != "create emails.mailer.retry.1m" || report.Partitions != 20 {
			t.Errorf("%q, %d partitions", got, report.Partitions)
		}
		r.apply(report)
		if report = r.plan(w); !report.OK() || len(report.Layout.Tiers("emails")) != 2 {
			t.Errorf("%v, %+v", report.Changes, report.Layout)
		}
		if _, err := r.adm.DeleteTopics(r.ctx, "emails.mailer.retry.10s"); err != nil {
			t.Fatal(err)
		}
		if report = r.plan(w); !report.OK() || report.Partitions != 16 {
			t.Errorf("a drained tier was deleted: %v", report.Changes)
		}
	})
}

// Tiers that are no longer configured are found by their names when the control topic is lost, and stand in the new one.
func TestTiersOfALostLayout(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		w.Topics[0].Partitions = 4
		r.apply(r.plan(w))
		other := w
		other.Group, other.Tiers = "other", []time.Duration{time.Hour}
		r.apply(r.plan(other))
		if _, err := r.adm.DeleteTopics(r.ctx, "mailer.control"); err != nil {
			t.Fatal(err)
		}
		w.Tiers = []time.Duration{time.Minute}
		report := r.plan(w)
		if got := render(report); got != "create emails.mailer.retry.1m, create mailer.control" {
			t.Errorf("%q", got)
		}
		r.apply(report)
		if report = r.plan(w); !report.OK() || !slices.Equal(report.Layout.Tiers("emails"), []time.Duration{10 * time.Second, time.Minute}) {
			t.Errorf("%v, %+v", report.Changes, report.Layout)
		}
	})
}

func TestApplyAlters(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		w.Topics[0].Partitions = 4
		r.apply(r.plan(w))
		_, err := r.adm.AlterTopicConfigs(r.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1000")},
			{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("5000000")}}, "emails.mailer.dlq", "emails.mailer.receipts")
		if err != nil {
			t.Fatal(err)
		}
		report := r.plan(w)
		if got := render(report); got != "alter emails.mailer.dlq retention.ms, alter emails.mailer.receipts retention.ms" {
			t.Errorf("%q", got)
		}
		r.apply(report)
		if report = r.plan(w); !report.OK() {
			t.Errorf("%v", report.Changes)
		}
		if got := r.configs("emails.mailer.dlq"); got["retention.ms"] != "-1" || got["max.message.bytes"] != "5000000" {
			t.Errorf("what was better than asked, or not asked for, was changed: %v", got)
		}
	})
}

// Two instances that set up at the same time do not trip over each other.
func TestApplyTwice(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		w.Topics[0].Partitions = 4
		one, two := r.plan(w), r.plan(w)
		r.apply(one)
		r.apply(two)
		if report := r.plan(w); !report.OK() {
			t.Errorf("%v", report.Changes)
		}
	})
}

// A job topic that is created between plan and apply, with other partitions than the plan's, is taken as it is: nothing is made
// by the plan's count, which only a person could undo.
func TestApplyMeetsAnotherTopic(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		w.Topics[0].Partitions = 4
		report := r.plan(w)
		if _, err := r.adm.CreateTopic(r.ctx, 2, 1, nil, "emails"); err != nil {
			t.Fatal(err)
		}
		if err := Apply(r.ctx, r.adm, r.opts, report); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "topic emails") {
			t.Errorf("error %v", err)
		}
		time.Sleep(10 * time.Second) // the client's own view of the topics gets old
		r.apply(r.plan(w))
		if report = r.plan(w); !report.OK() || report.Partitions != 2*3+1+3 {
			t.Errorf("%d partitions, %v", report.Partitions, report.Changes)
		}
	})
}

// What the controller refuses is an error that names each topic, and nothing is written to the layout.
func TestApplyReportsFaults(t *testing.T) {
	withRig(t, func(r *rig) {
		w := want()
		w.Topics[0].Partitions = 4
		report := r.plan(w)
		r.cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
			r.cluster.KeepControl()
			resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
			for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
				t := kmsg.NewCreateTopicsResponseTopic()
				t.Topic, t.ErrorCode = topic.Topic, kerr.PolicyViolation.Code
				resp.Topics = append(resp.Topics, t)
			}
			return resp, nil, true
		})
		err := Apply(r.ctx, r.adm, r.opts, report)
		if !errors.Is(err, kerr.PolicyViolation) || strings.Count(err.Error(), "create topic") != 7 {
			t.Errorf("error %v", err)
		}
	})
}

func TestPlanRefusesWant(t *testing.T) {
	withRig(t, func(r *rig) {
		if _, err := Plan(r.ctx, r.adm, r.opts, Want{Group: "a b"}); err == nil {
			t.Error("a group that can have no topics")
		}
	})
}
