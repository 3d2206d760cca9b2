package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// A machine that sleeps, or a virtual one that is moved, stops the story's broker with everything else for longer than a
// session. The workers are then expired, and run again what they could not note: as a fault it is in order, so it must be
// in the ledger as one.
const (
	stillEvery = 100 * time.Millisecond
	stillFrom  = session / 2 // a shorter one costs no membership
)

// watchStandstills notes, until ctx ends, when this process stood still.
func (s *story) watchStandstills(ctx context.Context) {
	every := time.NewTicker(stillEvery)
	defer every.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		now := time.Now()
		if d := stoodStill(last, now); d >= stillFrom {
			s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.BrokerDown, Time: last.Round(0)})
			s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.BrokerUp, Time: now.Round(0)})
			s.tell(Event{Type: StoodStill, Text: fmt.Sprintf("this machine, or this process, stood still for %v; workers whose session of %v ended meanwhile may run again what they could not note", d.Round(time.Millisecond), session)})
		}
		last = now
	}
}

// stoodStill is how long after last now is, by whichever reading of the clock went on: the monotonic one rests while a machine
// sleeps.
func stoodStill(last, now time.Time) time.Duration {
	return max(now.Sub(last), now.Round(0).Sub(last.Round(0)))
}
