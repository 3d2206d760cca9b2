package dlq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
)

func (r *rig) redrive(req Request) Report {
	r.Helper()
	report, err := r.client.Redrive(r.ctx, req)
	if err != nil {
		r.Fatal(err)
	}
	return report
}

func TestRedriveOne(t *testing.T) {
	withRig(t, func(r *rig) {
		e := r.job("a", "1", "payload")
		e.Generation, e.Hop, e.ContentType, e.Version, e.Correlation = 2, 9, "text/plain", 3, "c"
		e.At, e.Expires = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		r.file(0, Filing{Envelope: r.job("a", "0", "other"), Disposition: Explicit})
		ref := r.file(1, Filing{Envelope: e, Disposition: Exhausted, Attempts: 10, Text: "boom"})

		req := request()
		req.Refs = []string{ref}
		told := ""
		req.Each = func(l *Letter, refusal string) { told += l.Ref() + refusal }
		if got, want := r.redrive(req), (Report{Matched: 1, Redriven: 1}); !reflect.DeepEqual(got, want) {
			t.Errorf("report %+v", got)
		}
		if told != ref {
			t.Errorf("Each was told %q", told)
		}
		copies := r.copies()
		if len(copies) != 1 {
			t.Fatalf("%d copies", len(copies))
		}
		got := copies[0]
		want := *e
		want.Topic, want.Partition, want.Offset, want.Attempt, want.Generation, want.Hop, want.Native = tier, 2, 0, 1, 3, 0, nil
		want.Identify(want.Kind, want.Kind)
		got.At, got.Expires, want.At, want.Expires = got.At.UTC(), got.Expires.UTC(), want.At.UTC(), want.Expires.UTC()
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("copy %+v\nwant %+v", *got, want)
		}
		lines := r.audited()
		if len(lines) != 1 || lines[0].Who != "ann" || lines[0].Why != "fixed" || lines[0].What != audit.Redrive {
			t.Fatalf("audit %+v", lines)
		}
		if details := fmt.Sprint(lines[0].Details); !strings.Contains(details, ref) || !strings.Contains(details, e.Identity.String()) {
			t.Errorf("audit details %s", details)
		}
	})
}

// Filtered redrives leave out what was redriven before; a ref redrives again.
func TestRedriveFilteredOnce(t *testing.T) {
	withRig(t, func(r *rig) {
		var refs []string
		for i := range 3 {
			f := Filing{Envelope: r.job([]string{"a", "b"}[i%2], fmt.Sprint(i), "x"), Disposition: Exhausted}
			refs = append(refs, r.file(0, f))
			r.file(1, f) // a copy
		}
		req := request()
		req.Filter.Kinds = []string{"a"}
		req.DryRun = true
		if got, want := r.redrive(req), (Report{DryRun: true, Matched: 2, Redriven: 2}); !reflect.DeepEqual(got, want) {
			t.Errorf("dry run %+v", got)
		}
		if len(r.copies())+len(r.audited()) != 0 {
			t.Fatal("a dry run did something")
		}
		req.DryRun = false
		if got := r.redrive(req); got.Redriven != 2 {
			t.Errorf("report %+v", got)
		}
		req.Filter, req.All = Filter{}, true
		got := r.redrive(req)
		if got.Matched != 3 || got.Redriven != 1 || len(got.Skipped) != 2 || !strings.Contains(got.Skipped[0].Reason, "was redriven at") {
			t.Errorf("report %+v", got)
		}
		if left, _ := r.list(Filter{Pending: true}); left != nil {
			t.Errorf("pending: %q", left)
		}
		req.All, req.Refs = false, []string{refs[0], "1/0", refs[1], "0/77", "00/0"} // "1/0" is a copy of refs[0], which "00/0" is
		got = r.redrive(req)
		if got.Matched != 2 || got.Redriven != 2 || !reflect.DeepEqual(got.Skipped, []Skip{{Ref: "0/77", Reason: "there is no letter of that name"}}) {
			t.Errorf("report %+v", got)
		}
		if n := len(r.copies()); n != 5 {
			t.Errorf("%d copies", n)
		}
		sum, err := r.client.List(r.ctx, Filter{}, func(l *Letter) error {
			if l.Redriven.IsZero() {
				t.Errorf("letter %s is not known to be redriven", l.Ref())
			}
			return nil
		})
		if err != nil || sum.Listed != 3 {
			t.Errorf("%+v, %v", sum, err)
		}
	})
}

