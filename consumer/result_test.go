package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// results are the results of the jobs that the log of a partition calls done, by origin offset.
func (r *rig) results(partition int32) map[int64]string {
	r.t.Helper()
	out := map[int64]string{}
	reader := dedupe.NewLogReader([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext)})
	err := reader.Read(r.t.Context(), topicName+"."+groupName+".receipts", partition, 0, -1, func(e *dedupe.Entry) error {
		if e.Segment != nil {
			for _, x := range e.Segment.Receipts {
				if x.State == dedupe.Done {
					out[x.Origin] = string(x.Result)
				}
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// What a handler sets as the result of its job can be read in the log, for the attempt that succeeded; one that is too
// large is refused to the handler, which decides.
func TestResultsStandInTheLog(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			switch j.ID {
			case "large":
				if err := j.SetResult(bytes.Repeat([]byte{1}, job.MaxResult+1)); !errors.Is(err, job.ErrResultTooLarge) {
					r.t.Errorf("a result that is too large: %v", err)
				}
				return nil
			case "again":
				if j.Attempt == 1 {
					return errors.Join(j.SetResult([]byte("never")), errors.New("down"))
				}
			}
			return j.SetResult([]byte("did " + j.ID))
		}
		a := r.start("a")
		at := map[int64]string{}
		for _, id := range []string{"plain", "again", "large"} {
			at[r.put(1, id, "x")] = map[string]string{"plain": "did plain", "again": "did again"}[id]
		}
		time.Sleep(time.Minute)
		a.clean()
		got := r.results(1)
		if len(got) != len(at) {
			t.Errorf("%d jobs are done, want %d: %v", len(got), len(at), got)
		}
		for offset, want := range at {
			if got[offset] != want {
				t.Errorf("the result of offset %d is %q, want %q", offset, got[offset], want)
			}
		}
	})
}
