package sim

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/waybill-dev/waybill/dedupe/disk"
	"github.com/waybill-dev/waybill/internal/inject"
)

// disks are the directories in which workers keep their receipts (consumer.Config.Dir). A worker finds what another left: all
// of it, an earlier state of it, what stood there when its process was killed, or nothing.
type disks struct {
	root string
	made int
	free []string // what workers that are gone have left; the newest last
	old  []string // copies of what others have used since
}

// onDisk reports whether the workers of a seed keep their receipts on disks.
func onDisk(seed uint64) bool { return seed%4 == 0 }

func newDisks() (*disks, error) {
	root, err := os.MkdirTemp("", "waybill-sim-")
	return &disks{root: root}, err
}

func (d *disks) make() string {
	d.made++
	return filepath.Join(d.root, strconv.Itoa(d.made))
}

// next is the directory of a worker to be.
func (d *disks) next(w *world) (string, error) {
	switch n := w.rand.IntN(6); {
	case n == 0 || len(d.free) == 0: // lost, or the first
		w.counts["disk empty"]++
		return d.make(), nil
	case n <= 2 && len(d.old) > 0:
		w.counts["disk stale"]++
		dir := d.make()
		return dir, copyDir(dir, d.old[w.rand.IntN(len(d.old))])
	}
	w.counts["disk found"]++
	dir := d.free[len(d.free)-1]
	d.free = d.free[:len(d.free)-1]
	old := d.make()
	d.old = append(d.old, old)
	return dir, copyDir(old, dir)
}

// left takes what a worker leaves that has ended in order.
func (d *disks) left(dir string) {
	if d != nil && dir != "" {
		d.free = append(d.free, dir)
	}
}

// died takes what stands on the disk of a worker at the moment of its death; its goroutines still end, in a directory that
// nobody looks at any more.
func (d *disks) died(k *worker) {
	if d == nil {
		return
	}
	dir := d.make()
	if copyDir(dir, k.dir) == nil {
		d.free = append(d.free, dir)
	}
}

// small has a worker write its receipts to disk, and merge them, every few.
func (d *disks) small(ctx context.Context, r *rand.Rand) context.Context {
	if d == nil {
		return ctx
	}
	flush := 2 + r.IntN(40)
	return inject.WithDisk(ctx, func(cfg *disk.Config) {
		cfg.FlushAt, cfg.MergeAt, cfg.Crowd = flush, 4*flush, 1+flush/4
		cfg.Free = func(string) (uint64, error) { return 1 << 40, nil }
	})
}

func (d *disks) close() {
	if d != nil {
		_ = os.RemoveAll(d.root) // of the system's place for such: nobody reads it again
	}
}

// copyDir copies what stands in a directory, which may change meanwhile: a file that is gone by then is left out.
func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copyFile(filepath.Join(to, rel), path)
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
