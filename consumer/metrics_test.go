package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/telemetry"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// scrape is everything a registry says, by name.
type scrape map[string]*dto.MetricFamily

func gather(t *testing.T, g prometheus.Gatherer) scrape {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Error(err)
	}
	out := scrape{}
	for _, f := range families {
		out[f.GetName()] = f
	}
	return out
}

// sum adds up the samples that have the labels, given as "name=value"; of a histogram its count.
func (s scrape) sum(f *telemetry.Family, labels ...string) (total float64) {
	for _, m := range s[f.Name].GetMetric() {
		have := map[string]bool{}
		for _, l := range m.GetLabel() {
			have[l.GetName()+"="+l.GetValue()] = true
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
			continue
		}
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return total
}

// balance is I8 as users see it.
func (s scrape) balance(t *testing.T, when string) {
	t.Helper()
	read, settled := s.sum(telemetry.RecordsRead), s.sum(telemetry.Settled)
	released, held := s.sum(telemetry.Released), s.sum(telemetry.Held)
	if read != settled+released+held {
		t.Errorf("%s: %v records read, %v settled, %v released, %v held", when, read, settled, released, held)
	}
}

// agree compares what is shown with the catalogue, and the values of labels that come from closed sets with the page.
func (s scrape) agree(t *testing.T) {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	open := []string{"kind", "group", "topic", "partition", "tier", "class", "code"}
	seen := map[string]bool{}
	for _, f := range telemetry.Families() {
		got := s[f.Name]
		if seen[f.Name] = true; got == nil {
			t.Errorf("%s is not shown", f.Name)
			continue
		}
		if got.GetHelp() != f.Help || strings.ToLower(got.GetType().String()) != string(f.Type) {
			t.Errorf("%s is shown as a %v: %s", f.Name, got.GetType(), got.GetHelp())
		}
		for _, m := range got.GetMetric() {
			var names []string
			for _, l := range m.GetLabel() {
				if names = append(names, l.GetName()); !slices.Contains(open, l.GetName()) && !strings.Contains(string(page), "`"+l.GetValue()+"`") {
					t.Errorf("%s: the page does not say what %s=%q is", f.Name, l.GetName(), l.GetValue())
				}
			}
			if want := slices.Sorted(slices.Values(append([]string{"group"}, f.Labels...))); !slices.Equal(names, want) {
				t.Errorf("%s has the labels %v, want %v", f.Name, names, want)
			}
		}
	}
	for name := range s {
		if !seen[name] {
			t.Errorf("%s is shown and not in the catalogue", name)
		}
	}
}

// handler is what a handler knows of itself: how often each of its attempts ended how, and how long they took.
type handler struct {
	mu   sync.Mutex
	ends map[string]int // outcome and code
	took time.Duration
}

// note counts an attempt of the shop's handler.
func (h *handler) note(took time.Duration, outcome, code string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends["outcome="+outcome+" code="+code]++
	h.took += took
}

func (h *handler) handle(ctx context.Context, j *job.Job[note]) (err error) {
	start := time.Now()
	outcome, code := "done", "none"
	defer func() { h.note(time.Since(start), outcome, code) }()
	time.Sleep(7 * time.Millisecond)
	switch text := j.Args.Text; {
	case text == "retry" && j.Attempt < 3, text == "exhaust":
		outcome, code = "retry", "handler_error"
		return errors.New("not yet")
	case text == "panic" && j.Attempt < 2:
		outcome, code = "retry", "panic"
		panic("no")
	case text == "deadline" && j.Attempt < 2:
		outcome, code = "retry", "deadline"
		<-ctx.Done()
		return ctx.Err()
	case text == "snooze" && j.Hop == 0:
		outcome, code = "snooze", "snoozed"
		return job.Snooze(time.Minute)
	case text == "dead":
		outcome, code = "dead", "dead"
		return job.Dead(errors.New("never"))
	case text == "discard":
		outcome, code = "discard", "discarded"
		return job.Discard("superseded")
	case text == "slow":
		time.Sleep(time.Hour)
	}
	return nil
}

func (h *handler) mux() *processor.Mux {
	mux := processor.NewMux()
	processor.Handle(mux, h.handle, job.Policy{Timeout: time.Minute, MaxAttempts: 4})
	return mux
}

// end is how many records a topic ever had.
func (r *rig) end(topic string) (n int) {
	r.t.Helper()
	ends, err := r.admin.ListEndOffsets(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
	return n
}

// Jobs of every end go through an instance; each metric is compared with what the handler, the topics and the checker's
// arithmetic say.
func TestMetricsOfEveryEnd(t *testing.T) {
	within(t, func(r *rig) {
		h, reg := &handler{ends: map[string]int{}}, prometheus.NewRegistry()
		c := r.start("a", func(c *consumer.Config) { c.Mux, c.Metrics = h.mux(), reg })
		with := func(partition int32, id, text string, headers ...kgo.RecordHeader) {
			headers = append(headers, kgo.RecordHeader{Key: job.HeaderID, Value: []byte(id)})
			if !slices.ContainsFunc(headers, func(h kgo.RecordHeader) bool { return h.Key == job.HeaderKind }) {
				headers = append(headers, kgo.RecordHeader{Key: job.HeaderKind, Value: []byte("note")})
			}
			r.produce(&kgo.Record{Topic: topicName, Partition: partition, Key: []byte("key-" + id), Value: []byte(text), Headers: headers})
		}
		text := func(s string) string { return fmt.Sprintf(`{"text":%q}`, s) }
		header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
		for p := range int32(4) {
			for _, s := range []string{"done", "retry", "exhaust", "panic", "deadline", "snooze", "dead", "discard"} {
				r.put(p, s, s)
			}
			time.Sleep(time.Second)
			r.put(p, "done", "done")                                                                            // duplicate
			r.put(p, "done", "other")                                                                           // conflict
			with(p, "bytes", "{")                                                                               // undecodable
			with(p, "late", text("x"), header(job.HeaderExpires, job.FormatTime(time.Now().Add(-time.Second)))) // expired
			with(p, "soon", text("x"), header(job.HeaderAt, job.FormatTime(time.Now().Add(5*time.Minute))))     // scheduled
			with(p, "stranger", text("x"), header(job.HeaderKind, "stranger"))                                  // deferred
			with(p, "broken", text("x"), header(job.HeaderVersion, "one"))                                      // malformed
			with(p, "type", text("x"), header(job.HeaderContentType, "text/plain"))                             // undecodable
			gather(t, reg).balance(t, "under way")
		}
		time.Sleep(2 * time.Hour)
		s := gather(t, reg)
		s.balance(t, "at the end")

		want := func(n float64, f *telemetry.Family, labels ...string) {
			t.Helper()
			if got := s.sum(f, append(labels, "group=mailer")...); got != n {
				t.Errorf("%s %v is %v, want %v", f.Name, labels, got, n)
			}
		}
		attempts := 0
		for _, end := range slices.Sorted(maps.Keys(h.ends)) {
			want(float64(h.ends[end]), telemetry.Attempts, append(strings.Fields(end), "kind=note")...)
			attempts += h.ends[end]
		}
		want(float64(4*1), telemetry.Attempts, "code=decode", "outcome=dead")
		want(float64(4*1), telemetry.Attempts, "code=content_type", "outcome=dead")
		want(float64(attempts+4*2), telemetry.Attempts)
		want(float64(attempts+4*2), telemetry.Took)
		want(float64(attempts+4*2), telemetry.QueueDelay)
		var took float64
		for _, m := range s[telemetry.Took.Name].GetMetric() {
			took += m.GetHistogram().GetSampleSum()
		}
		if math.Abs(took-h.took.Seconds()) > 1e-6 {
			t.Errorf("attempts took %v s, the handler says %v", took, h.took)
		}
		for end, n := range map[string]int{"done": 6, "retried": 2 + 3 + 1 + 1, "snoozed": 1, "dead": 5, "discarded": 1, "expired": 1,
			"duplicate": 1, "conflict": 1, "stale": 0} {
			want(float64(4*n), telemetry.Settled, "end="+end)
		}
		for d, n := range map[string]int{"explicit": 1, "exhausted": 1, "undecodable": 2, "malformed": 1, "conflict": 1, "unknown": 0, "too_old": 0, "too_large": 0} {
			want(float64(4*n), telemetry.Letters, "disposition="+d)
		}
		want(float64(len(r.values(topicName+"."+groupName+".dlq"))), telemetry.Letters)
		want(s.sum(telemetry.Settled, "end=deferred"), telemetry.Settled, "kind=unknown")
		for _, reason := range []string{"scheduled", "deferred"} { // through several tiers
			if n := s.sum(telemetry.Hops, "reason="+reason); n < 4*3 {
				t.Errorf("%v hops are %s", n, reason)
			}
		}
		copies := 0
		for _, tier := range []string{"10s", "2m", "30m"} {
			n := r.end(topicName + "." + groupName + ".retry." + tier)
			want(float64(n), telemetry.Hops, "tier="+tier)
			copies += n
		}
		for _, reason := range []string{"retried", "snoozed", "scheduled", "deferred"} {
			want(s.sum(telemetry.Settled, "end="+reason), telemetry.Hops, "reason="+reason)
		}
		want(4*16, telemetry.RecordsRead, "source=topic")
		want(float64(copies), telemetry.RecordsRead, "source=tier")
		want(4, telemetry.Lag, "state=waiting")
		want(0, telemetry.Lag, "state=ready")
		want(0, telemetry.Lag, "state=held")
		want(4, telemetry.Held)
		want(4, telemetry.Tasks, "phase=running")
		want(4, telemetry.Tasks)
		want(1, telemetry.Ready)
		want(100, telemetry.Slots, "class=default")
		want(0, telemetry.SlotsBusy)
		want(0, telemetry.Lost)
		want(256<<20, telemetry.Budget)
		want(float64(len(r.values(topicName+"."+groupName+".dlq"))), telemetry.Write, "destination=dead_letters")
		want(float64(copies), telemetry.Write, "destination=tier")
		want(4*2, telemetry.Write, "destination=audit")
		for _, f := range []*telemetry.Family{telemetry.Tick, telemetry.Commit, telemetry.Receipt} {
			if s.sum(f) == 0 {
				t.Errorf("%s is 0", f.Name)
			}
		}
		s.agree(t)
		c.clean()
		if left := gather(t, reg); len(left) > 0 {
			t.Errorf("metrics are left after the end: %v", slices.Collect(maps.Keys(left)))
		}
	})
}

// What runs, waits for a worker, waits behind its key and is not due is told apart; what a task lets go is released and not
// forgotten; what pauses a partition has its name.
func TestMetricsOfLag(t *testing.T) {
	within(t, func(r *rig) {
		hold := make(chan struct{})
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			if j.Args.Text == "later" && j.Attempt == 1 {
				return job.RetryAfter(20*time.Minute, errors.New("later"))
			}
			<-hold
			return nil
		}
		reg := prometheus.NewRegistry()
		a := r.start("a", func(c *consumer.Config) { c.Workers, c.Metrics, c.SessionTimeout = 2, reg, 10*time.Second })
		s := gather(t, reg)
		want := func(n float64, f *telemetry.Family, labels ...string) {
			t.Helper()
			if got := s.sum(f, labels...); got != n {
				t.Errorf("%s %v is %v, want %v", f.Name, labels, got, n)
			}
		}
		if n := len(s[telemetry.Lag.Name].GetMetric()); n != 3*4 {
			t.Errorf("%d series of lag, want three a task", n)
		}
		want(0, telemetry.Lag, "state=ready")
		want(0, telemetry.Paused)
		for i := range 5 {
			r.put(1, fmt.Sprint("later-", i), "later")
		}
		time.Sleep(time.Second)
		for range 3 { // one key each, since the key is made from the id: duplicates wait behind the first
			for i := range 4 {
				r.put(2, fmt.Sprint("job-", i), "")
			}
		}
		time.Sleep(time.Minute)
		s = gather(t, reg)
		s.balance(t, "under load")
		want(5, telemetry.Lag, "state=waiting", "partition=1")
		want(4, telemetry.Lag, "state=ready", "partition=2")
		want(8, telemetry.Lag, "state=held", "partition=2")
		want(17, telemetry.Lag)
		want(17, telemetry.Held, "topic=jobs")
		want(2, telemetry.SlotsBusy, "class=default")
		want(2, telemetry.Slots, "class=default")
		want(2, telemetry.Queued, "class=default")
		want(5, telemetry.QueueDelay, "source=topic") // those that run are not counted before they have ended
		close(hold)
		time.Sleep(time.Minute)
		s = gather(t, reg)
		s.balance(t, "after it")
		want(5, telemetry.Lag)
		want(4, telemetry.Settled, "end=done")
		want(8, telemetry.Settled, "end=duplicate")
		if slow := s[telemetry.QueueDelay.Name]; slow == nil || s.sum(telemetry.Took) != 9 {
			t.Error("attempts that were held are not counted")
		}

		a.wire.cut()
		time.Sleep(11 * time.Second)
		s = gather(t, reg)
		want(0, telemetry.Ready)
		s.balance(t, "without a network")
		a.wire.heal()
		time.Sleep(time.Minute)
		s = gather(t, reg)
		want(0, telemetry.Paused)
		want(1, telemetry.Ready)
		s.balance(t, "after a cut")

		refusal := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1,
			Topic: topicName + "." + groupName + ".retry.30m"})
		r.put(3, "later-refused", "later")
		time.Sleep(10 * time.Second)
		s = gather(t, reg)
		want(1, telemetry.Paused, "reason=unacked_writes", "topic=jobs")
		want(4, telemetry.Paused)
		if s.sum(telemetry.WriteFailed, "destination=tier") < 5 || s.sum(telemetry.WriteFailed, "destination=receipts") != 0 {
			t.Errorf("failures: %v", s[telemetry.WriteFailed.Name])
		}
		refusal.Remove()
		time.Sleep(time.Minute)
		s = gather(t, reg)
		want(0, telemetry.Paused)
		s.balance(t, "after a refusal")
		a.clean()
	})
}

