package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// emitter enqueues what handlers emit, as any program does: by a producer of its own, made when the first job is emitted,
// whose partitioner and limits are those of all others.
type emitter struct {
	cfg *Config

	mu sync.Mutex
	p  *producer.Producer
}

// emitGrace is how long the brokers have for what one job emitted before that is called refused, and tried again.
const emitGrace = 10 * time.Second

func (e *emitter) producer() (*producer.Producer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.p != nil {
		return e.p, nil
	}
	c := producer.Config{Brokers: e.cfg.Brokers, ClientID: e.cfg.ClientID, TLS: e.cfg.TLS, SASL: e.cfg.SASL, Routes: e.cfg.Routes,
		Logger: e.cfg.Logger.Named("emit")}
	for _, o := range e.cfg.Opts {
		if _, consumers := o.(kgo.ConsumerOpt); !consumers {
			c.Opts = append(c.Opts, o)
		}
	}
	p, err := producer.New(c)
	e.p = p
	return p, err
}

func (e *emitter) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.p != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel() // nobody waits for what is still on its way: its job is not done, and emits it again
		_ = e.p.Close(over)
	}
}

// errEmission is of jobs that can never be enqueued, whatever the brokers say.
var errEmission = errors.New("what the job emitted cannot be enqueued")

// send enqueues what one attempt emitted and was not acked before. Nobody else looks at the emissions meanwhile.
func (e *emitter) send(ctx context.Context, m *job.Message, home string) error {
	p, err := e.producer()
	if err != nil {
		return err
	}
	var items []producer.Item
	var which []*job.Emission
	for i := range *m.Emitted {
		x := &(*m.Emitted)[i]
		if x.Sent {
			continue
		}
		if x.Options.Topic == "" && e.cfg.Routes[x.Kind] == "" {
			x.Options.Topic = home
		}
		item := producer.Item{Args: producer.Raw{Name: x.Kind, Payload: x.Payload, ContentType: x.ContentType}, Options: &x.Options}
		if _, _, err := p.Encode(item.Args, item.Options); err != nil {
			return fmt.Errorf("%w: %w", errEmission, err)
		}
		items, which = append(items, item), append(which, x)
	}
	ctx, cancel := context.WithTimeout(ctx, emitGrace)
	defer cancel()
	results, err := p.EnqueueMany(ctx, items)
	for i, r := range results {
		which[i].Sent = r.Offset >= 0
	}
	return err
}

// emit enqueues what the attempt of a write emitted and tells the machine how it went.
func (c *Consumer) emit(h *handle, w *task.Write) {
	c.spawn(func(ctx context.Context) {
		began := time.Now()
		err := c.emitter.send(ctx, w.Entry.Message(), h.key.topic)
		c.metrics.wrote(int(w.Dest), began, err)
		res := task.Acked
		switch {
		case err == nil:
		case errors.Is(err, errEmission):
			res, w.Problem = task.Invalid, err.Error()
		case errors.Is(err, producer.ErrTooLarge):
			res, w.Problem = task.TooLarge, err.Error()
		default:
			res = task.Refused
			w.Problem = fmt.Sprintf("jobs emitted by %v are not acked: %v. They are tried again until they are", w.Entry.Message(), err)
			c.watch.suspect(err)
			c.complain("emit", h.key.topic, err, zap.Int32("partition", h.key.partition))
		}
		h.answer(w, res)
	})
}
