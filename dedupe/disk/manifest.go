package disk

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// manifestVersion is of everything in the directory: a program that finds another one moves the directory aside.
const manifestVersion = 1

// manifest is all that the disk knows beside receipts and filters. Each ingestion carries a whole one: a few hundred bytes a
// task, beside some megabytes of receipts.
type manifest struct {
	Version  int           `json:"version"`
	Cluster  string        `json:"cluster"`
	Bucket   int64         `json:"bucket"` // nanoseconds
	Seed     [2]uint64     `json:"seed"`
	Round    uint64        `json:"round"`
	NextTask uint32        `json:"next_task"`
	Segments []segmentLine `json:"segments"`
	Tasks    []taskLine    `json:"tasks"`
	Front    *frontState   `json:"front,omitempty"` // nil: an earlier program wrote it
}

// frontState is what of the front is on disk. Earlier programs leave it out of what they write, and excise the generations.
type frontState struct {
	Covered     uint64      `json:"covered"` // all receipts of rounds up to this one are in some generation
	Generations []frontLine `json:"generations"`
}

type segmentLine struct {
	No     uint32   `json:"no"`
	Bucket int64    `json:"bucket"`
	Order  uint64   `json:"order"`
	Low    uint64   `json:"low"`
	Count  int      `json:"count"`
	Tasks  []uint32 `json:"tasks"`
}

type taskLine struct {
	Num           uint32         `json:"num"`
	Job           dedupe.TopicID `json:"job"`
	Log           dedupe.TopicID `json:"log"`
	Partition     int32          `json:"partition"`
	Next          int64          `json:"next"`
	Epoch         int64          `json:"epoch"`
	Owner         []byte         `json:"owner"` // as the log has it
	OwnerOf       dedupe.Place   `json:"owner_of"`
	FrontierEpoch int64          `json:"frontier_epoch"`
	Of            dedupe.Place   `json:"of"`
	Release       dedupe.Release `json:"release,omitempty"`
	Frontiers     []frontierLine `json:"frontiers,omitempty"`
	Live          []liveLine     `json:"live,omitempty"`
	Expired       []mark         `json:"expired,omitempty"`
	Forgotten     []forgetLine   `json:"forgotten,omitempty"`
	Last          stamp          `json:"last"`
}

type frontierLine struct {
	Topic  dedupe.TopicID `json:"topic"`
	Offset int64          `json:"offset"`
}

// liveLine is how many jobs have their newest receipt in a bucket.
type liveLine struct {
	Bucket int64 `json:"bucket"`
	Jobs   int   `json:"jobs"`
}

type forgetLine struct {
	Job    job.Identity `json:"job"`
	Round  uint64       `json:"round"`
	Bucket int64        `json:"bucket"`
}

// manifest is the directory's with these segments. The tasks stand where the frozen round leaves them, if that is being written, or
// else where the last one left them. The caller holds db.mu.
func (db *DB) manifest(segs []*segment, withFrozen bool) ([]byte, error) {
	m := manifest{Version: manifestVersion, Cluster: db.cfg.Cluster, Bucket: int64(db.cfg.Bucket), Seed: db.seed, Round: db.round.Load(), NextTask: db.nextTask}
	for _, s := range segs {
		m.Segments = append(m.Segments, segmentLine{No: s.no, Bucket: s.bucket, Order: s.order, Low: s.low, Count: s.count, Tasks: s.tasks})
	}
	for _, t := range db.tasks {
		m.Tasks = append(m.Tasks, t.line(withFrozen))
	}
	m.Front = &frontState{}
	m.Front.Generations, m.Front.Covered = db.front.lines(m.Round)
	slices.SortFunc(m.Tasks, func(a, b taskLine) int { return cmp.Compare(a.Num, b.Num) })
	return json.Marshal(&m)
}

// line is a task as the next manifest has it.
func (t *task) line(withFrozen bool) taskLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.durable
	if withFrozen && t.hasFrozen {
		s = &t.frozen
	}
	l := taskLine{Num: t.num, Job: t.key.Job, Log: t.key.Log, Partition: t.key.Partition, Next: s.pos.Next, Epoch: s.pos.Epoch, Owner: dedupe.AppendOwner(nil, &s.pos.Owner),
		OwnerOf: s.pos.Owner.Of, Of: s.pos.Of, FrontierEpoch: s.pos.FrontierEpoch, Release: s.pos.Release, Expired: s.expired, Last: s.last}
	for id, at := range s.pos.Frontiers {
		l.Frontiers = append(l.Frontiers, frontierLine{id, at})
	}
	for b, n := range s.live {
		l.Live = append(l.Live, liveLine{b, n})
	}
	for id, f := range s.forgotten {
		l.Forgotten = append(l.Forgotten, forgetLine{id, f.Round, f.Bucket})
	}
	return l
}

// state is the inverse of line.
func (l *taskLine) state() (state, error) {
	e, err := dedupe.Decode(l.Owner)
	if err != nil || e.Owner == nil {
		return state{}, fmt.Errorf("the owner of task %d does not decode: %w", l.Num, errors.Join(err, errValue))
	}
	e.Owner.Of = l.OwnerOf
	s := state{pos: dedupe.Position{Next: l.Next, Epoch: l.Epoch, Owner: *e.Owner, FrontierEpoch: l.FrontierEpoch, Of: l.Of, Release: l.Release, Frontiers: map[dedupe.TopicID]int64{}},
		live: map[int64]int{}, last: l.Last, expired: l.Expired, forgotten: map[job.Identity]oblivion{}}
	for _, f := range l.Frontiers {
		s.pos.Frontiers[f.Topic] = f.Offset
	}
	for _, b := range l.Live {
		s.live[b.Bucket] = b.Jobs
	}
	for _, f := range l.Forgotten {
		s.forgotten[f.Job] = oblivion{f.Round, f.Bucket}
	}
	return s, nil
}

func parseManifest(b []byte) (*manifest, error) {
	var v struct{ Version int }
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("the manifest does not decode: %w", err)
	}
	if v.Version != manifestVersion {
		return nil, fmt.Errorf("the directory has format version %d, and this program reads %d", v.Version, manifestVersion)
	}
	m := &manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("the manifest does not decode: %w", err)
	}
	return m, nil
}
