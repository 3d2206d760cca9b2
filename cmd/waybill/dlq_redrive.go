package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/dlq"
)

// redriveFlags are those of dlq redrive beside the filters.
type redriveFlags struct {
	all, yes          bool
	reason, by        string
	edit, contentType string
	newID             string
	rate              float64
	typed             bool
}

func dlqRedriveCommand(a *app) *cobra.Command {
	var f filterFlags
	var r redriveFlags
	c := &cobra.Command{
		Use:   "redrive [LETTER...]",
		Short: "Put letters back to work",
		Long: `redrive prints what it would do, and does it after a confirmation: the answer to its question on a terminal, or --yes.

Letters are chosen by name, by filters, or all of them (--all); those that were redriven before are left out unless
they are named. Each goes to the shortest retry tier as the next generation of its job, due at once, with a fresh count
of attempts. The receipt log is asked first: a job that is done, or whose next generation has begun, is left out. The reason
goes to the audit topic.

A single letter can be redriven with another payload (--edit FILE), or under another id (--new-id), which makes it a new
job: the only way for a conflict, and for a job that is done and shall run again.`,
		Example: `  waybill dlq redrive --brokers localhost:9092 --group mailer --topic emails --kind email.welcome --reason "template is back"
  waybill dlq redrive 0/17 0/18 --group mailer --reason "ticket 4711" --yes
  waybill dlq redrive 0/17 --group mailer --edit payload.json --reason "wrong currency" --yes
  waybill dlq redrive --all --rate 20 --group mailer --reason "release 2" --yes`,
		Args: cobra.ArbitraryArgs,
	}
	c.RunE = func(c *cobra.Command, refs []string) error {
		filter, err := f.filter(c, time.Now())
		if err != nil {
			return err
		}
		r.typed = c.Flags().Changed("content-type")
		return a.dlqRedrive(c.Context(), r, dlq.Request{Filter: filter, Refs: refs})
	}
	f.add(c)
	s := c.Flags()
	s.BoolVar(&r.all, "all", false, "every letter that was not redriven before")
	s.StringVar(&r.reason, "reason", "", "why, for the audit topic (required)")
	s.StringVar(&r.by, "by", "", "who, for the audit topic (default: you at this host)")
	s.BoolVar(&r.yes, "yes", false, "do it without asking")
	s.Float64Var(&r.rate, "rate", dlq.DefaultRate, "letters a second at most; negative for as fast as it goes")
	s.StringVar(&r.edit, "edit", "", "file of the payload that takes the place of the letter's")
	s.StringVar(&r.contentType, "content-type", "", "with --edit: the new payload's")
	s.StringVar(&r.newID, "new-id", "", "redrive as a new job of this id")
	return c
}

// redriveResult is what --json prints.
type redriveResult struct {
	dlq.Report
	Letters []string `json:"letters"` // redriven, or to be redriven
}

// chooses reports whether any filter was given.
func chooses(f dlq.Filter) bool { return !reflect.DeepEqual(f, dlq.Filter{}) }

func (a *app) dlqRedrive(ctx context.Context, r redriveFlags, q dlq.Request) error {
	q, err := r.complete(q)
	if err == nil && !r.all && len(q.Refs) == 0 && !chooses(q.Filter) {
		err = errors.New("nothing chooses letters: name some (waybill dlq list shows their names), give a filter, or --all")
	}
	if err != nil {
		return err
	}
	t, c, tier, err := a.letters(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	q.Tier = tier
	result, err := a.preview(ctx, c, q, !r.yes)
	if err != nil {
		return t.unreached(err)
	}
	if result.Redriven == 0 || !r.yes && !a.confirmed(result.Redriven) {
		if a.json {
			return a.printJSON(result)
		}
		return nil
	}
	result, err = a.redrive(ctx, c, q)
	if a.json {
		err = errors.Join(err, a.printJSON(result))
	}
	a.say("%d of %s redriven", result.Redriven, plural(result.Matched, "letter"))
	return err
}

// complete is the request without its tier.
func (r redriveFlags) complete(q dlq.Request) (dlq.Request, error) {
	if strings.TrimSpace(r.reason) == "" {
		return q, errors.New("--reason is missing: say why; it goes to the audit topic")
	}
	q.All, q.Reason, q.By, q.Rate, q.NewID = r.all, r.reason, r.by, r.rate, r.newID
	if q.By == "" {
		q.By = operator()
	}
	if r.edit == "" {
		return q, nil
	}
	payload, err := os.ReadFile(r.edit)
	if err != nil {
		return q, fmt.Errorf("--edit: %w", err)
	}
	q.Edit = func(l *dlq.Letter) error {
		l.Payload = payload
		if r.typed {
			l.ContentType = r.contentType
		}
		return nil
	}
	return q, nil
}

// preview finds out what a redrive would do, and prints it where people are to decide by it.
func (a *app) preview(ctx context.Context, c *dlq.Client, q dlq.Request, show bool) (redriveResult, error) {
	q.DryRun, q.Rate = true, -1
	result := redriveResult{Letters: []string{}}
	out := newTable(a.out)
	show = show && !a.json
	if show {
		out.row("LETTER", "KIND", "ID", "WHY", "ATTEMPTS", "")
	}
	q.Each = func(l *dlq.Letter, refusal string) {
		if refusal == "" {
			result.Letters = append(result.Letters, l.Ref())
			refusal = "will be redriven"
		} else {
			refusal = "left out: " + refusal
		}
		if show {
			out.row(l.Ref(), l.Kind, clip(l.ID, 40), l.Disposition, l.Attempts, refusal)
		}
	}
	report, err := c.Redrive(ctx, q)
	result.Report = report
	if err != nil {
		return result, err
	}
	if err := out.flush(); err != nil {
		return result, err
	}
	for _, s := range report.Skipped {
		if s.Kind == "" || !show && !a.json { // it has no row
			a.say("%s: %s", s.Ref, s.Reason)
		}
	}
	if report.Redriven == 0 {
		a.say("nothing to redrive")
	}
	return result, nil
}

// confirmed asks on a terminal; elsewhere nothing was decided.
func (a *app) confirmed(n int) bool {
	if a.json || !interactive(a.in) {
		a.say("this was a preview: %s would be redriven; --yes does it", plural(n, "letter"))
		return false
	}
	fmt.Fprintf(a.err, "Redrive %s? [y/N] ", plural(n, "letter"))
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	if answer != "y" && answer != "yes" {
		a.say("nothing was redriven")
		return false
	}
	return true
}

// interactive reports whether somebody can answer.
func interactive(in io.Reader) bool {
	f, ok := in.(interface{ Stat() (os.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// redrive does it, and says now and then how far it is.
func (a *app) redrive(ctx context.Context, c *dlq.Client, q dlq.Request) (redriveResult, error) {
	result := redriveResult{Letters: []string{}}
	last := time.Now()
	q.Each = func(l *dlq.Letter, refusal string) {
		if refusal != "" {
			return
		}
		result.Letters = append(result.Letters, l.Ref())
		if time.Since(last) >= 5*time.Second {
			last = time.Now()
			a.say("%d redriven so far", len(result.Letters))
		}
	}
	report, err := c.Redrive(ctx, q)
	result.Report = report
	return result, err
}

// operator is who runs this command, for the audit topic.
func operator() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "unknown"
	}
	host, err := os.Hostname()
	if err != nil {
		return u.Username
	}
	return fmt.Sprintf("%s at %s", u.Username, host)
}
