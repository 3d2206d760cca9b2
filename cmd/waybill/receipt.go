package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
)

func receiptCommand(a *app) *cobra.Command {
	return noun("receipt", "Look at receipts, verify them, and have a job forgotten",
		receiptShowCommand(a), receiptVerifyCommand(a), receiptForgetCommand(a))
}

// jobFlags say which job KIND/ID is.
type jobFlags struct {
	key       string
	nullKey   bool
	partition int32
}

func (f *jobFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.key, "key", "", "the record's key (default: the id)")
	s.BoolVar(&f.nullKey, "null-key", false, "the record has no key; needs --partition")
	s.Int32Var(&f.partition, "partition", -1, "where it is (default: where its key belongs)")
}

// job reads KIND/ID; the id may hold further slashes.
func (f *jobFlags) job(c *cobra.Command, name string) (inspect.Job, error) {
	kind, id, ok := strings.Cut(name, "/")
	j := inspect.Job{Kind: kind, ID: id, Key: []byte(id), Partition: f.partition}
	if !ok || kind == "" || id == "" {
		return j, fmt.Errorf("%q names no job; a job is named KIND/ID, such as email.welcome/w1", name)
	}
	if c.Flags().Changed("key") {
		j.Key = []byte(f.key)
	}
	if f.nullKey {
		if j.Key = nil; c.Flags().Changed("key") {
			return j, errors.New("--key and --null-key exclude each other")
		}
	}
	return j, nil
}

// lookAt opens the group and finds the job's place.
func (a *app) lookAt(ctx context.Context, j inspect.Job) (target, *inspect.Reader, inspect.Job, error) {
	t, r, err := a.look(ctx)
	if err != nil {
		return t, nil, j, err
	}
	if j.Topic, err = a.only(r, t.group); err == nil {
		j, err = r.Place(ctx, j)
	}
	if err != nil {
		r.Close()
		return t, nil, j, t.unreached(err)
	}
	return t, r, j, nil
}

// history is what the receipt log says of one job; the caller closes the reader.
func (a *app) history(ctx context.Context, j inspect.Job) (target, *inspect.Reader, *inspect.History, error) {
	t, r, j, err := a.lookAt(ctx, j)
	if err != nil {
		return t, nil, nil, err
	}
	h, err := r.History(ctx, j)
	if err != nil {
		r.Close()
		return t, nil, nil, t.unreached(err)
	}
	return t, r, h, nil
}

func receiptShowCommand(a *app) *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "show KIND/ID",
		Short: "What the receipt log says of one job",
		Long: `show folds the receipt log of the job's task for that one job and prints what all its receipts come to: its state, where the
job came from, what it came to, when and by which owner that was written, and when it will be forgotten. It reads the
task's partition of the log from start to end. KIND is the first name the kind ever had, if it was renamed.`,
		Example: `  waybill receipt show email.welcome/w1 --brokers localhost:9092 --group mailer --topic emails
  waybill receipt show email.welcome/w1 --key u1 --group mailer --topic emails --json`,
		Args: one("job", "email.welcome/w1"),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		j, err := f.job(c, args[0])
		if err != nil {
			return err
		}
		return a.receiptShow(c.Context(), j)
	}
	f.add(c)
	return c
}

func (a *app) receiptShow(ctx context.Context, j inspect.Job) error {
	_, r, h, err := a.history(ctx, j)
	if err != nil {
		return err
	}
	defer r.Close()
	return a.show(h, func(t *table) { describeReceipt(t, h) })
}

func jobName(h *inspect.History) string { return h.Kind + "/" + h.ID }

