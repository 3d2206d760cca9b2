package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"

	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

const (
	// chunkSize is how many letters are put back, acked and audited together at most.
	chunkSize = 100
	// chunkBytes is how much of their payload is held at most, give or take one.
	chunkBytes = 8 << 20
	// chunkTime is how long a chunk is gathered at most, so that a slow redrive is audited as it goes.
	chunkTime = time.Second
	// closing bounds how long a chunk that was begun is seen through after the caller gave up.
	closing = 10 * time.Second
)

// Redrive puts letters back to work: each chosen one is produced to the partition of r.Tier that it comes from, as a copy
// of the next generation, due at once, with a fresh count of attempts; with NewID as a new job of generation 0. When the
// broker has acked a chunk of them, an audit entry names it and gives the reason.
//
// The receipt log is asked first: a letter of a job that is done, or whose next generation has begun, is skipped with that
// reason. What is redriven without need all the same, since it was done a moment later, does no harm: the copy is ignored.
// On an error the report says what was done until then. When ctx ends, a chunk that is being produced is seen through and
// audited all the same, and none is begun. The chosen letters that were not redriven are in Report.Skipped, with a reason each.
func (c *Client) Redrive(ctx context.Context, r Request) (Report, error) {
	r = r.WithDefaults()
	report := Report{DryRun: r.DryRun}
	if err := r.validate(c.topic, c.group); err != nil {
		return report, err
	}
	partitions, err := c.partitionCount(ctx, r.Tier)
	if err != nil {
		return report, err
	}
	if _, err := c.partitionCount(ctx, retrytopics.AuditTopic(c.group)); err != nil {
		return report, err
	}
	x, places, err := c.chosen(ctx, &r, &report)
	if err != nil {
		return report, err
	}
	if len(places) != 1 && (r.Edit != nil || r.NewID != "") {
		return report, fmt.Errorf("Edit and NewID are for a single letter; %d are chosen", len(places))
	}
	known, err := c.receipts(ctx, places)
	if err != nil {
		return report, err
	}
	defer known.close()
	d := &drive{c: c, r: &r, report: &report, known: known, limit: limiter(r.Rate), partitions: partitions}
	if !r.DryRun {
		if d.client, err = c.producer(ctx, r.Tier); err != nil {
			return report, err
		}
		defer d.client.Close()
	}
	if err = c.load(ctx, x, places, func(l *Letter) error { return d.one(ctx, l) }); err == nil {
		err = d.flush(ctx)
	}
	return report, err
}

func limiter(perSecond float64) *rate.Limiter {
	if perSecond < 0 || perSecond > 1e9 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	return rate.NewLimiter(rate.Limit(perSecond), 1)
}

// chosen finds the letters of r. Refs that name nothing are skips.
func (c *Client) chosen(ctx context.Context, r *Request, report *Report) (*index, []*place, error) {
	match := r.Filter.Match
	missing := make(map[[2]int64]bool, len(r.Refs))
	if len(r.Refs) > 0 {
		named := make(map[[2]int64]bool, len(r.Refs))
		for _, ref := range r.Refs {
			partition, offset, _ := ParseRef(ref) // validated
			named[[2]int64{int64(partition), offset}] = true
		}
		missing = maps.Clone(named)
		match = func(l *Letter) bool {
			at := [2]int64{int64(l.Partition), l.Offset}
			delete(missing, at)
			return named[at]
		}
	}
	x, err := c.index(ctx, match)
	if err != nil {
		return nil, nil, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(missing), func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) }) {
		report.Skipped = append(report.Skipped, Skip{Ref: FormatRef(int32(at[0]), at[1]), Reason: "there is no letter of that name"})
	}
	places := x.choose(&r.Filter)
	report.Matched = len(places)
	return x, places, nil
}

// partitionCount asks how many partitions an existing topic has.
func (c *Client) partitionCount(ctx context.Context, topic string) (int, error) {
	topics, err := c.admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("looking up %s: %w", topic, err)
	}
	t, ok := topics[topic]
	if !ok || errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
		return 0, fmt.Errorf("topic %s does not exist; `waybill setup apply` creates it: %w", topic, kerr.UnknownTopicOrPartition)
	}
	if t.Err != nil {
		return 0, fmt.Errorf("looking up %s: %w", topic, t.Err)
	}
	return len(t.Partitions), nil
}

// producer makes the client that writes copies and audit entries. Its limit is the tier's own: a payload that came to the
// job topic fits there.
func (c *Client) producer(ctx context.Context, tier string) (*kgo.Client, error) {
	limit := int32(1 << 20) // Kafka's default, for who may not read the topic's configuration
	if configs, err := c.admin.DescribeTopicConfigs(ctx, tier); err == nil {
		for _, config := range configs {
			for _, entry := range config.Configs {
				if n, err := strconv.ParseInt(entry.MaybeValue(), 10, 32); entry.Key == "max.message.bytes" && err == nil && n > 0 {
					limit = int32(min(n, 90<<20)) // below what kgo writes in one request
				}
			}
		}
	}
	return kgo.NewClient(append(slices.Clone(c.opts),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(limit),
		kgo.ProducerLinger(0),
	)...)
}

