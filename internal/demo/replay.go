package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// replay has an operator move the group back to offset zero of the whole job topic, and a worker read it all again: every
// record finds its receipt, and no handler is called. The worker has the disk of the one that was killed. All other workers are gone: a group with members takes no such order.
func (s *story) replay(ctx context.Context) error {
	s.chapter("an operator moves the group back to offset zero: all of %s is read again, by a worker with the receipts on disk (Config.Dir) that %s left when it was killed", s.stage.topic, s.staff[toDie].name)
	if err := s.stage.rewind(ctx); err != nil {
		return err
	}
	for p := range int32(partitions) {
		s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Rewind, Record: ledger.Pos{Topic: s.stage.topic, Partition: p}})
	}
	p, err := s.hire(fixed, toDie)
	if err != nil {
		return err
	}
	if err := s.joined(ctx, p); err != nil {
		return err
	}
	if err := s.idle(ctx); err != nil {
		return err
	}
	if err := s.dismiss(ctx, p); err != nil {
		return err
	}
	book := tail{path: s.watch.path(p.name)}
	events, err := book.next()
	if err != nil {
		return err
	}
	for i := range events {
		if events[i].Type == ledger.Called {
			s.again++
		}
	}
	s.tell(Event{Type: Replayed, Worker: p.name, Count: len(s.jobs), Runs: &s.again,
		Text: fmt.Sprintf("%d records were read again from offset zero: %d found the receipt of a finished job, %d were run again", len(s.jobs), len(s.jobs)-s.again, s.again)})
	return nil
}

// rewind commits offset zero for every partition of the job topic, as an operator with any Kafka tool could.
func (s *stage) rewind(ctx context.Context) error {
	var o kadm.Offsets
	for p := range int32(partitions) {
		o.Add(kadm.Offset{Topic: s.topic, Partition: p, LeaderEpoch: -1})
	}
	resp, err := s.admin.CommitOffsets(ctx, s.group, o)
	return errors.Join(err, resp.Error())
}
