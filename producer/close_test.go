package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/job"
)

func TestCloseOfAnIdleProducer(t *testing.T) {
	p := offline(t) // never reached a broker
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ended); err != nil {
		t.Errorf("nothing was to be sent: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	e, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: "late"})
	if !errors.Is(err, ErrClosed) || errors.Is(err, ErrUnknown) || e.ID != "late" || e.Offset != -1 {
		t.Errorf("after Close: %+v, %v", e, err)
	}
	if _, err := p.EnqueueMany(t.Context(), []Item{{welcome{}, nil}}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// stuckAt are the places where four jobs can be stuck when the producer is closed.
var stuckAt = map[string]struct {
	prepare func(b *bubble, p *Producer)
	change  func(*Config)
	unknown int // of the four callers, how many must be told ErrUnknown; the others know it was not sent
}{
	"a broker that refuses": {func(b *bubble, p *Producer) { b.set(errRefuse) }, nil, 0},
	"a broker that hangs":   {func(b *bubble, p *Producer) { b.set(errHang) }, nil, 0},
	"a broker that refuses later": {func(b *bubble, p *Producer) {
		warm(b, p)
		b.cluster.Close()
		b.set(errRefuse)
	}, nil, 4},
	"a broker that hangs later": {func(b *bubble, p *Producer) {
		warm(b, p)
		b.cluster.Close()
		b.set(errHang)
	}, nil, 4},
	"a partition without leader": {func(b *bubble, p *Producer) {
		warm(b, p)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	}, nil, 4},
	"a broker that does not answer": {func(b *bubble, p *Producer) {
		warm(b, p)
		b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			b.cluster.SleepControl(func() { <-b.t.Context().Done() })
			return nil, nil, false
		})
	}, nil, 4},
	"no room": {func(b *bubble, p *Producer) {
		warm(b, p)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	}, func(c *Config) { c.MaxBuffered = 1 }, 1},
	"a long linger": {func(b *bubble, p *Producer) {
		warm(b, p)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	}, func(c *Config) { c.Opts = append(c.Opts, kgo.ProducerLinger(time.Minute)) }, 4},
}

// What is stuck at Close is listed, wherever it is stuck.
func TestCloseListsWhatWasNotSent(t *testing.T) {
	for name, c := range stuckAt {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				p := b.producer(func(config *Config) {
					if c.change != nil {
						c.change(config)
					}
				})
				c.prepare(b, p)
				want, errs := []string{"j0", "j1", "j2", "j3"}, make([]error, 4)
				var callers sync.WaitGroup
				for i, id := range want {
					callers.Go(func() { _, errs[i] = p.Enqueue(t.Context(), welcome{}, &job.Options{ID: id}) })
					time.Sleep(time.Millisecond) // virtual: they come in this order
				}
				synctest.Wait()
				started := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := p.Close(ctx)
				if took := time.Since(started); took > 6*time.Second {
					t.Errorf("Close took %v of virtual time with a context of 3s", took)
				}
				var unsent *UnsentError
				if !errors.As(err, &unsent) || !slices.Equal(unsent.IDs, want) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Close: %v", err)
				}
				callers.Wait() // nobody is left waiting
				unknown := 0
				for i, err := range errs {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("caller %d: %v", i, err)
					}
					if errors.Is(err, ErrUnknown) {
						unknown++
					}
				}
				if unknown != c.unknown {
					t.Errorf("%d callers were told ErrUnknown, want %d: %v", unknown, c.unknown, errs)
				}
				if again := p.Close(t.Context()); !errors.Is(again, err) {
					t.Errorf("the second Close: %v", again)
				}
			})
		})
	}
}

// warm enqueues one job, so that connections and metadata are there.
func warm(b *bubble, p *Producer) {
	b.t.Helper()
	if _, err := p.Enqueue(b.t.Context(), welcome{}, &job.Options{ID: "warm"}); err != nil {
		b.t.Fatal(err)
	}
}

func TestCloseWritesWhatIsOnItsWay(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"plain":         func(*Config) {},
		"a long linger": func(c *Config) { c.Opts = append(c.Opts, kgo.ProducerLinger(time.Minute)) },
		"little room":   func(c *Config) { c.MaxBuffered = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				p := b.producer(change)
				slow := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
				var callers sync.WaitGroup
				for i := range 10 {
					callers.Go(func() {
						if _, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: fmt.Sprint(i)}); err != nil {
							t.Errorf("job %d: %v", i, err)
						}
					})
				}
				synctest.Wait()
				callers.Go(func() {
					time.Sleep(5 * time.Second)
					slow.Remove()
				})
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
				callers.Wait()
				if got := ids(b.records("emails")); len(got) != 10 {
					t.Errorf("written: %v", got)
				}
			})
		})
	}
}

// A job whose caller has gone is refused while Close waits: Close is the only one left to say so.
func TestCloseReportsRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		warm(b, p)
		stuck := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Enqueue(hasty, welcome{}, &job.Options{ID: "x"}); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		stuck.Remove()
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		var unsent *UnsentError
		err := p.Close(t.Context())
		if !errors.As(err, &unsent) || fmt.Sprint(unsent.IDs) != "[x]" || !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("Close: %v", err)
		}
	})
}

// Whatever the moment of Close, what Enqueue and Close say is what the topic holds.
func TestCloseAtAnyMoment(t *testing.T) {
	for _, after := range []time.Duration{0, time.Microsecond, time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				p := b.producer(func(c *Config) { c.MaxBuffered = 3 })
				var mu sync.Mutex
				said := map[string]error{}
				var callers sync.WaitGroup
				for i := range 8 {
					callers.Go(func() {
						for n := range 20 {
							id := fmt.Sprintf("%d-%d", i, n)
							_, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: id})
							mu.Lock()
							said[id] = err
							mu.Unlock()
							time.Sleep(time.Millisecond)
						}
					})
				}
				time.Sleep(after)
				if err := p.Close(t.Context()); err != nil {
					t.Errorf("the broker is well, but: %v", err)
				}
				callers.Wait()
				written := ids(b.records("emails"))
				for id, err := range said {
					if there := slices.Contains(written, id); there != (err == nil) || errors.Is(err, ErrUnknown) {
						t.Errorf("job %s: written %v, Enqueue said %v", id, there, err)
					}
				}
			})
		})
	}
}

func TestErrorTexts(t *testing.T) {
	many := &UnsentError{Cause: context.DeadlineExceeded}
	for i := range 12 {
		many.IDs = append(many.IDs, fmt.Sprint("id", i))
	}
	if text := many.Error(); !strings.Contains(text, "12 jobs") || !strings.Contains(text, "id9 and 2 more") || strings.Contains(text, "id10") {
		t.Error(text)
	}
	if text := (&BatchError{}).Error(); text == "" {
		t.Error("the zero BatchError says nothing")
	}
	if text := (&JobError{Kind: "k", ID: "i", Topic: "t", Err: ErrClosed}).Error(); text != "producer: job of kind k with id i for topic t: the producer is closed" {
		t.Error(text)
	}
}
