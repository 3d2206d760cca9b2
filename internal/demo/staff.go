package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// hire starts a worker of a release on a seat: what the one before kept of receipts on that seat's disk is its own now, however
// that one ended.
func (s *story) hire(release, seat int) (*process, error) {
	s.hired++
	name := fmt.Sprintf("worker-%d", s.hired)
	a := assignment{Name: name, Release: release, Topic: s.stage.topic, Group: s.stage.group, Connection: s.stage.connection,
		Password: s.stage.connection.SASL.Password, Ledger: filepath.Join(s.dir, name+".ledger"), Log: filepath.Join(s.dir, name+".log"),
		Receipts: filepath.Join(s.dir, fmt.Sprint("receipts-", seat)), Twice: s.twice}
	p, err := spawn(s.o.Worker, a)
	if err != nil {
		return nil, err
	}
	p.seat = seat
	s.staff = append(s.staff, p)
	s.watch.follow(name, a.Ledger, p)
	s.tell(Event{Type: WorkerStarted, Worker: name, PID: p.pid, Release: release, Text: fmt.Sprintf("%s starts (pid %d, release %d)", name, p.pid, release)})
	return p, nil
}

// joined waits until workers are members of the group.
func (s *story) joined(ctx context.Context, ps ...*process) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for _, p := range ps {
		select {
		case <-p.ready:
			s.tell(Event{Type: WorkerReady, Worker: p.name, PID: p.pid, Release: p.release, Text: p.name + " has joined the group"})
		case <-p.done:
			return s.died(p)
		case <-timeout.C:
			return fmt.Errorf("%s did not join the group within %v", p.name, patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// dismiss has a worker drain and exit, and waits for it.
func (s *story) dismiss(ctx context.Context, p *process) error {
	s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Stop, Target: p.name})
	p.stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		return fmt.Errorf("%s did not stop within %v", p.name, patience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Exit, Target: p.name})
	if _, exit := p.end(); exit != 0 {
		return s.died(p)
	}
	s.tellEnd(p)
	return nil
}

// tellEnd tells once how a worker ended.
func (s *story) tellEnd(p *process) {
	s.telling.Lock()
	told := s.ended[p.name]
	s.ended[p.name] = true
	s.telling.Unlock()
	if told {
		return
	}
	signal, exit := p.end()
	text := fmt.Sprintf("%s (pid %d) has exited with status %d", p.name, p.pid, exit)
	switch {
	case exit < 0:
		text = fmt.Sprintf("%s (pid %d) was ended by %s", p.name, p.pid, signal)
	case signal != "":
		text = fmt.Sprintf("%s (pid %d) drained on %s and exited with status %d", p.name, p.pid, signal, exit)
	}
	s.tell(Event{Type: WorkerEnded, Worker: p.name, PID: p.pid, Release: p.release, Signal: signal, ExitStatus: &exit, Text: text})
}

// died tells how a worker ended that should not have, and is the error of that.
func (s *story) died(p *process) error {
	s.tellEnd(p)
	return p.died()
}

// living are the workers that have not ended.
func (s *story) living() (out []*process) {
	for _, p := range s.staff {
		if !p.gone() {
			out = append(out, p)
		}
	}
	return out
}