func describeReceipt(t *table, h *inspect.History) {
	line := func(name, text string) {
		if text != "" && text != "-" {
			t.row(name, text)
		}
	}
	line("job", jobName(h))
	if h.Key == nil {
		line("key", "none")
	} else if *h.Key != h.ID {
		line("key", readable([]byte(*h.Key)))
	}
	line("identity", h.Identity)
	line("task", fmt.Sprintf("%s/%d", h.Topic, h.Partition))
	line("log", fmt.Sprintf("%s/%d, offsets %d to %d", h.Log, h.Partition, h.From, h.To))
	if !h.Known {
		line("state", "nothing is known")
		t.note("\n%s", unknownBecause(h))
		return
	}
	x := h.Receipt
	line("state", x.State)
	line("generation", fmt.Sprint(x.Generation))
	if !x.Final {
		line("hop", fmt.Sprint(x.Hop))
	}
	line("attempts", fmt.Sprint(x.Attempts))
	line("origin", x.Origin)
	line("code", x.Code)
	line("digest", x.Digest)
	if x.ResultHex {
		line("result", "hex "+x.Result)
	} else {
		line("result", x.Result)
	}
	if x.Progress > 0 {
		line("progress", fmt.Sprintf("%d bytes of its steps", x.Progress))
	}
	line("written", fmt.Sprintf("%s at offset %d of the log by %s", instant(x.Appended), x.Offset, writer(x.Epoch, x.Instance)))
	if x.Renewed.After(x.Appended) {
		line("renewed", instant(x.Renewed))
	}
	if !x.Forgotten.IsZero() {
		line("forgotten", instant(x.Forgotten)+", at the earliest")
	}
	if x.Repeats {
		line("", "its kind lets it be enqueued again once it has ended, and may forget it sooner")
	}
}

func writer(epoch int64, instance string) string {
	switch {
	case epoch < 0:
		return "an operator"
	case instance == "":
		return fmt.Sprintf("the owner of epoch %d, whose record the log no longer has", epoch)
	}
	return fmt.Sprintf("%s, epoch %d", instance, epoch)
}

// unknownBecause is every reason why the log may say nothing of a job that was worked on.
func unknownBecause(h *inspect.History) string {
	var why []string
	if n := len(h.Facts); n > 0 && h.Facts[n-1].State == "forgotten" {
		why = append(why, fmt.Sprintf("it was ordered to be forgotten at %s (waybill job show tells by whom)", instant(h.Facts[n-1].Time)))
	}
	why = append(why, "it was never enqueued here, or waits for its first attempt")
	window := "the dedupe window"
	if h.Window > 0 {
		window += fmt.Sprintf(" (%v)", h.Window)
	}
	why = append(why, "its last receipt is older than "+window,
		"its kind is AtLeastOnce, and a first success of those has no receipt",
		"it is in another partition: its key is not the one named (--key), or its producer has another partitioner (--partition)",
		"its kind was renamed: the log names it by the first name it ever had")
	return "That may be because\n- " + strings.Join(why, "\n- ")
}

func receiptForgetCommand(a *app) *cobra.Command {
	var f jobFlags
	o := forgetFlags{wait: 20 * time.Second}
	c := &cobra.Command{
		Use:   "forget KIND/ID",
		Short: "Withdraw what the log says of a job, so that it may run again",
		Long: `forget writes an order into the receipt log: what stands there of the job before it no longer counts. If the job is enqueued
again it runs again, whatever its effects were. The reason goes to the audit topic. Without --yes it only says what it
would do. It waits until the task's owner has read the order; a task without an owner reads it when it gets one.

A job that is not at its end waits in a retry tier, and runs from there whatever is forgotten: forget refuses it, unless
--force says so. To run a dead letter again, redrive it instead (waybill dlq redrive). Workers that are older than this
order stop at it: roll them first.`,
		Example: `  waybill receipt forget invoice.send/4711 --reason "the customer lost it, ticket 88" --yes --brokers localhost:9092 --group billing --topic invoices`,
		Args:    one("job", "email.welcome/w1"),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		j, err := f.job(c, args[0])
		if err == nil && strings.TrimSpace(o.reason) == "" {
			err = errors.New("--reason is missing: say why; it goes to the audit topic")
		}
		if err != nil {
			return err
		}
		return a.receiptForget(c.Context(), j, o)
	}
	f.add(c)
	s := c.Flags()
	s.StringVar(&o.reason, "reason", "", "why, for the audit topic (required)")
	s.StringVar(&o.by, "by", "", "who, for the audit topic (default: you at this host)")
	s.BoolVar(&o.yes, "yes", false, "do it")
	s.BoolVar(&o.force, "force", false, "also if the job is not at its end")
	s.DurationVar(&o.wait, "wait", o.wait, "how long to wait for the owner to read the order; 0 for not at all")
	return c
}

