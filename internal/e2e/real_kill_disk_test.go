package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

func TestKilledOnDiskOnEmbeddedBroker(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	killedOnDisk(t, broker.Addrs(), "killed")
}

func TestRealKilledOnDisk(t *testing.T) {
	killedOnDisk(t, realkafka.Shared(t).Addrs(), fmt.Sprintf("killed-%d", time.Now().UnixNano()))
}

// killedOnDisk has a worker with its receipts on disk killed (SIGKILL) in the middle of its load, and once more when all is done. The
// next one on that directory reads the whole topic from offset zero, and runs nothing.
func killedOnDisk(t *testing.T, brokers []string, topic string) {
	p := poisoned{Brokers: brokers, Topic: topic, Ran: filepath.Join(t.TempDir(), "ran"), Dir: filepath.Join(t.TempDir(), "receipts")}
	const jobs = 600
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	admin := kadm.NewClient(cl)
	settle := func(w *deathbed) {
		t.Helper()
		until(t, 2*patience, func() string {
			if w.dead() {
				t.Fatalf("the worker ended with %v: %s", w.cmd.ProcessState, w.said.String())
			}
			said, err := left(t.Context(), admin, topic, topic)
			if err != nil {
				return err.Error()
			}
			return said
		})
	}
	w := startPoisoned(t, p)
	enqueueKillers(t, p, jobs, -1)
	until(t, patience, func() string {
		if n := len(p.ran(t)); n < jobs/3 {
			return fmt.Sprintf("%d jobs were begun", n)
		}
		return ""
	})
	w.kill(t)
	atKill := len(p.ran(t))
	w = startPoisoned(t, p)
	settle(w)
	w.kill(t)
	before := p.ran(t)
	again := 0
	for n := range jobs {
		times := before[fmt.Sprint("job-", n)]
		if again += times - 1; times == 0 {
			t.Errorf("job-%d never ran", n)
		}
	}
	back := kadm.Offsets{}
	for i := range int32(4) {
		back.AddOffset(topic, i, 0, -1)
	}
	until(t, patience, func() string { // the group forgets its static member when the session has ended
		if err := admin.CommitAllOffsets(t.Context(), topic, back); err != nil {
			return err.Error()
		}
		return ""
	})
	w = startPoisoned(t, p)
	settle(w)
	for id, times := range p.ran(t) {
		if times != before[id] {
			t.Errorf("%s ran %d times, and %d before the topic was read again", id, times, before[id])
		}
	}
	t.Logf("%d of %d jobs were begun when the worker was killed, %d ran again", atKill, jobs, again)
}

// kill ends the worker without warning (SIGKILL).
func (w *deathbed) kill(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-w.done
}
