package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/inject"
	"github.com/waybill-dev/waybill/job"
)

// tight runs an instance whose tasks hold eight jobs.
func (r *rig) tight() *instance {
	r.t.Helper()
	i := &instance{t: r.t, done: make(chan error, 1)}
	var err error
	i.Consumer, err = consumer.New(consumer.Config{Brokers: []string{"localhost:9092"}, Group: groupName, Topics: []string{topicName}, Mux: r.mux("a"), Instance: "a",
		Setup: consumer.Create, Opts: []kgo.Opt{kgo.Dialer(r.net.DialContext), kgo.ProducerBatchCompression(kgo.SnappyCompression())}})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(inject.WithRecords(r.t.Context(), 8))
	i.cancel = cancel
	go func() { i.done <- i.Run(ctx) }()
	time.Sleep(settled)
	return i
}

// transactions writes n transactions of ten jobs to partition 0, every other of one key; every third transaction is aborted.
func (r *rig) transactions(n int) {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID("jobs"), kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	for i := range n {
		if err := cl.BeginTransaction(); err != nil {
			r.t.Fatal(err)
		}
		for k := range 5 {
			for _, key := range []string{"hot", "other"} {
				rec := &kgo.Record{Topic: topicName, Key: []byte(key), Value: []byte(`{"text":""}`)}
				id := fmt.Sprintf("%s-%03d", key, i*5+k)
				if key == "other" {
					rec.Key = []byte(id)
				}
				if i%3 == 2 {
					id = "aborted-" + id
				}
				rec.Headers = []kgo.RecordHeader{{Key: job.HeaderKind, Value: []byte("note")}, {Key: job.HeaderID, Value: []byte(id)}}
				cl.Produce(r.t.Context(), rec, nil)
			}
		}
		if err := cl.Flush(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		if err := cl.EndTransaction(r.t.Context(), kgo.TransactionEndTry(i%3 != 2)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// slowHot has each job of the hot key take a second.
func slowHot(_ context.Context, j *job.Job[note]) error {
	if strings.HasPrefix(j.ID, "hot") {
		time.Sleep(time.Second)
	}
	return nil
}

func (r *rig) stats(i *instance) consumer.TaskStatus {
	r.t.Helper()
	for _, t := range i.Status().Tasks {
		if t.Partition == 0 {
			return t
		}
	}
	r.t.Fatal("the instance does not have the task")
	return consumer.TaskStatus{}
}

// A hot key does not hold up the others, and its own jobs run in order, read from the log again; what was aborted there is not.
func TestHotKeyIsReadAgain(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = slowHot
		c := r.tight()
		r.transactions(12)
		time.Sleep(5 * time.Second)
		r.expectRuns("other", 40)
		if st := r.stats(c).Stats; st.Aside == 0 {
			t.Errorf("nothing is set aside: %+v", st)
		}
		time.Sleep(time.Minute)
		r.expectRuns("hot", 40)
		last := ""
		for _, a := range r.attempts("hot") {
			if a.id <= last {
				t.Errorf("%s ran after %s", a.id, last)
			}
			last = a.id
		}
		r.expectRuns("aborted", 0)
		if st := r.stats(c); st.Stats.Aside != 0 || st.Stats.Again == 0 || st.Stats.Lost != 0 || st.Sources[0].Frontier != st.Sources[0].Next {
			t.Errorf("in the end: %+v", st)
		}
		c.clean()
	})
}

// Retention takes jobs that are set aside: they are counted as lost, the rest runs.
func TestSetAsideTakenByRetention(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = slowHot
		c := r.tight()
		r.transactions(12)
		time.Sleep(5 * time.Second)
		var to kadm.Offsets
		to.Add(kadm.Offset{Topic: topicName, Partition: 0, At: 66}) // the first transaction from there on is the seventh
		if _, err := r.admin.DeleteRecords(r.t.Context(), to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		st := r.stats(c)
		if st.Stats.Vanished == 0 || st.Stats.Vanished != st.Stats.Lost || st.Stats.Aside != 0 || st.Sources[0].Frontier != st.Sources[0].Next {
			t.Errorf("%+v", st)
		}
		if n := int64(len(r.attempts("hot"))); n+st.Stats.Vanished != 40 || len(r.attempts("hot-055")) != 0 || len(r.attempts("hot-054")) != 1 {
			t.Errorf("%d ran, %d are lost", n, st.Stats.Vanished)
		}
		c.clean()
	})
}
