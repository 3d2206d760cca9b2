package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// saved is what of a generation is on disk, under a number of its own.
type saved struct {
	no uint32 // 0: nothing
	to uint64 // rounds up to this one
}

// worthSaving is how many receipts that are only in memory have a generation written when the DB is closed. Fewer are soon read again.
const worthSaving = 1 << 15

// frontLine is a generation in the manifest.
type frontLine struct {
	No    uint32 `json:"no"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Words int    `json:"words"`
	Room  int    `json:"room"`
}

// unsaved is the first round that it has receipts of, and its copy on disk has not; false: there is none.
func (g *generation) unsaved() (round uint64, ok bool) {
	switch {
	case g.saved.no == 0:
		return g.from, true
	case g.saved.to < g.to.Load():
		return g.saved.to + 1, true
	}
	return 0, false
}

// lines are the generations that are on disk, and the round up to which they have all receipts there are.
func (f *front) lines(round uint64) (lines []frontLine, covered uint64) {
	first := min(round+1, f.blind.from)
	for _, g := range f.all {
		if from, ok := g.unsaved(); ok {
			first = min(first, from)
		}
		if g.saved.no != 0 {
			lines = append(lines, frontLine{g.saved.no, g.from, g.saved.to, len(g.words), g.room})
		}
	}
	return lines, max(first, 1) - 1 // the first round is 1
}

// saveFront writes a generation that gets no more receipts, or, with all, any that has many which are not written. It returns whether
// there was one, and room for it. No round is half in it: the frozen one is written before anything else is done.
func (db *DB) saveFront(all bool) (bool, error) {
	f := &db.front
	for i, g := range f.all {
		full := i < len(f.all)-1 || g.room <= 0
		if _, ok := g.unsaved(); !ok || !full && !all || g.fresh < worthSaving {
			continue
		}
		if db.cfg.short(uint64(8 * len(g.words))) { // it is done without
			return false, nil
		}
		no, err := db.w.generation(g)
		if err != nil {
			return false, err
		}
		was, stale := g.saved, f.stale
		if was.no != 0 {
			f.stale = append(f.stale, was.no)
		}
		g.saved, g.fresh = saved{no, g.to.Load()}, 0
		if err := db.ingest(&db.w, false, nil, nil); err != nil {
			g.saved, f.stale = was, stale
			return false, err
		}
		return true, nil
	}
	return false, nil
}

// generation writes a generation into a file of its own, as one value.
func (w *writer) generation(g *generation) (no uint32, err error) {
	no = w.db.number()
	if err := w.create(no); err != nil {
		return 0, err
	}
	packed := make([]byte, 0, 8*len(g.words))
	for _, v := range g.words { // only the worker changes them
		packed = binary.LittleEndian.AppendUint64(packed, v)
	}
	if err := w.sst.Set(prefix(no, kindFront), packed); err != nil {
		return 0, err
	}
	return no, w.close()
}

// loadFront reads the generations that the manifest names.
func (db *DB) loadFront(m *manifest, numbers []uint32) error {
	f := &db.front
	covered := uint64(0)
	if m.Front != nil {
		covered = m.Front.Covered
		for _, l := range m.Front.Generations {
			if !slices.Contains(numbers, l.No) {
				return fmt.Errorf("the front filter under %d is missing", l.No)
			}
			g, err := db.loadGeneration(l)
			if err != nil {
				return err
			}
			f.all = append(f.all, g)
		}
	}
	if f.blind = (rounds{covered + 1, m.Round}); f.blind.empty() {
		f.blind = none
	}
	return nil
}

func (db *DB) loadGeneration(l frontLine) (*generation, error) {
	v, c, err := db.peb.Get(prefix(l.No, kindFront))
	if err != nil {
		return nil, fmt.Errorf("the front filter under %d cannot be read: %w", l.No, err)
	}
	g := &generation{words: make([]uint64, 0, len(v)/8), batch: make([]uint64, 0, frontBatch), room: l.Room, from: l.From, saved: saved{l.No, l.To}}
	g.to.Store(l.To)
	for ; len(v) >= 8; v = v[8:] {
		g.words = append(g.words, binary.LittleEndian.Uint64(v))
	}
	if len(g.words) != l.Words || len(g.words)%blockWords != 0 || len(g.words) == 0 {
		err = fmt.Errorf("the front filter under %d has %d of %d words", l.No, len(g.words), l.Words)
	}
	return g, errors.Join(err, c.Close())
}
