package dlq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
)

func TestOpenRefusesNames(t *testing.T) {
	if _, err := Open(nil, "a b", ""); err == nil {
		t.Error("opened")
	}
}

func TestListEmpty(t *testing.T) {
	withRig(t, func(r *rig) {
		if got, sum := r.list(Filter{}); got != nil || sum != (Summary{}) {
			t.Errorf("%v %+v", got, sum)
		}
	})
}

func TestListCollapsesCopies(t *testing.T) {
	withRig(t, func(r *rig) {
		one, two := r.job("a", "1", "x"), r.job("b", "2", "y")
		edited, again := r.job("a", "1", "z"), r.job("a", "1", "x")
		again.Generation = 1
		r.file(0, Filing{Envelope: one, Disposition: Exhausted, Code: job.CodePanic, Text: "boom 1"})
		r.file(0, Filing{Envelope: two, Disposition: Explicit, Code: job.CodeDead, Text: "boom 2"})
		r.file(1, Filing{Envelope: one, Disposition: Exhausted, Code: job.CodePanic, Text: "boom 3"}) // another partition
		r.file(0, Filing{Envelope: one, Disposition: TooOld, Code: job.CodeDeadline, Text: "later"})  // another reason
		r.file(0, Filing{Envelope: edited, Disposition: Conflict, Code: job.CodeConflict})            // another payload
		r.put(1, nil, []byte("no letter"), nil)
		r.put(1, nil, nil, []job.Header{header(HeaderLetter, "99")})

		got, sum := r.list(Filter{})
		if want := []string{"0/0 1 x3", "0/1 2 x1", "0/3 1 x1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if want := (Summary{Records: 7, Letters: 3, Matched: 3, Listed: 3, Foreign: 1, Newer: 1}); sum != want {
			t.Errorf("got %+v, want %+v", sum, want)
		}
		// The copy that matches stands for the letter, with all copies counted.
		if got, _ := r.list(Filter{Codes: []job.Code{job.CodeDeadline}}); !slices.Equal(got, []string{"0/2 1 x3"}) {
			t.Errorf("by code: %q", got)
		}
		if got, _ := r.list(Filter{Fingerprint: Fingerprint(job.CodePanic, "boom 17")}); !slices.Equal(got, []string{"0/0 1 x3"}) {
			t.Errorf("by fingerprint: %q", got)
		}
		if got, _ := r.list(Filter{Key: []byte("key-2")}); !slices.Equal(got, []string{"0/1 2 x1"}) {
			t.Errorf("by key: %q", got)
		}
		// A later generation supersedes every letter of the one before.
		r.file(1, Filing{Envelope: again, Disposition: Exhausted})
		if got, _ := r.list(Filter{Pending: true}); !slices.Equal(got, []string{"0/1 2 x1", "1/3 1 x1"}) {
			t.Errorf("pending: %q", got)
		}
		sum, err := r.client.List(r.ctx, Filter{Kinds: []string{"a"}}, func(l *Letter) error {
			if l.Superseded != (l.Generation == 0) {
				t.Errorf("letter %s of generation %d: superseded %v", l.Ref(), l.Generation, l.Superseded)
			}
			return nil
		})
		if err != nil || sum.Listed != 3 {
			t.Errorf("%+v, %v", sum, err)
		}
	})
}

func TestListLimitsByTime(t *testing.T) {
	withRig(t, func(r *rig) {
		start := time.Now()
		for i := range 6 {
			r.file(int32(1-i%2), Filing{Envelope: r.job("a", fmt.Sprint(i), "x"), Disposition: Explicit})
			time.Sleep(time.Minute) // virtual
		}
		for _, c := range []struct {
			f    Filter
			want string
		}{
			{Filter{Limit: 3}, "0/0 1 x1, 1/0 0 x1, 1/1 2 x1"},
			{Filter{Limit: 3, Newest: true}, "0/1 3 x1, 0/2 5 x1, 1/2 4 x1"},
			{Filter{Limit: 99}, "0/0 1 x1, 0/1 3 x1, 0/2 5 x1, 1/0 0 x1, 1/1 2 x1, 1/2 4 x1"},
			{Filter{Since: start.Add(time.Minute), Until: start.Add(3 * time.Minute)}, "0/0 1 x1, 1/1 2 x1"},
		} {
			if got, _ := r.list(c.f); strings.Join(got, ", ") != c.want {
				t.Errorf("%+v: %q, want %q", c.f, got, c.want)
			}
		}
	})
}

