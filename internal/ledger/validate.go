package ledger

import (
	"errors"
	"fmt"
	"slices"
)

var (
	orders   = []Order{ByKey, ByKeyStrict, ByPartition, Unordered}
	results  = []Result{Done, Retry, Snooze, Dead, Discard, Panic, Cancelled}
	outcomes = []Outcome{OutcomeDone, OutcomeDead, OutcomeDiscarded, OutcomeExpired, OutcomeDuplicate, OutcomeStale, OutcomeConflict}
	targeted = []Fault{Kill, Stop, Exit, Pause, Resume, Cut, Heal, Lost, Revoke, Stuck}
	general  = []Fault{BrokerDown, BrokerUp, Rewind, OffsetsLost, Duplicate, Other}
)

// Validate says what the event lacks for its type, or nil.
func (e *Event) Validate() error {
	switch {
	case e.Time.IsZero():
		return errors.New("event has no time")
	case e.Process == "":
		return errors.New("event names no process")
	case e.Generation < 0 || e.Hop < 0 || e.Attempt < 0 || e.Delay < 0:
		return errors.New("generation, hop, attempt or delay is negative")
	}
	if err := e.validateType(); err != nil {
		return fmt.Errorf("%s: %w", e.Type, err)
	}
	return nil
}

func (e *Event) validateType() error {
	switch e.Type {
	case Produced:
		return errors.Join(e.needRecord(), need("kind", e.Kind), need("digest", e.Digest))
	case Called:
		return errors.Join(e.needAttempt(), oneOf("order", e.Order, orders))
	case Returned:
		return errors.Join(e.needAttempt(), oneOf("result", e.Result, results))
	case Effect:
		return need("idempotency key", e.IdempotencyKey)
	case Ended:
		return errors.Join(e.needRecord(), oneOf("outcome", e.Outcome, outcomes))
	case Filed:
		return errors.Join(e.needRecord(), need("kind", e.Kind), need("id", e.ID), need("origin", e.Origin.Topic), need("code", e.Code))
	case Faulted:
		return e.needTarget()
	case Redriven:
		if e.Generation < 1 {
			return errors.New("generation is below 1")
		}
		return errors.Join(need("kind", e.Kind), need("id", e.ID), need("record or origin", e.Record.Topic+e.Origin.Topic))
	case Note:
		return nil
	}
	return errors.New("no such type")
}

func (e *Event) needRecord() error {
	if e.Record.Topic == "" || e.Record.Partition < 0 || e.Record.Offset < 0 {
		return fmt.Errorf("%s is no record", e.Record)
	}
	return nil
}

func (e *Event) needAttempt() error {
	err := errors.Join(e.needRecord(), need("kind", e.Kind), need("id", e.ID))
	if e.Attempt < 1 {
		return errors.Join(err, errors.New("attempt is below 1"))
	}
	return err
}

func (e *Event) needTarget() error {
	if slices.Contains(targeted, e.Fault) {
		return need("target", e.Target)
	}
	if e.Fault == Rewind || e.Fault == Forget {
		return e.needRecord()
	}
	return oneOf("fault", e.Fault, general)
}

func need(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s is missing", what)
	}
	return nil
}

func oneOf[T ~string](what string, v T, all []T) error {
	if !slices.Contains(all, v) {
		return fmt.Errorf("%q is no %s", v, what)
	}
	return nil
}
