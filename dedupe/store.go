package dedupe

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// Position is how far a store has folded its log, and what of the log is neither receipt nor mark.
type Position struct {
	Next          int64             // log offset to read next; 0 before the first entry
	Epoch         int64             // offset of the newest ownership record, -1 for none
	Owner         Owner             // that record; zero for none
	Frontiers     map[TopicID]int64 // in force
	FrontierEpoch int64             // epoch under which they were claimed, -1 for none
	Of            Place             // where they mean something, as that epoch's owner said
	Release       Release           // of the newest epoch
}

// Store holds the receipts of one task: the fold of its log up to Position. It is owned by one goroutine at a time;
// handing it to another needs the caller's synchronisation. No method blocks on the network.
type Store interface {
	// Get returns what is known of a job; ok is false when nothing is, or when it was forgotten. Started marks in force are
	// found like receipts. Receipt.At is when the last of its receipts and marks in force was appended, whichever won. The
	// result bytes are the store's: they stay valid and must not be changed.
	Get(id job.Identity) (r Receipt, ok bool)

	// Apply folds one log entry. Entries must come in offset order; one below Position().Next was folded before and is
	// ignored, gaps are fine. The store keeps nothing of e. After an error other than ErrInvalidEntry and ErrClosed the
	// store's content is undefined and it must be made anew from the log.
	//
	// What a segment forgets is forgotten first, whoever wrote it; a job may be known again by what comes after.
	//
	// An ownership record becomes the newest. Receipts of a segment are joined (Join) whoever wrote it; its marks are joined,
	// and its frontiers are in force, only if its epoch is the offset of the newest ownership record. Frontiers of one epoch
	// are joined by maximum per topic; those of a newer epoch replace all. A segment without frontiers leaves them as they are.
	// The release of the newest epoch is the greatest that a segment of it says.
	Apply(e *Entry) error

	// Position is how far the log is folded. The map is the caller's own.
	Position() Position

	// Expire forgets jobs whose last receipt (or mark in force) was appended before that time, by whole buckets: what was
	// appended at that time or later is kept, what is older by more than a bucket is forgotten, in between it may be either.
	// Position is untouched.
	Expire(before time.Time)

	// Unfinished calls f with each job that has not ended (Receipt.Unfinished), in no order. It costs what those are, not what
	// the store holds: they are few. f must not call the store.
	Unfinished(f func(Receipt))

	// Len is the number of jobs of which something is known.
	Len() int

	// Close releases what the store holds. The store must not be used afterwards; Apply returns ErrClosed.
	Close() error
}

// The errors of Apply that leave the store as it was.
var (
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("dedupe: the receipt store is closed")
	// ErrInvalidEntry says that an entry has neither, or both, of Owner and Segment.
	ErrInvalidEntry = errors.New("dedupe: an entry must have exactly one of Owner and Segment")
)

// empty is the position before any entry.
func empty() Position {
	return Position{Epoch: -1, FrontierEpoch: -1, Frontiers: map[TopicID]int64{}}
}

func (p *Position) clone() Position {
	c := *p
	c.Frontiers = maps.Clone(p.Frontiers)
	return c
}

// Fold folds everything of e but its receipts and marks, for stores in other packages. fold is false for an entry that was
// folded before; inForce reports whether the marks of e count.
func (p *Position) Fold(e *Entry) (fold, inForce bool, err error) {
	if fold, err = p.check(e); !fold {
		return false, false, err
	}
	return true, p.advance(e), nil
}

// Clone is a copy that shares nothing.
func (p *Position) Clone() Position { return p.clone() }

// NewPosition is the position before any entry.
func NewPosition() Position { return empty() }

// check says whether e is to be folded at p: fold is false for entries folded before.
func (p *Position) check(e *Entry) (fold bool, err error) {
	if (e.Owner == nil) == (e.Segment == nil) {
		return false, fmt.Errorf("%w (offset %d)", ErrInvalidEntry, e.Offset)
	}
	return e.Offset >= p.Next, nil
}

// advance folds everything of e but its receipts and marks, and reports whether its marks count. It is shared by all stores.
func (p *Position) advance(e *Entry) (inForce bool) {
	p.Next = e.Offset + 1
	if e.Owner != nil {
		p.Epoch, p.Owner, p.Release = e.Offset, *e.Owner, Held
		return false
	}
	s := e.Segment
	if p.Epoch < 0 || s.Epoch != p.Epoch {
		return false
	}
	p.Release = max(p.Release, s.Release)
	if len(s.Frontiers) == 0 {
		return true
	}
	if p.FrontierEpoch != s.Epoch {
		clear(p.Frontiers)
		p.FrontierEpoch, p.Of = s.Epoch, p.Owner.Of
	}
	for _, f := range s.Frontiers {
		if at, ok := p.Frontiers[f.Topic]; !ok || f.Offset > at {
			p.Frontiers[f.Topic] = f.Offset
		}
	}
	return true
}
