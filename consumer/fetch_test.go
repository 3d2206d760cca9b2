package consumer

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// A partition that the client never gets to know, because its topic is gone, is asked about ever more seldom; a new start is
// tried at once.
func TestFetchControlAsksMoreSeldom(t *testing.T) {
	cl, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	f := newFetchControl(&Consumer{group: cl})
	h := &handle{key: taskKey{topic: "gone", partition: 3}}
	f.hold(commit.Partition{Topic: "gone", Partition: 3})
	start := &task.Effects{Start: []task.Offset{{Topic: "gone", At: 7}}}
	f.apply(h, start)
	begin := time.Unix(1000, 0)
	now, rounds := begin, 0
	for now.Before(begin.Add(time.Minute)) {
		next := f.round(now)
		if rounds++; !next.After(now) {
			t.Fatalf("round %d: again at %v", rounds, next.Sub(now))
		}
		if rounds == 1 && next.Sub(now) != firstWait {
			t.Errorf("first again after %v", next.Sub(now))
		}
		if early := f.round(now.Add(next.Sub(now) / 2)); !early.Equal(next) {
			t.Errorf("a round before its time: again at %v, want %v", early, next)
		}
		now = next
	}
	if rounds > 300 {
		t.Errorf("asked %d times in a minute", rounds)
	}
	f.apply(h, start)
	if next := f.round(now); next.Sub(now) != firstWait {
		t.Errorf("a new start: again after %v", next.Sub(now))
	}
	f.release([]commit.Partition{{Topic: "gone", Partition: 3}})
	if next := f.round(now); !next.IsZero() {
		t.Errorf("released: again at %v", next)
	}
}
