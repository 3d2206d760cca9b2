package dlq

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// DefaultRate is how many letters a second a redrive puts back when its request names no rate.
const DefaultRate = 100

// Request is an order to redrive letters. Of Filter, Refs and All exactly one chooses them.
type Request struct {
	// Tier is the topic to redrive to: the group's smallest retry tier, as its layout says. Required.
	Tier string
	// Filter chooses letters; at least one field must be set. Letters redriven before are left out.
	Filter Filter
	// Refs names letters, see Letter.Ref. One that was redriven before is redriven again.
	Refs []string
	// All chooses every letter that was not redriven before.
	All bool

	// Reason goes to the audit topic. Required.
	Reason string
	// By is who gives the order, for the audit topic. Defaults to "unknown".
	By string
	// Rate is how many letters a second at most. Defaults to DefaultRate; negative: as fast as it goes.
	Rate float64
	// DryRun finds out what would be done, and does nothing.
	DryRun bool

	// Edit changes a letter before it is redriven: its Payload, ContentType, Version, Headers, At, Expires and
	// Correlation; the rest must stay. Only for a single letter.
	Edit func(*Letter) error
	// NewID redrives the job under another id, as a new job: the only way for a conflict, and for a job that is done
	// and shall run again. Only for a single letter.
	NewID string

	// Each, when set, is told of every chosen letter as its turn comes; refusal is empty for one that is (or, in a dry
	// run, would be) redriven. The letter is as it is redriven, edited.
	Each func(l *Letter, refusal string)
}

// WithDefaults returns r with every unset field at its default.
func (r Request) WithDefaults() Request {
	if r.By == "" {
		r.By = "unknown"
	}
	if r.Rate == 0 {
		r.Rate = DefaultRate
	}
	return r
}

// validate returns every fault of r, joined.
func (r *Request) validate(topic, group string) error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	_, isTier := retrytopics.TierOf(r.Tier, topic, group)
	add(!isTier, "Tier: %q is no retry tier of topic %q in group %q", r.Tier, topic, group)
	add(strings.TrimSpace(r.Reason) == "", "Reason: it is empty; say why, it goes to the audit topic")
	add(math.IsNaN(r.Rate), "Rate: it is not a number")
	ways := 0
	for _, given := range [...]bool{r.filtered(), len(r.Refs) > 0, r.All} {
		if given {
			ways++
		}
	}
	add(ways == 0, "nothing chooses letters: set Filter or Refs, or All for every letter")
	add(ways > 1, "Filter, Refs and All exclude each other: set one")
	for _, ref := range r.Refs {
		if _, _, err := ParseRef(ref); err != nil {
			errs = append(errs, fmt.Errorf("Refs: %w", err))
		}
	}
	if r.NewID != "" {
		if err := job.ValidateID(r.NewID); err != nil {
			errs = append(errs, fmt.Errorf("NewID: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (r *Request) filtered() bool {
	f := &r.Filter
	return len(f.Kinds)+len(f.Codes)+len(f.Dispositions)+f.Limit > 0 || f.Fingerprint != "" || f.Key != nil || f.ID != "" ||
		!f.Since.IsZero() || !f.Until.IsZero() || f.Pending || f.Newest
}

// Report is what a redrive did, or in a dry run would have done.
type Report struct {
	DryRun   bool   `json:"dry_run"`
	Matched  int    `json:"matched"`  // letters chosen
	Redriven int    `json:"redriven"` // acked by the broker; in a dry run: those that would be put back
	Skipped  []Skip `json:"skipped,omitempty"`
}

// Skip is a chosen letter that was not redriven.
type Skip struct {
	Ref    string `json:"ref"`
	Kind   string `json:"kind,omitempty"`
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// refusal says why l cannot be redriven by r, empty when it can. partitions is how many the tier has.
func (r *Request) refusal(l *Letter, topic string, partitions int, now time.Time) string {
	switch {
	case l.Origin.Topic != topic:
		return "it comes from topic " + l.Origin.Topic
	case int(l.Origin.Partition) >= partitions:
		return fmt.Sprintf("it comes from partition %d, and %s has only %d", l.Origin.Partition, r.Tier, partitions)
	case len(r.Refs) == 0 && !l.Redriven.IsZero():
		return "it was redriven at " + job.FormatTime(l.Redriven) + "; name it by its ref to redrive it again"
	case l.KeyBytes > 0:
		return "its key is not in the letter, which was too large; enqueue the job anew"
	case r.NewID != "" && r.NewID == l.ID:
		return "NewID is the id it has"
	case r.NewID == "" && l.Disposition == Conflict:
		return "its identity belongs to a job with another payload; redrive it under a new id"
	case r.NewID == "" && l.Superseded:
		return "the job was redriven and filed again since; redrive its newest letter"
	case r.NewID == "" && l.Generation == math.MaxUint32:
		return "its generations are used up; redrive it under a new id"
	case r.Edit == nil && (l.Truncated || l.HeadersBytes > 0):
		return "its payload or headers are not in the letter, which was too large; redrive it with a new payload"
	case !l.Expires.IsZero() && !now.Before(l.Expires):
		return "it expired at " + job.FormatTime(l.Expires) + "; redrive it with another expiry"
	}
	return ""
}

// edit runs Edit on l and says what is wrong with the result.
func (r *Request) edit(l *Letter) error {
	if r.Edit == nil {
		return nil
	}
	before := *l
	if err := r.Edit(l); err != nil {
		return fmt.Errorf("Edit of letter %s: %w", before.Ref(), err)
	}
	if l.Kind != before.Kind || l.ID != before.ID || string(l.Key) != string(before.Key) || (l.Key == nil) != (before.Key == nil) ||
		l.Origin != before.Origin || l.Generation != before.Generation || l.key() != before.key() || l.Ref() != before.Ref() {
		return fmt.Errorf("Edit of letter %s: kind, id, key, origin and generation make the job what it is and cannot be changed", before.Ref())
	}
	for _, h := range l.Headers {
		if job.Owned(h.Key) {
			return fmt.Errorf("Edit of letter %s: header %s belongs to Waybill", before.Ref(), h.Key)
		}
	}
	return nil
}
