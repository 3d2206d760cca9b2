package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

func dlqCommand(a *app) *cobra.Command {
	return noun("dlq", "Look at the dead letters of a job topic, and put them back to work",
		dlqListCommand(a), dlqShowCommand(a), dlqExportCommand(a), dlqRedriveCommand(a))
}

// filterFlags choose letters.
type filterFlags struct {
	kinds, codes, dispositions []string
	fingerprint, key, id       string
	since, until               string
	pending, newest            bool
	limit                      int
}

func (f *filterFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringSliceVar(&f.kinds, "kind", nil, "only these kinds")
	s.StringSliceVar(&f.codes, "code", nil, "only these error codes, such as handler_error or panic")
	s.StringSliceVar(&f.dispositions, "disposition", nil, "only those filed for this: "+dispositions())
	s.StringVar(&f.fingerprint, "fingerprint", "", "only failures of this cause, see dlq list")
	s.StringVar(&f.key, "key", "", "only jobs of this key")
	s.StringVar(&f.id, "id", "", "only the job of this id")
	s.StringVar(&f.since, "since", "", "only those filed since then: a time, or a duration ago")
	s.StringVar(&f.until, "until", "", "only those filed before then: a time, or a duration ago")
	s.BoolVar(&f.pending, "pending", false, "only those that were neither redriven nor superseded")
	s.IntVar(&f.limit, "limit", 0, "so many at most, the first filed; 0 for all")
	s.BoolVar(&f.newest, "newest", false, "with --limit: the last filed")
}

func dispositions() string {
	var out []string
	for _, d := range dlq.Dispositions() {
		out = append(out, d.String())
	}
	return strings.Join(out, ", ")
}

// filter reads the flags; every fault comes at once.
func (f *filterFlags) filter(c *cobra.Command, now time.Time) (dlq.Filter, error) {
	out := dlq.Filter{Kinds: f.kinds, Fingerprint: f.fingerprint, ID: f.id, Pending: f.pending, Limit: f.limit, Newest: f.newest}
	if c.Flags().Changed("key") {
		out.Key = []byte(f.key)
	}
	var errs []error
	for _, text := range f.codes {
		code, ok := job.ParseCode(text)
		if !ok {
			errs = append(errs, fmt.Errorf("--code %q is no error code", text))
		}
		out.Codes = append(out.Codes, code)
	}
	for _, text := range f.dispositions {
		d, ok := dlq.ParseDisposition(text)
		if !ok {
			errs = append(errs, fmt.Errorf("--disposition %q is none of %s", text, dispositions()))
		}
		out.Dispositions = append(out.Dispositions, d)
	}
	var err1, err2 error
	out.Since, err1 = parseWhen("since", f.since, now, -1)
	out.Until, err2 = parseWhen("until", f.until, now, -1)
	if f.limit < 0 {
		errs = append(errs, fmt.Errorf("--limit %d is negative", f.limit))
	}
	return out, errors.Join(append(errs, err1, err2)...)
}

// letters opens the dead letters of the one topic a command is about, with the tier that a redrive goes to.
func (a *app) letters(ctx context.Context) (t target, c *dlq.Client, tier string, err error) {
	t, r, err := a.look(ctx)
	if err != nil {
		return t, nil, "", err
	}
	defer r.Close()
	topic, err := a.only(r, t.group)
	if err != nil {
		return t, nil, "", err
	}
	c, err = dlq.Open(t.opts, topic, t.group)
	return t, c, r.SmallestTier(topic), err
}

func dlqListCommand(a *app) *cobra.Command {
	var f filterFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, one a job and failure",
		Long: `list prints the letters that the filters choose. A letter is named partition/offset; copies of one are shown once.
Letters with one fingerprint failed for one cause.`,
		Example: `  waybill dlq list --brokers localhost:9092 --group mailer --topic emails --pending
  waybill dlq list --group mailer --since 24h --disposition exhausted --json | jq -r .fingerprint | sort | uniq -c`,
		Args: cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		filter, err := f.filter(c, time.Now())
		if err != nil {
			return err
		}
		return a.dlqList(c.Context(), filter)
	}
	f.add(c)
	return c
}