// drive is one redrive under way.
type drive struct {
	c          *Client
	r          *Request
	report     *Report
	known      *receipts
	limit      *rate.Limiter
	partitions int
	client     *kgo.Client // nil in a dry run
	chunk      []driven
	begun      time.Time // of the chunk
	bytes      int       // of payload in the chunk
}

// driven is a letter of the current chunk.
type driven struct {
	name redrivenLetter
	rec  *kgo.Record
}

// one deals with the next chosen letter.
func (d *drive) one(ctx context.Context, l *Letter) error {
	if err := d.r.edit(l); err != nil {
		return err
	}
	rec, refusal := d.copy(l)
	if refusal == "" {
		if d.r.NewID != "" {
			d.known.jobs[job.IdentityOf(l.Kind, l.Key, d.r.NewID)] = true
		}
		var err error
		if refusal, err = d.known.overtaken(ctx, l, d.r.NewID); err != nil {
			return err
		}
	}
	if d.r.Each != nil {
		d.r.Each(l, refusal)
	}
	switch {
	case refusal != "":
		d.skip(l.Ref(), l.Kind, l.ID, refusal)
		return nil
	case d.r.DryRun:
		d.report.Redriven++
		return nil
	}
	if err := d.limit.Wait(ctx); err != nil {
		return err
	}
	if len(d.chunk) == 0 {
		d.begun = time.Now()
	}
	d.chunk = append(d.chunk, driven{nameRedriven(l, d.r.NewID, d.r.Edit != nil), rec})
	d.bytes += len(rec.Value)
	if len(d.chunk) < chunkSize && d.bytes < chunkBytes && time.Since(d.begun) < chunkTime {
		return nil
	}
	return d.flush(ctx)
}

func (d *drive) skip(ref, kind, id, reason string) {
	d.report.Skipped = append(d.report.Skipped, Skip{Ref: ref, Kind: kind, ID: id, Reason: reason})
}

// copy makes the record that puts l back to work, or says why there can be none.
func (d *drive) copy(l *Letter) (*kgo.Record, string) {
	if refusal := d.r.refusal(l, d.c.topic, d.partitions, time.Now()); refusal != "" {
		return nil, refusal
	}
	e := job.Envelope{WireKind: l.Kind, Message: job.Message{Kind: l.Kind, ID: l.ID, Key: l.Key, Version: l.Version, ContentType: l.ContentType,
		Payload: l.Payload, Headers: l.Headers, Correlation: l.Correlation, Expires: l.Expires}}
	stamp := job.Stamp{Gen: l.Generation + 1, At: l.At, Origin: l.Origin}
	if d.r.NewID != "" {
		e.ID, stamp.Gen = d.r.NewID, 0
	}
	headers := job.CopyHeaders(nil, &e, &stamp)
	var read job.Envelope // as the engine will read it: an edit may have broken the format
	job.Decode(&read, &job.Raw{Topic: d.r.Tier, Key: e.Key, Value: e.Payload}, headers, job.TrustCopy, "")
	if read.Fault != "" {
		return nil, "it would not be well-formed: " + read.Fault
	}
	rec := &kgo.Record{Topic: d.r.Tier, Partition: l.Origin.Partition, Key: e.Key, Value: e.Payload}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	return rec, ""
}

// flush puts the chunk back, awaits the acks and audits what was acked. It sees a chunk through even when ctx has ended.
func (d *drive) flush(ctx context.Context) error {
	if len(d.chunk) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	records := make([]*kgo.Record, len(d.chunk))
	for i := range d.chunk {
		records[i] = d.chunk[i].rec
	}
	results := d.client.ProduceSync(ctx, records...)
	failed := make(map[*kgo.Record]error, len(results))
	for _, res := range results { // results come in the order of acks
		failed[res.Record] = res.Err
	}
	var acked []redrivenLetter
	var errs []error
	for _, item := range d.chunk {
		err := failed[item.rec]
		if errors.Is(err, kerr.MessageTooLarge) { // which fails its whole batch: ask of each alone
			err = d.client.ProduceSync(ctx, item.rec).FirstErr()
		}
		switch {
		case err == nil:
			acked = append(acked, item.name)
		case errors.Is(err, kerr.MessageTooLarge):
			d.skip(item.name.Ref, item.name.Kind, item.name.ID, "its copy is too large for "+d.r.Tier+"; raise max.message.bytes there")
		default:
			errs = append(errs, fmt.Errorf("redriving letter %s: %w", item.name.Ref, err))
		}
	}
	d.chunk, d.bytes = nil, 0
	d.report.Redriven += len(acked)
	return errors.Join(append(errs, d.audit(ctx, acked))...)
}

// audit writes who redrove what and why.
func (d *drive) audit(ctx context.Context, acked []redrivenLetter) error {
	if len(acked) == 0 {
		return nil
	}
	line := audit.Record(d.c.group, audit.Entry{Time: time.Now(), Who: d.r.By, What: audit.Redrive, Why: d.r.Reason,
		Details: redriveDetails{Topic: d.c.topic, Tier: d.r.Tier, Letters: acked}.asMap()})
	rec := &kgo.Record{Topic: line.Topic, Key: line.Key, Value: line.Value}
	if err := d.client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return fmt.Errorf("%d letters from %s on were redriven, but the audit topic does not say so: %w", len(acked), acked[0].Ref, err)
	}
	return nil
}
