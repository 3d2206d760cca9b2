package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

const partitions = 12 // consumer.Config's default

// place is the cluster a story runs on.
type place struct {
	brokers []string
	opts    []kgo.Opt
}

func TestStoryOnEmbeddedBroker(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{Brokers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	jobs := 10_000
	if testing.Short() {
		jobs = 4_000
	}
	tell(t, place{broker.Addrs(), []kgo.Opt{kgo.SeedBrokers(broker.Addrs()...)}}, jobs)
}

func TestRealStory(t *testing.T) {
	c := realkafka.Shared(t)
	tell(t, place{c.Addrs(), c.ClientOpts()}, 100_000)
}

// story is one group with its workers, seen by whoever drives it.
type story struct {
	t      *testing.T
	at     place
	topic  string
	group  string
	dir    string
	began  time.Time
	books  []string
	hired  int
	staff  []*worker
	driver *ledger.Writer
	client *kgo.Client
	admin  *kadm.Client
	reader *topics.Reader
	load   *load
	goOn   chan struct{} // closed to end the reading
	read   sync.WaitGroup
	lost   error // of the reading; to be read after it has ended
}

// tell is the story: three workers; one is killed, one told to stop, others join and leave, all under load; then a burst;
// then the letters of one kind are redriven, and everybody stops.
func tell(t *testing.T, at place, jobs int) {
	s := newStory(t, at)
	w1, w2, w3 := s.hire(), s.hire(), s.hire() // at the same time, so that they race to make the topics
	s.settled(w1, w2, w3)
	s.mark("three workers share %d tasks", partitions)
	burst := jobs * 4 / 10
	s.open(items(uint64(jobs), jobs, jobs-burst))
	s.load.rush.Store(int64(jobs / 10))
	s.load.run(t.Context(), jobs-burst)
	s.sent(jobs / 10)

	s.kill(w1)
	w4 := s.hire()
	s.settled(w2, w3, w4)
	s.mark("worker-1 was killed in the middle of %d jobs, worker-4 has its place", jobs/10)
	s.dismiss(w2)
	s.settled(w3, w4)
	s.mark("worker-2 drained on SIGTERM and left")
	w5 := s.hire()
	w6 := s.hire()
	s.settled(w3, w4, w5, w6)
	s.mark("worker-5 and worker-6 joined")
	s.kill(w3)
	s.dismiss(w4)
	w7 := s.hire()
	s.settled(w5, w6, w7)
	s.mark("worker-3 was killed and worker-4 left, worker-7 joined; %d jobs were enqueued by then", s.load.sent.Load())

	s.load.rush.Store(int64(jobs - burst))
	s.sent(jobs - burst)
	s.finish(s.load.halt())
	s.consumed(3 * time.Minute)
	s.burst(jobs, burst)
	s.idle(3 * time.Minute)
	s.redrive()
	s.idle(3 * time.Minute)
	s.mark("idle")
	for _, w := range []*worker{w5, w6, w7} {
		s.dismiss(w)
	}
	s.judge(jobs)
}

func newStory(t *testing.T, at place) *story {
	name := fmt.Sprintf("story-%d", time.Now().UnixNano())
	s := &story{t: t, at: at, topic: name, group: "e2e", dir: t.ArtifactDir(), began: time.Now(), goOn: make(chan struct{})}
	var err error
	if s.driver, err = ledger.Open(s.book("driver"), "driver"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.driver.Close() })
	s.group += "-" + name
	opts := append(at.opts[:len(at.opts):len(at.opts)], kgo.RecordPartitioner(producer.Partitioner()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100*time.Millisecond))
	if s.client, err = kgo.NewClient(opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	s.admin = kadm.NewClient(s.client)
	t.Cleanup(func() {
		if t.Failed() {
			s.tails()
		}
	})
	return s
}

// book is the path of one process's ledger.
func (s *story) book(process string) string {
	path := filepath.Join(s.dir, process+".ledger")
	s.books = append(s.books, path)
	return path
}

func (s *story) mark(format string, a ...any) {
	s.t.Logf("%5.1fs "+format, append([]any{time.Since(s.began).Seconds()}, a...)...)
}

func (s *story) finish(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// sources are the topics the group reads.
func (s *story) sources() []string {
	names := []string{s.topic}
	for _, d := range tiers {
		names = append(names, retrytopics.TierTopic(s.topic, s.group, d))
	}
	return names
}

// open makes the producer, and begins to read the topics before owners trim them.
func (s *story) open(all []item) {
	prod, err := producer.New(producer.Config{Brokers: s.at.brokers, Topic: s.topic})
	s.finish(err)
	s.t.Cleanup(func() {
		if err := prod.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
	s.load = &load{items: all, sink: s.driver, topic: s.topic, prod: prod, client: s.client, pace: max(1, len(all)/800)}
	s.reader, err = topics.NewReader(s.at.opts, append(s.sources(), retrytopics.DeadLetterTopic(s.topic, s.group))...)
	s.finish(err)
	s.t.Cleanup(s.reader.Close)
	s.t.Cleanup(s.endReading)
	s.read.Go(func() {
		every := time.NewTicker(300 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-s.goOn:
				return
			case <-every.C:
				if err := s.reader.Read(s.t.Context()); err != nil {
					s.lost = errors.Join(s.lost, err)
				}
			}
		}
	})
}

// endReading joins the reading; calling it again is harmless.
func (s *story) endReading() {
	select {
	case <-s.goOn:
	default:
		close(s.goOn)
	}
	s.read.Wait()
}

// sent waits until so many jobs are enqueued.
func (s *story) sent(n int) {
	s.t.Helper()
	until(s.t, patience, func() string {
		if got := s.load.sent.Load(); got < int64(n) {
			return fmt.Sprintf("%d of %d jobs are enqueued", got, n)
		}
		return ""
	})
}

// burst enqueues the rest of the items at once and measures how fast three workers settle them.
func (s *story) burst(jobs, n int) {
	s.t.Helper()
	began := time.Now()
	s.load.rush.Store(int64(jobs))
	s.load.run(s.t.Context(), jobs)
	s.sent(jobs)
	enqueued := time.Since(began)
	s.finish(s.load.halt())
	s.consumed(3 * time.Minute)
	took := time.Since(began)
	s.mark("a burst of %d jobs: enqueued in %v (%.0f/s), settled with receipts and committed in %v: %.0f jobs/s by three workers",
		n, enqueued.Round(time.Millisecond), float64(n)/enqueued.Seconds(), took.Round(time.Millisecond), float64(n)/took.Seconds())
}

// consumed waits until all of the job topic is settled and committed, whatever waits in tiers.
func (s *story) consumed(limit time.Duration) {
	s.t.Helper()
	until(s.t, limit, func() string { return s.left(s.topic) })
}

// idle waits until the tiers are empty too.
func (s *story) idle(limit time.Duration) {
	s.t.Helper()
	until(s.t, limit, func() string { return s.left(s.sources()...) })
}

// left is what the group has not committed. The offsets are read before the ends: what was settled by then has its copies
// in the tiers by then.
func (s *story) left(names ...string) (said string) {
	said, err := left(s.t.Context(), s.admin, s.group, names...)
	if err != nil {
		return err.Error()
	}
	return said
}

func left(ctx context.Context, admin *kadm.Client, group string, names ...string) (said string, err error) {
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return "", err
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return "", err
	}
	ends.Each(func(o kadm.ListedOffset) {
		if c, _ := committed.Lookup(o.Topic, o.Partition); c.At < o.Offset {
			said += fmt.Sprintf("%s/%d is at %d of %d; ", o.Topic, o.Partition, c.At, o.Offset)
		}
	})
	return said, nil
}

// redrive sends the letters of one kind back, as an operator who has mended it would.
func (s *story) redrive() {
	s.t.Helper()
	c, err := dlq.Open(s.at.opts, s.topic, s.group)
	s.finish(err)
	defer c.Close()
	report, err := c.Redrive(s.t.Context(), dlq.Request{Tier: s.sources()[1], Reason: "mended", By: "e2e", Rate: -1,
		Filter: dlq.Filter{Kinds: []string{keyed{}.Kind()}, Dispositions: []dlq.Disposition{dlq.Explicit, dlq.Exhausted}},
		Each: func(l *dlq.Letter, refusal string) {
			if refusal == "" {
				s.driver.Record(ledger.Event{Type: ledger.Redriven, Kind: l.Kind, Key: string(l.Key), ID: l.ID, Generation: int(l.Generation) + 1,
					Origin: ledger.Pos{Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset}})
			}
		}})
	s.finish(err)
	if report.Redriven == 0 || report.Redriven != report.Matched {
		s.t.Errorf("%d letters redriven of %d: %v", report.Redriven, report.Matched, report.Skipped)
	}
	s.mark("%d letters redriven", report.Redriven)
}