// A task that moves away takes what it holds along, and the counters stay.
func TestMetricsOfMoves(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(context.Context, *job.Job[note]) error {
			return job.RetryAfter(25*time.Minute, errors.New("later"))
		}
		regA, regB := prometheus.NewRegistry(), prometheus.NewRegistry()
		a := r.start("a", func(c *consumer.Config) { c.Metrics = regA })
		for p := range int32(4) {
			r.put(p, fmt.Sprint("job-", p), "")
		}
		time.Sleep(time.Minute)
		b := r.start("b", func(c *consumer.Config) { c.Metrics = regB })
		time.Sleep(time.Minute)
		s := gather(t, regA)
		s.balance(t, "a")
		for f, n := range map[*telemetry.Family]float64{telemetry.RecordsRead: 8, telemetry.Settled: 4, telemetry.Released: 2, telemetry.Held: 2, telemetry.Tasks: 2} {
			if got := s.sum(f); got != n {
				t.Errorf("a: %s is %v, want %v", f.Name, got, n)
			}
		}
		s = gather(t, regB)
		s.balance(t, "b")
		if s.sum(telemetry.Held) != 2 || s.sum(telemetry.RecordsRead) != 2 || s.sum(telemetry.Lag, "state=waiting") != 2 {
			t.Errorf("b has read %v records and holds %v", s.sum(telemetry.RecordsRead), s.sum(telemetry.Held))
		}
		b.clean()
		a.clean()
	})
}

