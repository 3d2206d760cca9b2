package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
)

// A broker comes back without the end of a partition's log, as after an unclean election, and takes new jobs where others
// stood. The partition stops, for the instance that reads it and for the next one; where an operator says, all new jobs run.
func TestRealLogLosesItsEnd(t *testing.T) {
	c := realkafka.ForTest(t, realkafka.Options{})
	r := newRig(t, c)
	const jobs, left, late = 20, 15, 12 // late: the log is longer in the end than it was
	i := r.start("a")
	r.settled(i)
	put := func(name string, n int) (partition int32) {
		for k := range n {
			partition = r.enqueue(fmt.Sprint(name, k), script{}, job.Options{Key: []byte("key")}).Partition
		}
		return partition
	}
	p := put("job-", jobs)
	r.idle()
	if err := c.Kill(1); err != nil {
		t.Fatal(err)
	}
	cutLog(t, filepath.Join(c.Dir(), "broker-1"), fmt.Sprintf("%s-%d", r.topic, p), left)
	if err := c.StartBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	put("late-", late)
	r.cutOff(i, p, "") // at once, or as it takes the task over again where it lost its session meanwhile
	r.stop(i)
	i = r.start("b")
	r.cutOff(i, p, fmt.Sprintf("lost its end from %d on", left))
	r.stop(i)
	to := kadm.Offsets{}
	to.AddOffset(r.topic, p, left, -1)
	until(t, patience, func() string {
		if err := r.admin.CommitAllOffsets(t.Context(), r.group, to); err != nil {
			return err.Error()
		}
		return ""
	})
	i = r.start("c")
	r.idle()
	for k := range late {
		if n := len(r.calls(fmt.Sprint("late-", k))); n != 1 {
			t.Errorf("late-%d ran %d times", k, n)
		}
	}
	if n := len(r.calls("")); n != jobs+late {
		t.Errorf("%d attempts, want %d", n, jobs+late)
	}
	r.stop(i)
}

// cutOff waits until an instance has stopped at a partition of the job topic and says so, and holds that nothing that came later ran.
func (r *rig) cutOff(i *instance, p int32, said string) {
	r.t.Helper()
	until(r.t, patience, func() string {
		for _, task := range i.c.Status().Tasks {
			if task.Partition != p {
				continue
			}
			for _, pause := range task.Sources[0].Pauses {
				if pause.Reason.String() == "truncated" && strings.Contains(pause.Text, said) {
					return ""
				}
			}
			return fmt.Sprintf("%+v", task.Sources[0])
		}
		return "the task is not here"
	})
	for _, e := range r.calls("") {
		if strings.HasPrefix(e.ID, "late-") {
			r.t.Errorf("%s ran", e.ID)
		}
	}
}

// cutLog removes all batches from an offset on from the file of a partition whose broker is down.
func cutLog(t *testing.T, broker, partition string, from int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(broker, "*", partition, "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of %s: %v %v", partition, files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+12 <= len(b); { // a batch begins with its first offset and the length of the rest
		if int64(binary.BigEndian.Uint64(b[at:])) >= from {
			if err := os.Truncate(files[0], int64(at)); err != nil {
				t.Fatal(err)
			}
			return
		}
		at += 12 + int(binary.BigEndian.Uint32(b[at+8:]))
	}
	t.Fatalf("%s has no batch from offset %d on", files[0], from)
}