func TestRedriveRefusals(t *testing.T) {
	withRig(t, func(r *rig) {
		set := func(id string, change func(*job.Envelope)) *job.Envelope {
			e := r.job("a", id, "x")
			change(e)
			return e
		}
		keep := func(*job.Envelope) {}
		file := func(e *job.Envelope, d Disposition) string { return r.file(0, Filing{Envelope: e, Disposition: d}) }
		truncated := func(e *job.Envelope) string {
			key, value, headers := Truncated(&Filing{Envelope: e, Disposition: TooLarge, Now: time.Now()})
			return r.put(0, key, value, headers)
		}
		want := map[string]string{
			file(set("1", func(e *job.Envelope) { e.Origin.Topic = "sms" }), Explicit):                        "from topic sms",
			file(set("2", func(e *job.Envelope) { e.Origin.Partition = 4 }), Explicit):                        "from partition 4",
			file(set("3", keep), Conflict):                                                                    "under a new id",
			file(set("4", keep), Exhausted):                                                                   "filed again since",
			file(set("5", func(e *job.Envelope) { e.Generation = math.MaxUint32 }), Explicit):                 "used up",
			file(set("6", func(e *job.Envelope) { e.Expires = time.Now().Add(-time.Second) }), Explicit):      "it expired",
			truncated(set("7", keep)):                                                                         "with a new payload",
			truncated(set("8", func(e *job.Envelope) { e.Key = []byte(strings.Repeat("k", leftOut+1)) })):     "its key is not in the letter",
			file(set("4", func(e *job.Envelope) { e.Generation = 1 }), Exhausted):                             "",
			file(set("9", func(e *job.Envelope) { e.Expires = time.Now().Add(time.Second) }), Unknown):        "",
			file(envelope(nil, []byte("x"), header(job.HeaderKind, "bad kind"), header("u", "v")), Malformed): "",
		}
		req := request()
		req.Refs = slices.Collect(maps.Keys(want))
		got := map[string]string{}
		req.Each = func(l *Letter, refusal string) { got[l.Ref()] = refusal }
		report := r.redrive(req)
		for ref, part := range want {
			if refusal, ok := got[ref]; !ok || (refusal == "") != (part == "") || !strings.Contains(refusal, part) {
				t.Errorf("letter %s: refused with %q, want %q", ref, refusal, part)
			}
		}
		if report.Matched != len(want) || report.Redriven != 3 || len(report.Skipped) != len(want)-3 || len(r.copies()) != 3 {
			t.Errorf("report %+v", report)
		}
	})
}

func TestRedriveNewID(t *testing.T) {
	withRig(t, func(r *rig) {
		e := r.job("a", "1", "x")
		e.Generation = 4
		ref := r.file(0, Filing{Envelope: e, Disposition: Conflict})
		req := request()
		req.Refs, req.NewID = []string{ref}, "1"
		if got := r.redrive(req); got.Redriven != 0 || len(got.Skipped) != 1 {
			t.Errorf("under its own id: %+v", got)
		}
		req.NewID = "1-again"
		if got := r.redrive(req); got.Redriven != 1 {
			t.Errorf("%+v", got)
		}
		copies := r.copies()
		if len(copies) != 1 || copies[0].ID != "1-again" || copies[0].Generation != 0 || copies[0].Hop != 0 || string(copies[0].Key) != "key-1" {
			t.Errorf("copies %+v", copies)
		}
		r.file(0, Filing{Envelope: r.job("a", "2", "x"), Disposition: Conflict})
		req.Refs, req.All = nil, true
		if _, err := r.client.Redrive(r.ctx, req); err == nil || !strings.Contains(err.Error(), "single letter; 2 are chosen") {
			t.Errorf("two letters under one id: %v", err)
		}
	})
}

func TestRedriveEdited(t *testing.T) {
	withRig(t, func(r *rig) {
		key, value, headers := Truncated(&Filing{Envelope: r.job("a", "1", "x"), Disposition: TooLarge, Now: time.Now()})
		ref := r.put(0, key, value, headers)
		req := request()
		req.Refs = []string{ref}
		broken := errors.New("no editor")
		for name, c := range map[string]struct {
			edit func(*Letter) error
			want string
		}{
			"fails":     {func(*Letter) error { return broken }, "no editor"},
			"id":        {func(l *Letter) error { l.ID = "2"; return nil }, "cannot be changed"},
			"nil key":   {func(l *Letter) error { l.Key = nil; return nil }, "cannot be changed"},
			"partition": {func(l *Letter) error { l.Origin.Partition = 1; return nil }, "cannot be changed"},
			"engine's":  {func(l *Letter) error { l.Headers = []job.Header{header(job.HeaderHop, "9")}; return nil }, "waybill-hop belongs to Waybill"},
		} {
			req.Edit = c.edit
			if _, err := r.client.Redrive(r.ctx, req); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ref) {
				t.Errorf("%s: %v", name, err)
			}
		}
		req.Edit = func(l *Letter) error { l.Correlation = strings.Repeat("c", job.MaxCorrelation+1); return nil }
		if got := r.redrive(req); len(got.Skipped) != 1 || !strings.Contains(got.Skipped[0].Reason, "well-formed") {
			t.Errorf("a broken edit: %+v", got)
		}
		req.Edit = func(l *Letter) error {
			l.Payload, l.Headers, l.ContentType, l.Version = []byte("small"), []job.Header{header("x", "y")}, "text/plain", 7
			return nil
		}
		if got := r.redrive(req); got.Redriven != 1 {
			t.Fatalf("%+v", got)
		}
		c := r.copies()
		if len(c) != 1 || string(c[0].Payload) != "small" || c[0].Version != 7 || c[0].ContentType != "text/plain" || string(c[0].Header("x")) != "y" ||
			c[0].Header("user") != nil || c[0].Generation != 1 {
			t.Errorf("copies %+v", c)
		}
		if !strings.Contains(fmt.Sprint(r.audited()), "edited:true") {
			t.Errorf("audit %+v", r.audited())
		}
	})
}

