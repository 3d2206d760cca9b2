package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/retrytopics"
)

// LayoutKey is the record key of the layout in the control topic.
const LayoutKey = "layout"

// layoutVersion is the newest version of the layout's JSON that this code reads.
const layoutVersion = 1

// Layout is every job topic of a group with the tiers it ever had. A tier is never taken out: its topic may still hold
// jobs, and it is read until it is drained.
type Layout struct {
	Version int              `json:"version"`
	Topics  map[string]Topic `json:"topics"`
	split   bool             // see Split
}

// Split reports whether the newest record of the topic that a layout was read from says less than older ones do: two
// writers met, and the later died before it noticed. Compaction will take the older ones, so it is to be written again.
func (l Layout) Split() bool { return l.split }

// Topic is one job topic in the layout.
type Topic struct {
	Partitions int32    `json:"partitions"`
	Tiers      []string `json:"tiers"` // as in topic names, sorted by delay
}

// Tiers are the delays of every tier a job topic ever had, sorted; nil for an unknown topic.
func (l Layout) Tiers(topic string) []time.Duration {
	var out []time.Duration
	for _, text := range l.Topics[topic].Tiers {
		if d, err := retrytopics.ParseTier(text); err == nil {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Add puts a topic with its partition count and tiers into the layout and reports whether that changed anything.
func (l *Layout) Add(topic string, partitions int32, tiers []time.Duration) (changed bool) {
	if l.Topics == nil {
		l.Topics = map[string]Topic{}
	}
	l.Version = layoutVersion
	had, known := l.Topics[topic]
	all := l.Tiers(topic)
	for _, d := range tiers {
		if !slices.Contains(all, d) {
			all = append(all, d)
			changed = true
		}
	}
	slices.Sort(all)
	now := Topic{Partitions: partitions}
	for _, d := range all {
		now.Tiers = append(now.Tiers, retrytopics.FormatTier(d))
	}
	if known && had.Partitions == partitions && !changed {
		return false
	}
	l.Topics[topic] = now
	return true
}

// Has reports whether the layout holds everything that other holds.
func (l Layout) Has(other Layout) bool {
	for name, t := range other.Topics {
		mine, ok := l.Topics[name]
		if !ok || mine.Partitions != t.Partitions {
			return false
		}
		for _, tier := range t.Tiers {
			if !slices.Contains(mine.Tiers, tier) {
				return false
			}
		}
	}
	return true
}

// encode is the layout as the value of a record.
func (l Layout) encode() ([]byte, error) { return json.Marshal(l) }

// DecodeLayout reads the value of a layout record.
func DecodeLayout(value []byte) (Layout, error) {
	var l Layout
	if err := json.Unmarshal(value, &l); err != nil {
		return Layout{}, fmt.Errorf("the layout record is not JSON: %w", err)
	}
	if l.Version < 1 {
		return Layout{}, errors.New("the layout record names no version")
	}
	if l.Version > layoutVersion {
		return Layout{}, fmt.Errorf("the layout has version %d, this program reads up to %d: upgrade it", l.Version, layoutVersion)
	}
	for name, t := range l.Topics {
		if t.Partitions < 1 {
			return Layout{}, fmt.Errorf("the layout of topic %q: it has %d partitions", name, t.Partitions)
		}
		for _, text := range t.Tiers {
			if _, err := retrytopics.ParseTier(text); err != nil {
				return Layout{}, fmt.Errorf("the layout of topic %q: %w", name, err)
			}
		}
	}
	return l, nil
}
