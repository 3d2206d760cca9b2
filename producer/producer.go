package producer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/waybill-dev/waybill/internal/alone"
	"github.com/waybill-dev/waybill/job"
)

// Producer enqueues jobs. All methods may be called at the same time from many goroutines. Make one with New, and Close
// it.
type Producer struct {
	cfg    Config
	cl     *kgo.Client
	alone  *alone.Sender // of what the brokers refused for the size of its batch
	limits limits

	jobs  *semaphore.Weighted // room for MaxBuffered jobs
	bytes *semaphore.Weighted // and MaxBufferedBytes of them

	life context.Context // ends when Close gives up waiting
	end  context.CancelCauseFunc

	producing sync.RWMutex // read-locked around the client's Produce, which must not be called once the client is closed
	stopped   bool         // guarded by producing

	mu      sync.Mutex
	next    uint64             // number of the next flight
	flights map[uint64]*flight // jobs on their way
	closing bool               // no new ones
	failed  []*flight          // failed while closing
	idle    chan struct{}      // closed when closing and none is on its way

	closeOnce sync.Once
	closeErr  error
}

// Enqueued says where a job is. Partition and Offset are -1 while it is not known to be written.
type Enqueued struct {
	ID        string
	Topic     string
	Partition int32
	Offset    int64
}

// Item is one job of EnqueueMany.
type Item struct {
	Args    job.Args
	Options *job.Options
}

// Raw stands for arguments that are encoded already, see EncodeRaw: no codec is asked.
type Raw struct {
	Name        string // of the kind
	Payload     []byte
	ContentType string
}

// Kind implements job.Args.
func (r Raw) Kind() string { return r.Name }

// New makes a producer. It opens no connection yet: the first job does. All faults of c come at once, each naming its
// field.
func New(c Config) (*Producer, error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("producer: invalid Config:\n%w", err)
	}
	p := &Producer{
		cfg:     c,
		jobs:    semaphore.NewWeighted(int64(c.MaxBuffered)),
		bytes:   semaphore.NewWeighted(c.MaxBufferedBytes),
		flights: map[uint64]*flight{},
		idle:    make(chan struct{}),
	}
	cl, single, err := c.newClient(p.limits.batch)
	if err != nil {
		return nil, fmt.Errorf("producer: invalid Config:\n%w", err)
	}
	p.cl, p.alone = cl, single
	p.limits.use(cl)
	p.life, p.end = context.WithCancelCause(context.Background())
	return p, nil
}

// Enqueue writes one job and returns when every in-sync replica has it. opts may be nil. It waits for room (MaxBuffered)
// and for the brokers, for as long as ctx lasts: they are asked again until they answer.
//
// Errors are *JobError; see ErrUnknown for what they say about the job. When ctx ends before the job was handed to the
// client it is not written; when it ends later the error is ErrUnknown and the job stays on its way, until it is written or
// Close lists it. The result's ID is set in both cases.
func (p *Producer) Enqueue(ctx context.Context, args job.Args, opts *job.Options) (Enqueued, error) {
	r, e, err := p.Encode(args, opts)
	if err != nil {
		return e, err
	}
	return p.wait(ctx, p.launch(ctx, time.Now(), args.Kind(), e, r))
}

// EnqueueRaw is Enqueue for a payload that is encoded already; see EncodeRaw.
func (p *Producer) EnqueueRaw(ctx context.Context, kind string, payload []byte, contentType string, opts *job.Options) (Enqueued, error) {
	r, e, err := p.EncodeRaw(kind, payload, contentType, opts)
	if err != nil {
		return e, err
	}
	return p.wait(ctx, p.launch(ctx, time.Now(), kind, e, r))
}

// EnqueueMany writes many jobs, in order, and waits for all. The results are as many as the items, in their order.
//
// All items are checked first: when one is invalid none is sent. After that each stands for itself. The error is a
// *BatchError with one *JobError for each job that failed; results of jobs that failed have Offset -1. To try again, enqueue
// those under the ids they have.
func (p *Producer) EnqueueMany(ctx context.Context, items []Item) ([]Enqueued, error) {
	results := make([]Enqueued, len(items))
	records := make([]*kgo.Record, len(items))
	failed := &BatchError{Total: len(items)}
	note := func(i int, err error) {
		if err != nil {
			failed.Failed = append(failed.Failed, Failure{Index: i, Err: err})
		}
	}
	for i, item := range items {
		var err error
		records[i], results[i], err = p.Encode(item.Args, item.Options)
		note(i, err)
	}
	if len(failed.Failed) > 0 {
		return results, failed
	}
	began, flights := time.Now(), make([]*flight, len(items))
	for i, r := range records {
		flights[i] = p.launch(ctx, began, items[i].Args.Kind(), results[i], r)
	}
	for i, f := range flights {
		var err error
		results[i], err = p.wait(ctx, f)
		note(i, err)
	}
	if len(failed.Failed) > 0 {
		return results, failed
	}
	return results, nil
}
