package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Copies come due by the broker's clock: whatever stamp a producer with a wrong clock put on them, they are neither early
// nor an hour late.
func TestRealDelaysFollowTheBrokersClock(t *testing.T) {
	r := newRig(t, realkafka.Shared(t))
	a := r.start("a")
	r.settled(a)
	const delay = 3 * time.Second
	tier := retrytopics.TierTopic(r.topic, r.group, delay)
	for name, wrong := range map[string]time.Duration{"slow": -time.Hour, "fast": time.Hour} {
		e := r.enqueue(name, script{End: "dead"}, job.Options{Key: []byte(name)})
		r.idle()
		// The next generation of a dead job, as a redrive by a process with that clock would write it, but for the delay.
		copied := handmade(e, name, delay)
		copied.Topic, copied.Timestamp = tier, time.Now().Add(wrong)
		if err := r.client.ProduceSync(t.Context(), copied).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// And one whose own record bears a wrong stamp: the job topic keeps it, its retries do not care.
	late, _, err := r.prod.Encode(keyed{script{Fails: 1}}, &job.Options{ID: "stamped", Key: []byte("stamped")})
	if err != nil {
		t.Fatal(err)
	}
	late.Timestamp = time.Now().Add(30 * time.Minute)
	cl, err := kgo.NewClient(append(r.opts[:len(r.opts):len(r.opts)], kgo.RecordPartitioner(producer.Partitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), late).FirstErr(); err != nil {
		t.Fatal(err)
	}
	until(t, patience, func() string {
		for _, name := range []string{"slow", "fast", "stamped"} {
			if n := len(r.calls(name)); n < 2 {
				return fmt.Sprintf("%s was called %d times", name, n)
			}
		}
		return ""
	})
	due := map[ledger.Pos]time.Time{}
	for _, d := range tiers {
		for _, rec := range r.records(retrytopics.TierTopic(r.topic, r.group, d)) {
			if rec.Attrs.TimestampType() != 1 || time.Since(rec.Timestamp).Abs() > 5*time.Minute {
				t.Errorf("%s/%d@%d is stamped %v, type %d: not by the broker", rec.Topic, rec.Partition, rec.Offset, rec.Timestamp, rec.Attrs.TimestampType())
			}
			due[ledger.Pos{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}] = rec.Timestamp.Add(delayOf(t, rec))
		}
	}
	for _, e := range r.calls("") {
		at, copied := due[e.Record]
		switch {
		case e.Hop == 0 && e.Generation == 0:
		case !copied:
			t.Errorf("%s was called from %v, which is in no tier", e.ID, e.Record)
		case e.Time.Before(at):
			t.Errorf("%s was called %v before it was due", e.ID, at.Sub(e.Time))
		default:
			t.Logf("%s: called %v after it was due", e.ID, e.Time.Sub(at))
		}
	}
}

func handmade(e producer.Enqueued, id string, delay time.Duration) *kgo.Record {
	env := job.Envelope{WireKind: keyed{}.Kind(), Message: job.Message{Kind: keyed{}.Kind(), ID: id, ContentType: job.JSON.ContentType()}}
	r := &kgo.Record{Partition: e.Partition, Key: []byte(id), Value: []byte(`{"n":0}`)}
	for _, h := range job.CopyHeaders(nil, &env, &job.Stamp{Gen: 1, Delay: delay, Origin: job.Origin{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}}) {
		r.Headers = append(r.Headers, kgo.RecordHeader(h))
	}
	return r
}

// delayOf is the delay a copy carries, in milliseconds on the wire.
func delayOf(t *testing.T, r *kgo.Record) time.Duration {
	t.Helper()
	for _, h := range r.Headers {
		if h.Key == job.HeaderDelay {
			d, err := time.ParseDuration(string(h.Value) + "ms")
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatalf("%s/%d@%d carries no delay", r.Topic, r.Partition, r.Offset)
	return 0
}
