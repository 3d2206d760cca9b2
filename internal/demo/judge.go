package demo

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
)

// foreignClock is by how much the clocks of this machine and of somebody else's brokers may differ.
const foreignClock = 500 * time.Millisecond

// judge asks the checker what the run comes to, from all ledgers and topics. The workers are gone and the watch has ended.
func (s *story) judge(ctx context.Context) (*checker.Result, error) {
	if err := s.watch.reader.Read(ctx); err != nil {
		return nil, err
	}
	committed, err := s.watch.reader.Committed(ctx, s.stage.group)
	if err != nil {
		return nil, err
	}
	in := checker.Input{Committed: committed, Jobs: []checker.JobTopic{checker.JobTopic(s.stage.job())}, Quiesced: true,
		Kinds:  map[string]checker.Kind{},
		Timing: checker.Timing{RerunWindow: 3 * time.Second, Lease: session + rebalance, Drain: drain, Session: session}}
	if s.stage.broker == nil {
		in.Timing.Clock = foreignClock
	}
	for _, k := range kinds {
		in.Kinds[k] = checker.Kind{MaxAttempts: maxAttempts}
	}
	s.watch.reader.Fill(&in)
	for _, path := range s.watch.paths {
		events, err := ledger.ReadFile(path)
		if err != nil {
			return nil, errors.Join(errors.New("a ledger does not read"), err)
		}
		in.Ledger = append(in.Ledger, events...)
	}
	return checker.Check(in), nil
}
