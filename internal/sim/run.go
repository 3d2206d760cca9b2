package sim

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Run plays one seed inside a synctest bubble and returns the checker's verdict. err is about the run itself: it did not
// come to rest, or a step of the driver failed.
func Run(seed uint64, log *zap.Logger) (res *checker.Result, counts Counts, err error) {
	w, err := newWorld(seed, log)
	if err != nil {
		return nil, nil, err
	}
	defer w.close()
	if err := w.begin(); err != nil {
		return nil, nil, err
	}
	redrive := w.rand.IntN(2) == 0
	jobs, over := workload(w.rand, 40+w.rand.IntN(80), redrive), time.Duration(10+w.rand.IntN(50))*time.Second
	if w.tight > 0 {
		heat(w.rand, jobs)
		over /= 8
	}
	if err := w.produce(jobs, over); err != nil {
		return nil, nil, err
	}
	for range 3 + w.rand.IntN(6) {
		time.Sleep(time.Duration(w.rand.IntN(15000)) * time.Millisecond)
		if err := w.attack(); err != nil {
			return nil, w.counts, err
		}
		if err := w.check("during the run", false); err != nil {
			return nil, w.counts, err
		}
	}
	w.producing.Wait()
	for len(w.workers) < 2 {
		if err := w.start(); err != nil {
			return nil, w.counts, err
		}
	}
	if err := w.rest(redrive); err != nil {
		return nil, w.counts, err
	}
	if res, err = w.judge(true); err == nil {
		w.tally(res)
	}
	return res, w.counts, errors.Join(append(w.errs, err)...)
}

// begin starts the first workers and waits for the topics they make.
func (w *world) begin() error {
	for range 1 + w.rand.IntN(3) {
		if err := w.start(); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second)
	names := []string{topicName, retrytopics.DeadLetterTopic(topicName, groupName), retrytopics.ReceiptTopic(topicName, groupName)}
	for _, d := range tiers {
		names = append(names, retrytopics.TierTopic(topicName, groupName, d))
	}
	var err error
	w.reader, err = topics.NewReader(w.opts(), names...)
	return err
}

// rest lets everything finish, redrives what is dead, and lets that finish.
func (w *world) rest(redrive bool) error {
	if err := w.quiesce(20 * time.Minute); err != nil {
		return err
	}
	if !redrive {
		return nil
	}
	err := w.redriveAll()
	for range 5 { // brokers may have refusals left
		if err == nil {
			break
		}
		time.Sleep(time.Second)
		err = w.redriveAll()
	}
	if err != nil {
		return err
	}
	if w.rand.IntN(3) == 0 { // an operator who does not see that it was done
		if err := w.redriveAll(); err != nil {
			return err
		}
	}
	return w.quiesce(20 * time.Minute)
}
