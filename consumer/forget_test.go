package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// An idle owner hears of an order to forget by itself: the next enqueue of the job runs.
func TestOrderToForgetAJob(t *testing.T) {
	// Time is virtual here. A second is enough for a job to be read, run, and its receipt to be acked at the next tick; six for
	// an idle task to look at the end of its log, which it does every five (newsEvery).
	within(t, func(r *rig) {
		a := r.start("a")
		r.put(0, "job", "x")
		time.Sleep(time.Second)
		r.put(0, "job", "x")
		time.Sleep(time.Second)
		r.expectRuns("job", 1)
		order := dedupe.Segment{Epoch: -1, Forget: []job.Identity{job.IdentityOf("note", []byte("key-job"), "job")}}
		r.produce(&kgo.Record{Topic: topicName + "." + groupName + ".receipts", Partition: 0, Value: dedupe.AppendSegment(nil, &order)})
		time.Sleep(6 * time.Second)
		r.put(0, "job", "x")
		time.Sleep(time.Second)
		r.expectRuns("job", 2)
		r.put(0, "job", "x")
		time.Sleep(time.Second)
		r.expectRuns("job", 2) // known anew
		a.clean()
	})
}

// A letter redriven twice is run once: by name the second is let through until its generation has begun, and ignored.
func TestDoubleRedrive(t *testing.T) {
	within(t, func(r *rig) {
		fail := true
		r.handle = func(context.Context, *job.Job[note]) error {
			if fail {
				return job.Dead(context.DeadlineExceeded)
			}
			return nil
		}
		a := r.start("a")
		r.put(0, "job", "x")
		time.Sleep(time.Second)
		c, err := dlq.Open([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext)}, topicName, groupName)
		if err != nil {
			r.t.Error(err)
		}
		defer c.Close()
		redrive := func() dlq.Report {
			var refs []string
			if _, err := c.List(r.t.Context(), dlq.Filter{}, func(l *dlq.Letter) error { refs = append(refs, l.Ref()); return nil }); err != nil {
				r.t.Error(err)
			}
			report, err := c.Redrive(r.t.Context(), dlq.Request{Tier: topicName + "." + groupName + ".retry.10s", Refs: refs, Reason: "fixed", Rate: -1})
			if err != nil {
				r.t.Error(err)
			}
			return report
		}
		if fail = false; redrive().Redriven+redrive().Redriven == 0 {
			r.t.Error("nothing was redriven")
		}
		time.Sleep(5 * time.Second) // virtual: a redrive goes to the smallest tier, due at once
		r.expectRuns("job", 2)
		if got := redrive(); got.Redriven != 0 || len(got.Skipped) != 1 {
			r.t.Errorf("a job that is done: %+v", got)
		}
		time.Sleep(5 * time.Second)
		r.expectRuns("job", 2)
		a.clean()
	})
}
