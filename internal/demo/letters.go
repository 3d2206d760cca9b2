package demo

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/retrytopics"
)

// dead opens the dead letters.
func (s *story) dead() (*dlq.Client, error) {
	return dlq.Open(s.stage.opts, s.stage.topic, s.stage.group)
}

// letters tells what waits in the dead letters, one line a cause.
func (s *story) letters(ctx context.Context) error {
	c, err := s.dead()
	if err != nil {
		return err
	}
	defer c.Close()
	var groups []LetterGroup
	at := map[string]int{}
	sum, err := c.List(ctx, dlq.Filter{Pending: true}, func(l *dlq.Letter) error {
		key := l.Kind + " " + l.Disposition.String() + " " + l.Fingerprint
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, LetterGroup{Kind: l.Kind, Disposition: l.Disposition.String(), Text: l.Text, Attempts: l.Attempts})
		}
		groups[i].Count++
		return nil
	})
	if err != nil {
		return err
	}
	s.tell(Event{Type: Letters, Letters: groups, Count: sum.Listed, Text: fmt.Sprintf("%d dead letters wait for somebody", sum.Listed)})
	return nil
}

// redrive puts all letters back, as `waybill dlq redrive --all` would.
func (s *story) redrive(ctx context.Context) error {
	c, err := s.dead()
	if err != nil {
		return err
	}
	defer c.Close()
	report, err := c.Redrive(ctx, dlq.Request{Tier: retrytopics.TierTopic(s.stage.topic, s.stage.group, tiers[0]), All: true,
		Reason: "release 2 has the fix", By: "waybill demo", Each: func(l *dlq.Letter, refusal string) {
			if refusal == "" {
				s.driver.Record(ledger.Event{Type: ledger.Redriven, Kind: l.Kind, Key: string(l.Key), ID: l.ID, Generation: int(l.Generation) + 1,
					Origin: ledger.Pos{Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset}})
			}
		}})
	if err != nil {
		return err
	}
	s.tell(Event{Type: Redriven, Count: report.Redriven, Text: fmt.Sprintf("%d of %d letters are redriven; reason: release 2 has the fix", report.Redriven, report.Matched)})
	return nil
}
