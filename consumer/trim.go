package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
)

// trimEvery is how often tiers are trimmed. Their retention is unlimited, so this is what keeps them small; a broker
// deletes whole segments only, so being late costs little.
const trimEvery = 30 * time.Second

// trimmer removes what lies below the committed offsets of the tiers this instance owns (DeleteRecords).
type trimmer struct {
	c  *Consumer
	mu sync.Mutex
	at map[commit.Partition]int64
}

func newTrimmer(c *Consumer) *trimmer { return &trimmer{c: c, at: map[commit.Partition]int64{}} }

// committed notes a committed offset of a tier.
func (t *trimmer) committed(p commit.Partition, offset int64) {
	if t.c.primaryOf(p.Topic) == p.Topic || offset == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at[p] = offset
}

func (t *trimmer) run(ctx context.Context) {
	for sleep(ctx, trimEvery) {
		t.trim(ctx)
	}
}

func (t *trimmer) trim(ctx context.Context) {
	t.mu.Lock()
	at := t.at
	t.at = map[commit.Partition]int64{}
	t.mu.Unlock()
	offsets := kadm.Offsets{}
	for p, off := range at {
		offsets.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: off, LeaderEpoch: -1})
	}
	if len(offsets) == 0 {
		return
	}
	resp, err := t.c.adm.DeleteRecords(ctx, offsets)
	if err != nil { // tried again with the next commit
		t.c.complain("trim", "the tiers", err)
	}
	resp.Each(func(r kadm.DeleteRecordsResponse) {
		if r.Err != nil {
			t.c.complain("trim", r.Topic, r.Err, zap.Int32("partition", r.Partition))
		}
	})
}