type forgetFlags struct {
	reason, by string
	yes, force bool
	wait       time.Duration
}

// forgotten is what --json prints.
type forgotten struct {
	Job     *inspect.History `json:"job"`
	Order   *int64           `json:"order"` // offset in the log; null: nothing was done
	Heard   *bool            `json:"heard"` // by the owner; null: nobody owns the task, or nobody waited
	Preview bool             `json:"preview,omitempty"`
}

func (a *app) receiptForget(ctx context.Context, j inspect.Job, o forgetFlags) error {
	t, r, h, err := a.history(ctx, j)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := forgettable(h, o.force); err != nil {
		return err
	}
	if !o.yes {
		if a.json {
			return a.printJSON(forgotten{Job: h, Preview: true})
		}
		a.say("this was a preview: %s is %s since %s and would be forgotten; --yes does it", jobName(h), h.Receipt.State, instant(h.Receipt.Appended))
		return nil
	}
	if o.by == "" {
		o.by = operator()
	}
	at, err := r.Forget(ctx, h, inspect.Order{By: o.by, Why: o.reason, Forced: o.force && !h.Receipt.Final})
	if err != nil {
		return t.unreached(err)
	}
	owner, heard, err := a.heard(ctx, r, h, at, o.wait)
	if err != nil {
		return t.unreached(err)
	}
	if a.json {
		return a.printJSON(forgotten{Job: h, Order: &at, Heard: heard})
	}
	text := fmt.Sprintf("%s is forgotten from offset %d of %s/%d on; ", jobName(h), at, h.Log, h.Partition)
	switch {
	case owner == "":
		text += "nobody owns the task, and its next owner will read that"
	case heard == nil:
		text += "its owner " + owner + " will read that within seconds"
	case *heard:
		text += "its owner " + owner + " has read that"
	default:
		text += fmt.Sprintf("its owner %s has not answered within %v: enqueue the job again only when it is well (waybill task list)", owner, o.wait)
	}
	a.say("%s", text)
	return nil
}

// heard waits for the owner of the task, if there is one.
func (a *app) heard(ctx context.Context, r *inspect.Reader, h *inspect.History, order int64, wait time.Duration) (owner string, heard *bool, err error) {
	if owner, err = r.Owned(ctx, h.Topic, h.Partition); err != nil || owner == "" || wait <= 0 {
		return owner, nil, err
	}
	ok, err := r.Heard(ctx, h, order, wait)
	return owner, &ok, err
}

// forgettable says why a job is not forgotten.
func forgettable(h *inspect.History, force bool) error {
	switch {
	case !h.Known:
		return fmt.Errorf("nothing is known of %s in %s/%d, so there is nothing to forget. %s", jobName(h), h.Topic, h.Partition, unknownBecause(h))
	case !h.Receipt.Final && !force:
		return fmt.Errorf("%s is not at its end (%s, hop %d): it waits in a retry tier, or runs, and its copy there runs whatever is forgotten. "+
			"Forgotten now, a second enqueue would run beside that copy, with attempts counted anew, and another payload would not be told from it. "+
			"Wait until it is done or dead (waybill job why %s), or give --force", jobName(h), h.Receipt.State, h.Receipt.Hop, jobName(h))
	}
	return nil
}