// One registry takes an instance of a group once at a time, and again when the first has ended.
func TestMetricsRegistry(t *testing.T) {
	within(t, func(r *rig) {
		reg := prometheus.NewRegistry()
		with := func(to prometheus.Registerer) func(*consumer.Config) {
			return func(c *consumer.Config) { c.Metrics = to }
		}
		a := r.start("a", with(reg))
		b := r.launch("b", with(reg))
		if err := <-b.done; err == nil || !strings.Contains(err.Error(), `Metrics: the registry has the metrics of an instance of group "mailer" already`) {
			t.Errorf("a second instance: %v", err)
		}
		get := func(i *instance) (int, string) {
			w := httptest.NewRecorder()
			i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			return w.Code, w.Body.String()
		}
		if code, body := get(a); code != http.StatusOK || !strings.Contains(body, `waybill_ready{group="mailer"} 1`) {
			t.Errorf("/metrics: %d\n%s", code, body)
		}
		a.clean()

		two, reg := []*instance(nil), prometheus.NewRegistry() // one that never saw the metrics without that label
		for _, name := range []string{"c", "d"} {
			two = append(two, r.start(name, with(prometheus.WrapRegistererWith(prometheus.Labels{"member": name}, reg))))
		}
		s := gather(t, reg)
		if s.sum(telemetry.Ready, "member=c") != 1 || s.sum(telemetry.Ready, "member=d") != 1 || s.sum(telemetry.Tasks, "member=c", "phase=running") != 2 {
			t.Errorf("two members: %v", s[telemetry.Tasks.Name])
		}
		if code, _ := get(two[0]); code != http.StatusNotFound {
			t.Errorf("/metrics of a registry that cannot be read: %d", code)
		}
		for _, i := range two {
			i.clean()
		}

		var none *prometheus.Registry
		_, err := consumer.New(consumer.Config{Metrics: none})
		if err == nil || !strings.Contains(err.Error(), "Metrics: is a nil *prometheus.Registry") {
			t.Errorf("a nil registry: %v", err)
		}
	})
}
