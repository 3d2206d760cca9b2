package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// replay sets the group back to the beginning of the job topic, as an operator does; nobody may be in the group.
func (r *rig) replay() {
	r.t.Helper()
	back := kadm.Offsets{}
	for p := range int32(partitions) {
		back.AddOffset(r.topic, p, 0, -1)
	}
	if err := r.admin.CommitAllOffsets(r.t.Context(), r.group, back); err != nil {
		r.t.Fatal(err)
	}
}

// ranOnce waits until all is settled and holds that each of n jobs ran once.
func (r *rig) ranOnce(n int) {
	r.t.Helper()
	r.idle()
	if all := r.calls(""); len(all) != n {
		r.t.Errorf("%d attempts, want %d", len(all), n)
	}
	for k := range n {
		if c := r.calls(fmt.Sprint("job-", k)); len(c) != 1 {
			r.t.Errorf("job-%d ran %d times", k, len(c))
		}
	}
}

// Receipts on disk on a real Kafka: with a directory that is lost, with what a kill leaves of one, and with a log of which only
// the tail is left, the whole topic is read again from offset zero and nothing runs a second time.
func TestRealDisk(t *testing.T) {
	r := newRig(t, realkafka.Shared(t))
	dir, lost, image := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "image")
	const half = 40
	on := func(dir string) *instance {
		i := r.start("a", func(c *consumer.Config) { c.Dir = dir })
		r.settled(i)
		return i
	}
	put := func(from int) {
		for n := range half {
			id := fmt.Sprint("job-", from+n)
			r.enqueue(id, script{}, job.Options{Key: []byte(id)})
		}
	}
	i := on(dir)
	put(0)
	r.ranOnce(half)
	r.stop(i)

	r.replay()
	i = on(lost) // read from the log
	r.ranOnce(half)
	r.stop(i)

	i = on(dir)
	put(half)
	r.ranOnce(2 * half)
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil { // what a kill leaves
		t.Fatal(err)
	}
	r.stop(i)
	r.replay()
	i = on(image)
	r.ranOnce(2 * half)
	r.stop(i)

	// What the disk has is gone from the log, but for the last entry: whoever reads more than the tail has nothing left to know.
	ends, err := r.admin.ListEndOffsets(t.Context(), retrytopics.ReceiptTopic(r.topic, r.group))
	if err != nil {
		t.Fatal(err)
	}
	cut := kadm.Offsets{}
	ends.Each(func(o kadm.ListedOffset) { cut.AddOffset(o.Topic, o.Partition, max(0, o.Offset-1), -1) })
	if _, err := r.admin.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	r.replay()
	i = on(image)
	r.ranOnce(2 * half)
	r.stop(i)
}