func TestRequestFaultsComeAtOnce(t *testing.T) {
	withRig(t, func(r *rig) {
		_, err := r.client.Redrive(r.ctx, Request{Tier: "emails", Rate: math.NaN(), All: true, Refs: []string{"x"}, NewID: "\x00", Filter: Filter{Limit: 1}})
		for _, part := range []string{"Tier:", "Reason:", "Rate:", "exclude each other", "Refs:", "NewID:"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error %v lacks %q", err, part)
			}
		}
		if _, err := r.client.Redrive(r.ctx, Request{Tier: tier, Reason: "r"}); err == nil || !strings.Contains(err.Error(), "nothing chooses letters") {
			t.Errorf("nothing chosen: %v", err)
		}
		if _, err := r.client.Redrive(r.ctx, Request{Tier: "emails.mailer.retry.1m", Reason: "r", All: true}); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("a missing tier: %v", err)
		}
	})
}

// A rate is kept, and what is redriven is audited as it goes.
func TestRedriveRate(t *testing.T) {
	withRig(t, func(r *rig) {
		for i := range 10 {
			r.file(0, Filing{Envelope: r.job("a", fmt.Sprint(i), "x"), Disposition: Explicit})
		}
		req := request()
		req.All, req.Rate = true, 0.5
		start := time.Now()
		if got := r.redrive(req); got.Redriven != 10 {
			t.Errorf("%+v", got)
		}
		if took := time.Since(start); took < 18*time.Second || took > 30*time.Second { // virtual time
			t.Errorf("10 letters at one in two seconds took %v", took)
		}
		if n := len(r.audited()); n < 5 {
			t.Errorf("%d audit entries", n)
		}
	})
}

// Whoever gives up in the middle finds every copy that was made in the audit topic.
func TestRedriveInterrupted(t *testing.T) {
	withRig(t, func(r *rig) {
		for i := range 10 {
			r.file(0, Filing{Envelope: r.job("a", fmt.Sprint(i), "x"), Disposition: Explicit})
		}
		ctx, cancel := context.WithTimeout(r.ctx, 4500*time.Millisecond)
		defer cancel()
		req := request()
		req.All, req.Rate = true, 1
		report, err := r.client.Redrive(ctx, req)
		if err == nil || report.Redriven == 0 || report.Redriven >= 10 {
			t.Fatalf("%+v, %v", report, err)
		}
		audited := 0
		for _, line := range r.audited() {
			audited += len(line.Details["letters"].([]any))
		}
		if copies := len(r.copies()); copies != report.Redriven || audited != report.Redriven {
			t.Errorf("reported %d, produced %d, audited %d", report.Redriven, copies, audited)
		}
		req.Rate = -1
		if again := r.redrive(req); again.Redriven != 10-report.Redriven {
			t.Errorf("the rest: %+v", again)
		}
	})
}

// One copy that the topic refuses for its size fails the batch it is in: the others must get through all the same.
func TestRedriveTooLarge(t *testing.T) {
	withRig(t, func(r *rig) {
		for i := range 5 {
			payload := "x"
			if i == 2 {
				noise := make([]byte, 200<<10) // what does not compress
				_, _ = rand.Read(noise)
				payload = string(noise)
			}
			r.file(0, Filing{Envelope: r.job("a", fmt.Sprint(i), payload), Disposition: Explicit})
		}
		r.refuse(100 << 10)
		req := request()
		req.All = true
		got := r.redrive(req)
		if got.Redriven != 4 || len(got.Skipped) != 1 || got.Skipped[0].ID != "2" || !strings.Contains(got.Skipped[0].Reason, "too large") {
			t.Errorf("%+v", got)
		}
		if n := len(r.copies()); n != 4 {
			t.Errorf("%d copies", n)
		}
	})
}

// refuse makes the broker refuse batches above a size, as a real one does with max.message.bytes.
func (r *rig) refuse(limit int) {
	r.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		p := req.(*kmsg.ProduceRequest)
		resp := p.ResponseKind().(*kmsg.ProduceResponse)
		refused := false
		for _, topic := range p.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = partition.Partition, kerr.MessageTooLarge.Code
				refused = refused || len(partition.Records) > limit
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, refused
	})
}