func TestListEndsWithItsCaller(t *testing.T) {
	withRig(t, func(r *rig) {
		r.file(0, Filing{Envelope: r.job("a", "1", "x"), Disposition: Explicit})
		stop := errors.New("stop")
		if _, err := r.client.List(r.ctx, Filter{}, func(*Letter) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		if _, err := r.client.List(ctx, Filter{}, func(*Letter) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// A letter filed in a transaction counts when that is committed, and the markers at the end do not keep a listing waiting.
func TestListTransactions(t *testing.T) {
	withRig(t, func(r *rig) {
		txn, err := kgo.NewClient(append(r.opts[:2:2], kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer txn.Close()
		for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			key, value, headers := Record(&Filing{Envelope: r.job("a", fmt.Sprint(i), "x"), Disposition: Explicit, Now: time.Now()})
			rec := &kgo.Record{Topic: letters, Key: key, Value: value}
			for _, h := range headers {
				rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
			}
			if err := errors.Join(txn.BeginTransaction(), txn.ProduceSync(r.ctx, rec).FirstErr(), txn.EndTransaction(r.ctx, end)); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := r.list(Filter{}); !slices.Equal(got, []string{"0/0 0 x1"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestMissingTopic(t *testing.T) {
	withRig(t, func(r *rig) {
		c, err := Open(r.opts, "sms", "mailer")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, listed := c.List(r.ctx, Filter{}, nil)
		_, shown := c.Show(r.ctx, "0/0")
		for _, err := range []error{listed, shown} {
			if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "sms.mailer.dlq does not exist; `waybill setup apply`") {
				t.Errorf("error %v", err)
			}
		}
	})
}

// Without an audit topic letters can be listed all the same.
func TestListWithoutAudit(t *testing.T) {
	withRig(t, func(r *rig) {
		if _, err := r.admin().DeleteTopics(r.ctx, "mailer.audit"); err != nil {
			t.Fatal(err)
		}
		r.file(0, Filing{Envelope: r.job("a", "1", "x"), Disposition: Explicit})
		if got, _ := r.list(Filter{Pending: true}); len(got) != 1 {
			t.Errorf("%q", got)
		}
		req := request()
		req.All = true
		if _, err := r.client.Redrive(r.ctx, req); !errors.Is(err, kerr.UnknownTopicOrPartition) || len(r.copies()) != 0 {
			t.Errorf("a redrive that cannot be audited: %v", err)
		}
	})
}

func TestShow(t *testing.T) {
	withRig(t, func(r *rig) {
		r.file(1, Filing{Envelope: r.job("a", "0", "x"), Disposition: Explicit})
		ref := r.file(1, Filing{Envelope: r.job("a", "1", "x"), Disposition: Exhausted, Text: "boom", Attempts: 3})
		foreign := r.put(1, nil, nil, nil)
		l, err := r.client.Show(r.ctx, ref)
		if err != nil || l.ID != "1" || l.Ref() != ref || l.Text != "boom" || l.Attempts != 3 || l.Filed.IsZero() {
			t.Errorf("%+v, %v", l, err)
		}
		if _, err := r.client.Show(r.ctx, foreign); !errors.Is(err, ErrNotLetter) {
			t.Errorf("foreign: %v", err)
		}
		if _, err := r.client.Show(r.ctx, "x"); err == nil {
			t.Error("a bad ref is accepted")
		}
		if _, err := r.admin().DeleteRecords(r.ctx, kadm.Offsets{letters: {1: {Topic: letters, Partition: 1, At: 1}}}); err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{"1/0", "1/99", "0/0", "7/0"} {
			if _, err := r.client.Show(r.ctx, ref); !errors.Is(err, ErrNoLetter) {
				t.Errorf("%s: %v", ref, err)
			}
		}
	})
}

func TestExport(t *testing.T) {
	withRig(t, func(r *rig) {
		r.file(0, Filing{Envelope: r.job("a", "1", `{"html":"<b>"}`), Disposition: Explicit, Code: job.CodeDead})
		r.file(1, Filing{Envelope: r.job("b", "2", "plain"), Disposition: Exhausted})
		var out bytes.Buffer
		sum, err := r.client.Export(r.ctx, Filter{}, &out)
		if err != nil || sum.Listed != 2 {
			t.Fatalf("%+v, %v", sum, err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"payload":{"html":"<b>"}`) || !strings.Contains(lines[1], `"payload_text":"plain"`) {
			t.Fatalf("%q", lines)
		}
		for _, line := range lines {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	})
}
