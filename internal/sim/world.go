package sim

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/producer"
)

const (
	topicName  = "jobs"
	groupName  = "sim"
	partitions = 3
	session    = 10 * time.Second
	heartbeat  = time.Second
	tick       = 100 * time.Millisecond
	drain      = 4 * time.Second
)

var tiers = []time.Duration{2 * time.Second, 10 * time.Second, 40 * time.Second}

// world is one run: a cluster, workers that come and go, and the ledger.
type world struct {
	rand    *rand.Rand
	log     *zap.Logger
	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	rec     *ledger.Recorder
	driver  *ledger.Tap
	admin   *kadm.Client
	client  *kgo.Client
	reader  *topics.Reader
	workers []*worker
	born    int
	counts  Counts
	past    []*worker // gone; their goroutines are joined at the end
	errs    []error

	producing sync.WaitGroup
	commits   *commits
	asked     atomic.Int64        // how often a handler asked whether an effect happened
	disks     *disks              // nil: receipts are kept in memory
	tight     int                 // records that a task may hold; 0: as many as it usually may
	forgotten map[ledger.Pos]bool // jobs, by their records: an operator had them forgotten
}

// Counts says how often each fault and each step happened in a run.
type Counts map[string]int

func newWorld(seed uint64, log *zap.Logger) (*world, error) {
	w := &world{rand: rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15)), log: log, net: &kfake.VirtualNetwork{}, rec: ledger.NewRecorder(), counts: Counts{}, forgotten: map[ledger.Pos]bool{}}
	w.driver = w.rec.For("driver")
	var err error
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(w.net.Listen),
		kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(partitions, topicName))
	if err != nil {
		return nil, err
	}
	if w.client, err = kgo.NewClient(append(w.opts(), kgo.RecordPartitioner(producer.Partitioner()))...); err != nil {
		return nil, err
	}
	w.admin = kadm.NewClient(w.client)
	w.commits = watchCommits(w.cluster)
	if onDisk(seed) {
		w.disks, err = newDisks()
	}
	if seed%3 == 0 { // a hot key that comes faster than it is worked on, and tasks that must set it aside
		w.tight = 4 + w.rand.IntN(9)
	}
	return w, err
}

func (w *world) opts() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers("localhost:9092", "localhost:9093"), kgo.Dialer(w.net.DialContext), kgo.MetadataMinAge(100 * time.Millisecond), kgo.DisableClientMetrics()}
}

// close ends everything and joins it.
func (w *world) close() {
	w.producing.Wait()
	for len(w.workers) > 0 {
		w.stop()
	}
	for _, k := range w.past {
		<-k.ended
		k.host.cut()
		k.host.wg.Wait()
	}
	if w.reader != nil {
		w.reader.Close()
	}
	w.client.Close()
	w.commits.close()
	w.cluster.Close()
	w.disks.close()
}
