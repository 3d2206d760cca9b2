package consumer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type (
	shot  struct{ note }
	asked struct{ note }
)

func (shot) Kind() string  { return "shot" }
func (asked) Kind() string { return "asked" }

// An instance that is cut off in the middle of attempts: the next one files what may run at most once, and asks about what is
// to be reconciled, without the handler of either being called again where it must not.
func TestAttemptsOfAnOwnerThatIsGone(t *testing.T) {
	within(t, func(r *rig) {
		var mu sync.Mutex
		var told []string
		tell := func(s string) { mu.Lock(); defer mu.Unlock(); told = append(told, s) }
		mux := func(who string) *processor.Mux {
			m := processor.NewMux()
			handle := func(ctx context.Context, kind, id string) error {
				tell(who + " runs " + kind + "/" + id)
				if who == "a" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			processor.Handle(m, func(ctx context.Context, j *job.Job[shot]) error { return handle(ctx, "shot", j.ID) }, job.Policy{Guarantee: job.AtMostOnce, Timeout: time.Hour})
			processor.Register(m, processor.Kind[asked]{Policy: job.Policy{Guarantee: job.Reconciled, Timeout: time.Hour},
				Handle: func(ctx context.Context, j *job.Job[asked]) error { return handle(ctx, "asked", j.ID) },
				Reconcile: func(_ context.Context, j *job.Job[asked]) (bool, error) {
					tell(who + " is asked about " + j.ID)
					if j.ID == "late" && j.Attempt == 1 {
						return false, errors.New("the bank is away")
					}
					return j.ID == "happened", nil
				}})
			return m
		}
		short := func(who string) func(c *consumer.Config) {
			return func(c *consumer.Config) {
				c.Mux, c.SessionTimeout, c.Heartbeat, c.Tiers = mux(who), 10*time.Second, time.Second, []time.Duration{5 * time.Second}
			}
		}
		a := r.start("a", short("a"))
		put := func(kind, id string) {
			r.produce(&kgo.Record{Topic: topicName, Key: []byte("key-" + id), Value: []byte("{}"),
				Headers: []kgo.RecordHeader{{Key: job.HeaderKind, Value: []byte(kind)}, {Key: job.HeaderID, Value: []byte(id)}}})
		}
		put("shot", "one")
		for _, id := range []string{"happened", "not", "late"} {
			put("asked", id)
		}
		time.Sleep(2 * time.Second)
		a.wire.cut()
		b := r.start("b", short("b"))
		put("shot", "two")
		time.Sleep(2 * time.Minute)
		b.clean()
		if letters := r.values(topicName + "." + groupName + ".dlq"); len(letters) != 1 || !strings.Contains(header(letters[0], "waybill-disposition"), "outcome_unknown") {
			t.Errorf("%d letters: %+v", len(letters), letters)
		}
		count := map[string]int{}
		for _, s := range told {
			count[s]++
		}
		for s, n := range map[string]int{"a runs shot/one": 1, "b runs shot/one": 0, "b runs shot/two": 1, "b is asked about happened": 1, "b runs asked/happened": 0,
			"b is asked about not": 1, "b runs asked/not": 1, "b is asked about late": 2, "b runs asked/late": 1} {
			if count[s] != n {
				t.Errorf("%q %d times, want %d", s, count[s], n)
			}
		}
		a.cancel()
		a.wire.heal()
		<-a.done
	})
}
