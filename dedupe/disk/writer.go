package disk

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-dev/waybill/job"
)

// tableOptions: receipts are hashes, which no compression shortens. Large index blocks, since a segment is read at random places.
var tableOptions = sstable.WriterOptions{TableFormat: sstable.TableFormatPebblev4, BlockSize: 4 << 10, IndexBlockSize: 256 << 10, Compression: sstable.NoCompression}

// breath is after how many receipts a writer lets others run, some tenths of a millisecond: jobs under way must not wait until the
// runtime takes its processor away, ten milliseconds later.
const breath = 512

// writer writes the files of one ingestion: segments, one file each, and the manifest. The worker owns it and uses it again
// and again.
type writer struct {
	db    *DB
	paths []string
	segs  []*segment

	// of the file under way
	sst        *sstable.Writer
	seg        *segment
	unfinished []key
	filters    filterBuilder
	turn       bool        // Config.Turn is taken, from begin until the file is complete
	front      *generation // that takes what is written for the first time
}

// create begins a file.
func (w *writer) create(no uint32) error {
	path := w.db.fs.PathJoin(w.db.cfg.Dir, fmt.Sprintf("%s%d.sst", ingestFile, no))
	f, err := w.db.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w.paths = append(w.paths, path)
	w.sst = sstable.NewWriter(objstorageprovider.NewFileWritable(f), tableOptions)
	return nil
}

// begin starts a segment.
func (w *writer) begin(bucket int64, low, order uint64) error {
	w.seg = &segment{no: w.db.number(), bucket: bucket, low: low, order: order}
	w.unfinished = w.unfinished[:0]
	w.filters.reset()
	if err := w.create(w.seg.no); err != nil {
		return err
	}
	w.take()
	return nil
}

func (w *writer) take() { w.db.cfg.Turn.Take(); w.turn = true }

func (w *writer) give() {
	if w.turn {
		w.turn = false
		w.db.cfg.Turn.Give()
	}
}

// add takes the next receipt, in the order of task and identity.
func (w *writer) add(num uint32, id *job.Identity, value []byte, ended bool) error {
	k := keyOf(w.seg.no, kindReceipt, num, id)
	if err := w.sst.Set(k[:], value); err != nil {
		return err
	}
	if n := len(w.seg.tasks); n == 0 || w.seg.tasks[n-1] != num {
		w.seg.tasks = append(w.seg.tasks, num)
	}
	if w.seg.count++; w.seg.count%breath == 0 {
		w.give()
		w.take()
	}
	if !ended {
		k[4] = kindUnfinished
		w.unfinished = append(w.unfinished, k)
	}
	h := hash(w.db.seed, num, id)
	if w.front != nil {
		w.front.add(h)
	}
	return w.filters.add(place(num, id), h)
}

// end completes the segment.
func (w *writer) end() error {
	for i := range w.unfinished {
		if err := w.sst.Set(w.unfinished[i][:], nil); err != nil {
			return err
		}
	}
	if err := w.filters.cut(); err != nil {
		return fmt.Errorf("the filters of segment %d: %w", w.seg.no, err)
	}
	if w.front != nil {
		w.front.settle()
	}
	w.seg.filters = w.filters.out
	var packed []byte
	piece := 0
	for i := range w.seg.fuses {
		packed = w.seg.append(packed, i)
		for last := i == len(w.seg.fuses)-1; len(packed) >= filterPiece || last && len(packed) > 0; piece++ {
			n := min(filterPiece, len(packed))
			if err := w.sst.Set(filterKey(w.seg.no, piece), packed[:n]); err != nil {
				return err
			}
			packed = packed[n:]
		}
	}
	w.segs = append(w.segs, w.seg)
	return w.close()
}

// manifest adds the manifest that comes into force together with what was written, under a number above all others.
func (w *writer) manifest(b []byte) (no uint32, err error) {
	no = w.db.number()
	if err := w.create(no); err != nil {
		return 0, err
	}
	if err := w.sst.Set(prefix(no, kindManifest), b); err != nil {
		return 0, err
	}
	return no, w.close()
}

// close completes a file; its content is synced then.
func (w *writer) close() error {
	w.give()
	sst := w.sst
	w.sst = nil
	return sst.Close()
}

// abandon removes what was written and not taken in.
func (w *writer) abandon() {
	if w.sst != nil {
		_ = w.close()
	}
	for _, p := range w.paths {
		_ = w.db.fs.Remove(p)
	}
	w.reset()
}

func (w *writer) reset() { w.paths, w.segs, w.seg = nil, nil, nil }
