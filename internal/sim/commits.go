package sim

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/retrytopics"
)

// commits looks at what the group has committed each time somebody has tried to commit, and how far the receipt log was then.
type commits struct {
	cluster *kfake.Cluster
	tried   chan struct{} // holds one: looks may be shared
	stop    chan struct{}
	ended   chan struct{}

	mu   sync.Mutex
	all  []checker.Commit
	last map[place]checker.Commit
}

type place struct {
	topic     string
	partition int32
}

func watchCommits(cluster *kfake.Cluster) *commits {
	c := &commits{cluster: cluster, tried: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}), last: map[place]checker.Commit{}}
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case c.tried <- struct{}{}:
		default:
		}
		return nil, nil, false
	})
	go func() {
		defer close(c.ended)
		for {
			select {
			case <-c.tried:
				c.look()
			case <-c.stop:
				return
			}
		}
	}()
	return c
}

// close ends the looking, before the cluster is closed.
func (c *commits) close() {
	close(c.stop)
	<-c.ended
}

func (c *commits) seen() []checker.Commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// look notes what has changed. The ends of the log come second: a commit must not be held against an older log.
func (c *commits) look() {
	g := c.cluster.GroupInfo(groupName)
	if g == nil {
		return
	}
	ends := map[int32]int64{}
	for _, p := range c.cluster.PartitionInfos(retrytopics.ReceiptTopic(topicName, groupName)) {
		ends[p.Partition] = p.HighWatermark
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range g.Commits {
		for p, at := range partitions {
			now := checker.Commit{Topic: topic, Partition: p, Offset: at.Offset, Ours: at.Metadata == "wb1", LogEnd: ends[p]}
			k := place{topic, p}
			if last, ok := c.last[k]; ok && last.Offset == now.Offset && last.Ours == now.Ours {
				continue
			}
			c.last[k] = now
			c.all = append(c.all, now)
		}
	}
}
