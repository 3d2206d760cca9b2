package dlq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
)

// Summary counts what a listing came by.
type Summary struct {
	Records int `json:"records"`         // read
	Letters int `json:"letters"`         // different ones among them
	Matched int `json:"matched"`         // letters the filter chose, its limit aside
	Listed  int `json:"listed"`          // handed over
	Foreign int `json:"foreign"`         // records that are no letters
	Newer   int `json:"newer,omitempty"` // letters of a format this program does not know: upgrade it
}

// List hands every letter that f chooses to each, copies collapsed to the first of them that matches, by partition and
// offset. It sees what the topic held when it was called. An error of each ends it. The letter is each's to keep.
//
// The topic is read twice, so that memory grows by about 150 bytes a letter whatever the payloads weigh: once to know
// copies and limits, once, only as far as needed, for the letters themselves.
func (c *Client) List(ctx context.Context, f Filter, each func(*Letter) error) (Summary, error) {
	x, err := c.index(ctx, f.Match)
	if err != nil {
		return Summary{}, err
	}
	places := x.choose(&f)
	err = c.load(ctx, x, places, func(l *Letter) error {
		x.sum.Listed++
		return each(l)
	})
	return x.sum, err
}

// Export writes every letter that f chooses to w, a line of JSON each; see Letter.MarshalJSON. Copies are collapsed.
func (c *Client) Export(ctx context.Context, f Filter, w io.Writer) (Summary, error) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return c.List(ctx, f, func(l *Letter) error { return enc.Encode(l) })
}

// letterKey is what makes two records copies of one letter.
type letterKey struct {
	identity   job.Identity
	generation uint32
	digest     uint64
}

func (l *Letter) key() letterKey { return letterKey{l.Identity, l.Generation, l.Digest} }

// place is what the index keeps of a letter: the record that stands for it.
type place struct {
	key       letterKey
	filed     int64 // nanoseconds
	offset    int64
	partition int32
	copies    int32
	chosen    bool // offset and partition are those of the first copy that matches
}

// index is everything about the letters but their contents.
type index struct {
	ranges   []span
	letters  map[letterKey]*place
	newest   map[job.Identity]uint32 // highest generation that has a letter
	redriven map[letterKey]time.Time
	sum      Summary
}

// index reads all letters once. match is asked of each before it is known whether a later one supersedes it.
func (c *Client) index(ctx context.Context, match func(*Letter) bool) (*index, error) {
	x := &index{letters: make(map[letterKey]*place), newest: make(map[job.Identity]uint32)}
	var err error
	if x.ranges, err = c.ranges(ctx, c.letters); err != nil {
		return nil, err
	}
	if x.redriven, err = c.redriven(ctx); err != nil {
		return nil, err
	}
	for _, r := range x.ranges {
		err := c.scan(ctx, c.letters, r, func(rec *kgo.Record) error {
			x.add(rec, match)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	x.sum.Letters = len(x.letters)
	return x, nil
}

func (x *index) add(rec *kgo.Record, match func(*Letter) bool) {
	x.sum.Records++
	l, err := decodeRecord(rec)
	if err != nil {
		if version := (*VersionError)(nil); errors.As(err, &version) {
			x.sum.Newer++
		} else {
			x.sum.Foreign++
		}
		return
	}
	key := l.key()
	p := x.letters[key]
	if p == nil {
		p = &place{key: key}
		x.letters[key] = p
		x.newest[key.identity] = max(x.newest[key.identity], key.generation)
	}
	p.copies++
	l.Redriven = x.redriven[key]
	if match(&l) && !p.chosen { // asked of copies too: they may have been named
		p.chosen, p.partition, p.offset, p.filed = true, rec.Partition, rec.Offset, rec.Timestamp.UnixNano()
	}
}

func (x *index) superseded(key letterKey) bool { return x.newest[key.identity] > key.generation }

// choose applies what of f needs all letters to be known, and returns the chosen places in the order of the log.
func (x *index) choose(f *Filter) []*place {
	var chosen []*place
	for key, p := range x.letters {
		if p.chosen && !(f.Pending && x.superseded(key)) {
			chosen = append(chosen, p)
		}
	}
	x.sum.Matched = len(chosen)
	if f.Limit > 0 && len(chosen) > f.Limit {
		slices.SortFunc(chosen, func(a, b *place) int {
			return cmp.Or(cmp.Compare(a.filed, b.filed), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
		})
		if f.Newest {
			slices.Reverse(chosen)
		}
		chosen = chosen[:f.Limit]
	}
	slices.SortFunc(chosen, func(a, b *place) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	return chosen
}

// load reads the letters at places, which are in the order of the log.
func (c *Client) load(ctx context.Context, x *index, places []*place, each func(*Letter) error) error {
	for len(places) > 0 {
		n := slices.IndexFunc(places, func(p *place) bool { return p.partition != places[0].partition })
		if n < 0 {
			n = len(places)
		}
		part := places[:n]
		places = places[n:]
		r := span{part[0].partition, part[0].offset, part[n-1].offset + 1}
		err := c.scan(ctx, c.letters, r, func(rec *kgo.Record) error {
			if len(part) == 0 || rec.Offset != part[0].offset {
				return nil
			}
			p := part[0]
			part = part[1:]
			l, err := decodeRecord(rec)
			if err != nil {
				return err
			}
			l.Copies, l.Superseded, l.Redriven = int(p.copies), x.superseded(p.key), x.redriven[p.key]
			return each(&l)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