func (a *app) dlqList(ctx context.Context, f dlq.Filter) error {
	t, c, _, err := a.letters(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	out := newTable(a.out)
	if !a.json {
		out.row("LETTER", "FILED", "KIND", "ID", "WHY", "ATTEMPTS", "FINGERPRINT", "STATE", "ERROR")
	}
	sum, err := c.List(ctx, f, func(l *dlq.Letter) error {
		if a.json {
			return a.printJSON(l)
		}
		out.row(l.Ref(), instant(l.Filed), l.Kind, clip(l.ID, 40), l.Disposition, l.Attempts, l.Fingerprint, state(l), clip(l.Text, 60))
		return nil
	})
	if err != nil {
		return t.unreached(err)
	}
	if err := out.flush(); err != nil {
		return err
	}
	a.summary(sum)
	return nil
}

func (a *app) summary(sum dlq.Summary) {
	text := fmt.Sprintf("%d of %s chosen", sum.Matched, plural(sum.Letters, "letter"))
	if sum.Listed < sum.Matched {
		text += fmt.Sprintf(", %d printed", sum.Listed)
	}
	if sum.Foreign > 0 {
		text += fmt.Sprintf("; %s that are no letters", plural(sum.Foreign, "record"))
	}
	if sum.Newer > 0 {
		text += fmt.Sprintf("; %s of a newer format: upgrade waybill", plural(sum.Newer, "letter"))
	}
	a.say("%s", text)
}

// state is what became of a letter.
func state(l *dlq.Letter) string {
	switch {
	case l.Superseded:
		return "superseded"
	case !l.Redriven.IsZero():
		return "redriven"
	}
	return "pending"
}

func dlqShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show LETTER",
		Short:   "Print one letter whole",
		Example: `  waybill dlq show 0/17 --brokers localhost:9092 --group mailer --topic emails`,
		Args:    one("letter", "0/17"),
		RunE:    func(c *cobra.Command, args []string) error { return a.dlqShow(c.Context(), args[0]) },
	}
}

func (a *app) dlqShow(ctx context.Context, ref string) error {
	t, c, _, err := a.letters(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := c.Show(ctx, ref)
	if err != nil {
		return t.unreached(err)
	}
	return a.show(l, func(t *table) { describeLetter(t, l) })
}

func describeLetter(t *table, l *dlq.Letter) {
	line := func(name string, v any) {
		if text := fmt.Sprint(v); text != "" && text != "-" && text != "0" {
			t.row(name, text)
		}
	}
	line("letter", l.Topic+" "+l.Ref())
	line("kind", l.Kind)
	line("id", l.ID)
	line("key", readable(l.Key))
	line("version", l.Version)
	line("content type", l.ContentType)
	line("correlation", l.Correlation)
	line("origin", fmt.Sprintf("%s/%d/%d of %s", l.Origin.Topic, l.Origin.Partition, l.Origin.Offset, instant(l.Origin.Time)))
	line("generation", l.Generation)
	line("attempts", l.Attempts)
	line("first failure", instant(l.First))
	line("last failure", instant(l.Last))
	line("filed", instant(l.Filed))
	line("not before", instant(l.At))
	line("expires", instant(l.Expires))
	line("why", l.Disposition)
	line("code", l.Code)
	line("fingerprint", l.Fingerprint)
	line("handler", l.Handler)
	line("instance", l.Instance)
	for _, h := range l.Headers {
		line("header "+h.Key, readable(h.Value))
	}
	for _, raw := range l.Raw {
		line("as read", raw)
	}
	t.note("\nerror:\n%s", l.Text)
	if l.Truncated {
		t.note("\npayload: left out, it had %d bytes", l.PayloadBytes)
		return
	}
	t.note("\npayload:\n%s", readable(l.Payload))
}

// readable is text as it is, and other bytes quoted.
func readable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return fmt.Sprintf("%q", b)
}

func dlqExportCommand(a *app) *cobra.Command {
	var f filterFlags
	var path string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write letters as NDJSON, payloads included",
		Long: `export writes a line of JSON for each letter that the filters choose, to standard output or to a file. Every byte of
payload, key and headers can be told from it.`,
		Example: `  waybill dlq export --brokers localhost:9092 --group mailer --topic emails --out letters.ndjson`,
		Args:    cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		filter, err := f.filter(c, time.Now())
		if err != nil {
			return err
		}
		return a.dlqExport(c.Context(), filter, path)
	}
	f.add(c)
	c.Flags().StringVar(&path, "out", "", "file to write, which must not exist (default: standard output)")
	return c
}

func (a *app) dlqExport(ctx context.Context, f dlq.Filter, path string) (err error) {
	t, c, _, err := a.letters(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var out io.Writer = a.out
	if path != "" {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // payloads are nobody else's business
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	sum, err := c.Export(ctx, f, out)
	if err != nil {
		return t.unreached(err)
	}
	a.summary(sum)
	return nil
}
