package consumer

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/dedupe/disk"
)

// Trouble is something that failed and is being tried again.
type Trouble struct {
	What  string    `json:"what"`         // what failed: fetch, write, receipts, restore, commit, ...
	On    string    `json:"on,omitempty"` // the topic, the group or the task it is about
	Error string    `json:"error"`        // the last one
	Do    string    `json:"do,omitempty"` // what ends it, where that is known
	Times int       `json:"times"`        // since it began
	Since time.Time `json:"since"`        // when it began
	Last  time.Time `json:"last"`         // when it happened last
	said  time.Time // when it was logged last
}

const (
	logEvery      = time.Second // a refused partition may fail thousands of times a second: one line a second and subject
	troubleLasts  = time.Minute // longer than any pause between tries
	groupTrouble  = "group"     // what a Trouble of the membership is called
	fetchTrouble  = "fetch"
	commitTrouble = "commit"
	proofTrouble  = "membership proof"
)

// complaints are the troubles of an instance, by what and on. Its methods are safe for concurrent use.
type complaints struct {
	mu  sync.Mutex
	all map[[2]string]*Trouble
}

// note counts a failure and returns what to log of it, nil when that was just logged.
func (c *complaints) note(what, on string, err error, do string) *Trouble {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[[2]string]*Trouble{}
	}
	key := [2]string{what, on}
	t := c.all[key]
	if t == nil || now.Sub(t.Last) > troubleLasts {
		t = &Trouble{What: what, On: on, Since: now}
		c.all[key] = t
	}
	t.Last, t.Error, t.Do = now, err.Error(), do
	t.Times++
	if now.Sub(t.said) < logEvery {
		return nil
	}
	t.said = now
	said := *t
	return &said
}

// list are the troubles that are news, the oldest first; others are forgotten.
func (c *complaints) list() []Trouble {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []Trouble{}
	for key, t := range c.all {
		if now.Sub(t.Last) > troubleLasts {
			delete(c.all, key)
			continue
		}
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Trouble) int {
		return 4*a.Since.Compare(b.Since) + 2*strings.Compare(a.What, b.What) + strings.Compare(a.On, b.On)
	})
	return out
}

// of is the newest trouble of a kind, "" when there is none.
func (c *complaints) of(what string) string {
	said := ""
	for _, t := range c.list() {
		if t.What == what {
			if said = t.Error; t.Do != "" {
				said += "; " + t.Do
			}
		}
	}
	return said
}

// complain notes a failure that is being tried again, and logs it, a line a second for each subject.
func (c *Consumer) complain(what, on string, err error, fields ...zap.Field) {
	do := c.remedy(what, on, err)
	t := c.complaints.note(what, on, err, do)
	if t == nil {
		return
	}
	if what == groupTrouble || on == c.cfg.Group {
		fields = append(fields, zap.String("group", c.cfg.Group))
	} else if what == diskTrouble {
		fields = append(fields, zap.String("dir", on))
	} else {
		fields = append(fields, zap.String("topic", on))
	}
	fields = append(fields, zap.Error(err), zap.Int("times", t.Times))
	if do != "" {
		fields = append(fields, zap.String("do", do))
	}
	c.log.Warn(what+" failed; trying again", fields...)
}

// needs are the rights without which something fails, by what failed; other failures write.
var needs = map[string]string{fetchTrouble: "READ", "restore": "READ", commitTrouble: "READ", "trim": "DELETE", "describe": "DESCRIBE", "list offsets": "DESCRIBE", "leader epoch": "DESCRIBE",
	proofTrouble: "DESCRIBE"}

// remedy is what ends a failure, "" when that is not known or needs nobody.
func (c *Consumer) remedy(what, on string, err error) string {
	switch {
	case errors.Is(err, disk.ErrFull):
		return "make room on the disk of " + on
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return "grant this user READ on group " + c.cfg.Group
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		right, ok := needs[what]
		if !ok {
			right = "WRITE"
		}
		return "grant this user " + right + " on topic " + on
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "grant this user WRITE on the group's topics (`waybill setup rights` lists them)"
	case errors.Is(err, kerr.KafkaStorageError):
		return "look at the disk of the broker that leads " + on + ": it is full or broken"
	case errors.Is(err, kgo.ErrRecordTimeout): // the client keeps what the broker said to itself
		return "look at the broker that leads " + on + ": it is not reached, or it refuses for now because its disk is full or too few replicas are in sync"
	case errors.Is(err, kerr.MessageTooLarge):
		return "raise max.message.bytes of the topic, which `waybill setup apply` does"
	}
	if hint := groupHint(err); hint != "" {
		return hint
	}
	if advice := connect.Advice(err); advice != "" || what != groupTrouble {
		return advice
	}
	if _, answered := errors.AsType[*kerr.Error](err); answered {
		return ""
	}
	return "look at the brokers and at the network between them and this instance"
}
