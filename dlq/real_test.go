package dlq

import (
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

func TestMain(m *testing.M) { os.Exit(realkafka.Main(m)) }

// What the in-memory broker cannot show: the letter of the largest job fits its topic and its copy the tier; one that the
// tier does not take fails alone; aborted letters are not seen and markers at the end keep nobody waiting; letters have the
// broker's time.
func TestRealKafka(t *testing.T) {
	c := realkafka.Shared(t)
	topic, group := "jobs-"+uuid.NewString(), "g"+uuid.NewString()[:8]
	tierTopic, letterTopic := retrytopics.TierTopic(topic, group, 10*time.Second), retrytopics.DeadLetterTopic(topic, group)
	adm, err := kadm.NewOptClient(c.ClientOpts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	report, err := setup.Plan(t.Context(), adm, c.ClientOpts(), setup.Want{Group: group, Topics: []setup.TopicWant{{Name: topic, Partitions: 4}}})
	if err == nil {
		err = setup.Apply(t.Context(), adm, c.ClientOpts(), report)
	}
	if err != nil {
		t.Fatal(err)
	}
	file := func(cl *kgo.Client, id string, payload []byte) {
		t.Helper()
		e := envelope([]byte(id), payload, header(job.HeaderKind, "a"), header(job.HeaderID, id))
		e.Origin.Topic = topic
		key, value, headers := Record(&Filing{Envelope: e, Disposition: Exhausted, Text: strings.Repeat("t", job.MaxText), Now: time.Unix(0, 0)})
		rec := &kgo.Record{Topic: letterTopic, Key: key, Value: value, Timestamp: time.Unix(0, 0)}
		for _, h := range headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
		}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatalf("filing %s: %v", id, err)
		}
	}
	noise := func(n int) []byte { // what does not compress
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	cl, err := kgo.NewClient(append(c.ClientOpts(), kgo.ProducerBatchMaxBytes(2<<20))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	file(cl, "small", []byte("{}"))
	file(cl, "largest", noise(1_048_400)) // of a batch of 1048588, the limit of the job topic
	file(cl, "other", []byte("{}"))
	txn, err := kgo.NewClient(append(c.ClientOpts(), kgo.TransactionalID(uuid.NewString()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Close()
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	file(txn, "aborted", []byte("{}"))
	if err := txn.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}

	d, err := Open(c.ClientOpts(), topic, group)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var ids []string
	sum, err := d.List(t.Context(), Filter{Since: time.Now().Add(-time.Hour)}, func(l *Letter) error {
		ids = append(ids, l.ID)
		return nil
	})
	if err != nil || !slices.Equal(ids, []string{"small", "largest", "other"}) {
		t.Errorf("listed %q, %+v, %v", ids, sum, err)
	}
	req := Request{Tier: tierTopic, All: true, Reason: "test", Rate: -1}
	got, err := d.Redrive(t.Context(), req)
	if err != nil || got.Redriven != 3 || len(got.Skipped) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	sum, err = d.List(t.Context(), Filter{Pending: true}, func(l *Letter) error { return nil })
	if err != nil || sum.Listed != 0 {
		t.Errorf("pending: %+v, %v", sum, err)
	}

	// A tier that takes less than the letters hold.
	if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("100000")}}, tierTopic); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for limit := ""; limit != "100000" && time.Now().Before(deadline); { // a broker hears of it with a delay
		configs, err := adm.DescribeTopicConfigs(t.Context(), tierTopic)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range configs[0].Configs {
			if entry.Key == "max.message.bytes" {
				limit = entry.MaybeValue()
			}
		}
	}
	req.All, req.Refs = false, []string{"0/0", "0/1", "0/2"}
	got, err = d.Redrive(t.Context(), req)
	if err != nil || got.Redriven != 2 || len(got.Skipped) != 1 || got.Skipped[0].ID != "largest" {
		t.Errorf("%+v, %v", got, err)
	}
}
