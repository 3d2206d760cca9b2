package dlq

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// redrivenLetter is how the audit entry of a redrive names a letter.
type redrivenLetter struct {
	Ref        string `json:"ref"`
	Kind       string `json:"kind"`
	ID         string `json:"id"`
	NewID      string `json:"new_id,omitempty"`
	Identity   string `json:"identity"`
	Generation uint32 `json:"generation"` // of the letter; its redrive has the next one
	Digest     string `json:"digest"`     // of the letter's payload; an edited one has another
	Edited     bool   `json:"edited,omitempty"`
}

// redriveDetails are the details of an audit entry audit.Redrive.
type redriveDetails struct {
	Topic   string           `json:"topic"`
	Tier    string           `json:"tier"`
	Letters []redrivenLetter `json:"letters"`
}

func (d redriveDetails) asMap() map[string]any {
	return map[string]any{"topic": d.Topic, "tier": d.Tier, "letters": d.Letters}
}

func (r *redrivenLetter) key() (letterKey, error) {
	id, err1 := identity(r.Identity)
	digest, err2 := strconv.ParseUint(r.Digest, 16, 64)
	return letterKey{id, r.Generation, digest}, errors.Join(err1, err2)
}

func nameRedriven(l *Letter, newID string, edited bool) redrivenLetter {
	return redrivenLetter{Ref: l.Ref(), Kind: l.Kind, ID: l.ID, NewID: newID, Identity: hex.EncodeToString(l.Identity[:]),
		Generation: l.Generation, Digest: fmt.Sprintf("%016x", l.Digest), Edited: edited}
}

// redriven reads from the audit topic which letters of the job topic were redriven, and when last. A group whose audit
// topic does not exist has redriven none. Entries of other programs or versions that do not read are passed over: this
// is a courtesy to the operator, what keeps a job from running twice are the receipts.
func (c *Client) redriven(ctx context.Context) (map[letterKey]time.Time, error) {
	topic := retrytopics.AuditTopic(c.group)
	ranges, err := c.ranges(ctx, topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make(map[letterKey]time.Time)
	for _, r := range ranges {
		err := c.scan(ctx, topic, r, func(rec *kgo.Record) error {
			c.noteRedriven(found, rec)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (c *Client) noteRedriven(found map[letterKey]time.Time, rec *kgo.Record) {
	if string(rec.Key) != audit.Redrive {
		return
	}
	var entry struct {
		Time    time.Time      `json:"time"`
		Details redriveDetails `json:"details"`
	}
	if json.Unmarshal(rec.Value, &entry) != nil || entry.Details.Topic != c.topic {
		return
	}
	for i := range entry.Details.Letters {
		if key, err := entry.Details.Letters[i].key(); err == nil && key.identity != (job.Identity{}) && entry.Time.After(found[key]) {
			found[key] = entry.Time
		}
	}
}
