package control

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const topic = "mailer.control"

// withBroker runs test in virtual time beside a broker in memory.
func withBroker(t *testing.T, test func(t *testing.T, c *kfake.Cluster, opts []kgo.Opt), more ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(append(more, kfake.NumBrokers(1), kfake.ListenFn(network.Listen))...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		test(t, c, []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(network.DialContext)})
	})
}

func put(t *testing.T, opts []kgo.Opt, key, value string) {
	t.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func layout(topic string, tiers ...time.Duration) (l Layout) {
	l.Add(topic, 4, tiers)
	return l
}

func TestReadNothing(t *testing.T) {
	withBroker(t, func(t *testing.T, _ *kfake.Cluster, opts []kgo.Opt) {
		if l, err := ReadLayout(t.Context(), opts, "mailer"); err != nil || l.Topics != nil || l.Split() {
			t.Errorf("a missing topic reads %+v, %v", l, err)
		}
	})
	withBroker(t, func(t *testing.T, _ *kfake.Cluster, opts []kgo.Opt) {
		if l, err := ReadLayout(t.Context(), opts, "mailer"); err != nil || l.Topics != nil {
			t.Errorf("an empty topic reads %+v, %v", l, err)
		}
		put(t, opts, "pause", "x")
		if l, err := ReadLayout(t.Context(), opts, "mailer"); err != nil || l.Topics != nil {
			t.Errorf("a topic of other things reads %+v, %v", l, err)
		}
		adm, err := kadm.NewOptClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer adm.Close()
		if _, err := adm.DeleteRecords(t.Context(), kadm.Offsets{topic: {0: {Topic: topic, At: 1}}}); err != nil {
			t.Fatal(err)
		}
		if l, err := ReadLayout(t.Context(), opts, "mailer"); err != nil || l.Topics != nil {
			t.Errorf("an emptied topic reads %+v, %v", l, err)
		}
	}, kfake.SeedTopics(1, topic))
}

func TestWriteLayout(t *testing.T) {
	withBroker(t, func(t *testing.T, _ *kfake.Cluster, opts []kgo.Opt) {
		want := Layout{}
		for _, add := range []Layout{layout("a", 10*time.Second), layout("b"), layout("a", time.Minute), layout("a", time.Minute), {}} {
			for name, topic := range add.Topics {
				want.Add(name, topic.Partitions, add.Tiers(name))
			}
			got, err := WriteLayout(t.Context(), opts, "mailer", add)
			if err != nil || !got.Has(want) || !want.Has(got) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
		n := 0
		if err := scan(t.Context(), opts, topic, func(*kgo.Record) { n++ }); err != nil || n != 3 {
			t.Errorf("%d records, %v; what changes nothing is not written", n, err)
		}
	}, kfake.SeedTopics(1, topic))
}

func TestWriteLayoutWithoutTopic(t *testing.T) {
	withBroker(t, func(t *testing.T, _ *kfake.Cluster, opts []kgo.Opt) {
		if _, err := WriteLayout(t.Context(), opts, "mailer", layout("a")); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("error %v", err)
		}
	})
}

// Instances that start at once with a tier each lose none of them.
func TestWriteLayoutTogether(t *testing.T) {
	withBroker(t, func(t *testing.T, _ *kfake.Cluster, opts []kgo.Opt) {
		var writers sync.WaitGroup
		for i := range 4 {
			writers.Go(func() {
				add := layout("a", time.Duration(i+1)*time.Second)
				if got, err := WriteLayout(t.Context(), opts, "mailer", add); err != nil || !got.Has(add) {
					t.Errorf("writer %d: %+v, %v", i, got, err)
				}
			})
		}
		writers.Wait()
		got, err := ReadLayout(t.Context(), opts, "mailer")
		if err != nil || len(got.Tiers("a")) != 4 || got.Split() {
			t.Errorf("%+v, %v", got, err)
		}
	}, kfake.SeedTopics(1, topic))
}

// A writer whose record lands over another's that it had not seen notices and mends it, and where it dies first, a reader
// still knows all and the next writer mends it.
func TestOverwrittenLayout(t *testing.T) {
	withBroker(t, func(t *testing.T, c *kfake.Cluster, opts []kgo.Opt) {
		var once atomic.Bool
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			if once.CompareAndSwap(false, true) { // between the read and the write of the one below
				c.SleepControl(func() { put(t, opts, LayoutKey, `{"version":1,"topics":{"a":{"partitions":4,"tiers":["10s"]}}}`) })
			}
			return nil, nil, false
		})
		got, err := WriteLayout(t.Context(), opts, "mailer", layout("a", 20*time.Second))
		if err != nil || !slices.Equal(got.Topics["a"].Tiers, []string{"10s", "20s"}) {
			t.Errorf("%+v, %v", got, err)
		}
		put(t, opts, LayoutKey, `{"version":1,"topics":{"a":{"partitions":4,"tiers":["30s"]}}}`)
		got, err = ReadLayout(t.Context(), opts, "mailer")
		if err != nil || len(got.Topics["a"].Tiers) != 3 || !got.Split() {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err = WriteLayout(t.Context(), opts, "mailer", got); err != nil || len(got.Topics["a"].Tiers) != 3 || got.Split() {
			t.Errorf("%+v, %v", got, err)
		}
	}, kfake.SeedTopics(1, topic))
}

func TestLayoutOfTheFuture(t *testing.T) {
	withBroker(t, func(t *testing.T, _ *kfake.Cluster, opts []kgo.Opt) {
		put(t, opts, LayoutKey, `{"version":2}`)
		_, readErr := ReadLayout(t.Context(), opts, "mailer")
		_, writeErr := WriteLayout(t.Context(), opts, "mailer", layout("a"))
		if readErr == nil || writeErr == nil {
			t.Errorf("read %v, write %v", readErr, writeErr)
		}
		put(t, opts, LayoutKey, `{"version":1,"topics":{"a":{"partitions":4}}}`)
		if l, err := ReadLayout(t.Context(), opts, "mailer"); err != nil || len(l.Topics) != 1 {
			t.Errorf("a broken record under a good one: %+v, %v", l, err)
		}
	}, kfake.SeedTopics(1, topic))
}
