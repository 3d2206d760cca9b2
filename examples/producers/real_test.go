package producers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

func TestMain(m *testing.M) {
	code := realkafka.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience bounds every wait.
const patience = time.Minute

const partitions = 12

// line is one job as all languages are told of it.
type line struct {
	kind, key, id, payload string
	at                     time.Time
}

func (l line) String() string {
	at := ""
	if !l.at.IsZero() {
		at = l.at.Format("2006-01-02T15:04:05.999999Z07:00")
	}
	return strings.Join([]string{l.kind, l.key, l.id, l.payload, at}, "\t")
}

// row is what a language says of a job it enqueued.
type row struct {
	id, identity      string
	partition, offset string
}

// language enqueues jobs.
type language struct {
	name    string
	enqueue func(t *testing.T, lines []line) []row
}

// program is a producer that reads lines and writes rows.
func program(command func(t *testing.T) *exec.Cmd) func(*testing.T, []line) []row {
	return func(t *testing.T, lines []line) []row {
		var in, out, said bytes.Buffer
		for _, l := range lines {
			fmt.Fprintln(&in, l)
		}
		cmd := command(t)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &said
		if err := cmd.Run(); err != nil {
			t.Errorf("%v: %v\n%s", cmd.Args, err, said.String())
			return nil
		}
		var rows []row
		for l := range strings.Lines(out.String()) {
			f := strings.Split(strings.TrimRight(l, "\r\n"), "\t")
			if len(f) != 4 {
				t.Errorf("%v printed %q", cmd.Args, l)
				return nil
			}
			rows = append(rows, row{f[0], f[1], f[2], f[3]})
		}
		return rows
	}
}

// inGo is the producer that the others are held against.
func inGo(p *producer.Producer) func(*testing.T, []line) []row {
	return func(t *testing.T, lines []line) []row {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var rows []row
		for _, l := range lines {
			o := job.Options{ID: l.id, DeterministicID: l.id == "", At: l.at}
			if l.key != "" {
				o.Key = []byte(l.key)
			}
			e, err := p.EnqueueRaw(ctx, l.kind, []byte(l.payload), job.JSON.ContentType(), &o)
			if err != nil {
				t.Error(err)
				return nil
			}
			key := o.Key
			if key == nil {
				key = []byte(e.ID)
			}
			rows = append(rows, row{e.ID, job.IdentityOf(l.kind, key, e.ID).String(), fmt.Sprint(e.Partition), fmt.Sprint(e.Offset)})
		}
		return rows
	}
}

type welcome struct {
	UserID string `json:"user_id"`
}

func (welcome) Kind() string { return "email.welcome" }

// rig is a job topic with one instance that handles its jobs, and the languages that enqueue them.
type rig struct {
	t         *testing.T
	topic     string
	group     string
	opts      []kgo.Opt
	admin     *kadm.Client
	languages []language
	consumer  *consumer.Consumer

	mu  sync.Mutex
	ran map[string]int // how often the handler ran, by idempotency key
}

func newRig(t *testing.T) *rig {
	c := realkafka.Shared(t)
	r := &rig{t: t, topic: fmt.Sprintf("languages-%d", time.Now().UnixNano()), opts: c.ClientOpts(), ran: map[string]int{}}
	r.group = r.topic + "-group"
	brokers := strings.Join(c.Addrs(), ",")
	admin, err := kadm.NewOptClient(r.opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	r.admin = admin
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, r.topic); err != nil {
		t.Fatal(err)
	}
	p, err := producer.New(producer.Config{Brokers: c.Addrs(), Topic: r.topic})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r.languages = []language{{"go", inGo(p)},
		{"java", program(func(t *testing.T) *exec.Cmd { return realkafka.Java(t, "java/WaybillProducer.java", brokers, r.topic) })}}
	if py := python(t); py == "" {
		t.Run("python", func(t *testing.T) { t.Skipf("the Python producer is left out: %s=none", pythonEnv) })
	} else {
		r.languages = append(r.languages, language{"python", program(func(t *testing.T) *exec.Cmd {
			return exec.CommandContext(t.Context(), py, "python/waybill_producer.py", brokers, r.topic)
		})})
	}
	r.consume(c.Addrs())
	return r
}

// consume runs the instance until the end of the test.
func (r *rig) consume(brokers []string) {
	mux := processor.NewMux()
	processor.Handle(mux, func(_ context.Context, j *job.Job[welcome]) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ran[j.IdempotencyKey()]++
		return nil
	}, job.Policy{})
	c, err := consumer.New(consumer.Config{Brokers: brokers, Group: r.group, Topics: []string{r.topic}, Mux: mux, Setup: consumer.Create,
		Heartbeat: 500 * time.Millisecond}) // the session is long: losing it could run a job again
	if err != nil {
		r.t.Fatal(err)
	}
	r.consumer = c
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(func() { end(); running.Wait() })
}

// all has every language enqueue the same jobs at once, and returns what each said, which is all there must be.
func (r *rig) all(lines []line) map[string][]row {
	said := make([][]row, len(r.languages))
	var wg sync.WaitGroup
	for i, l := range r.languages {
		wg.Go(func() { said[i] = l.enqueue(r.t, lines) })
	}
	wg.Wait()
	out := map[string][]row{}
	for i, l := range r.languages {
		if len(said[i]) != len(lines) {
			r.t.Fatalf("%s enqueued %d of %d jobs", l.name, len(said[i]), len(lines))
		}
		out[l.name] = said[i]
	}
	return out
}

// settled waits until n records stand in the job topic and all are committed.
func (r *rig) settled(n int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		var committed int64
		offsets, err := r.admin.FetchOffsets(ctx, r.group)
		if err == nil {
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.Topic == r.topic {
					committed += max(o.At, 0)
				}
			})
			if committed == n {
				return
			}
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			r.t.Fatalf("%d of %d records are committed: %v", committed, n, err)
		}
	}
}

// read returns a topic whole.
func (r *rig) read(topic string) (out []*kgo.Record) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	ends, err := r.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	cl, err := kgo.NewClient(append(slices.Clone(r.opts), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	for int64(len(out)) < left {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, f.Records()...)
	}
	return out
}

// jobs are lines with what languages may disagree about: text beyond ASCII, keys at the ends of murmur2's four bytes and of
// a one-byte length, ids given and made, no key, times.
func jobs() []line {
	var lines []line
	add := func(key, id, user string) *line {
		lines = append(lines, line{kind: "email.welcome", key: key, id: id, payload: fmt.Sprintf(`{"user_id":%q}`, user)})
		return &lines[len(lines)-1]
	}
	for i := range 20 {
		add(fmt.Sprint("tenant-", i), fmt.Sprint("order-", i), fmt.Sprint("u", i))
	}
	for i, key := range []string{"a", "ab", "abc", "abcd", "abcde", "ключ", "鍵", "Ł", "🔑", strings.Repeat("x", 126), strings.Repeat("x", 127), strings.Repeat("é", 100)} {
		add(key, "", fmt.Sprint("v", i))
		add(key, "заказ "+fmt.Sprint(i), "Łódź")
	}
	for i := range 10 {
		add("", "", fmt.Sprint("w", i))
		add("", fmt.Sprint("alone-", i), "w")
	}
	add("t", strings.Repeat("i", 512), "long")
	for i, at := range []time.Time{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC),
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 19800))} {
		add("scheduled", fmt.Sprint("at-", i), "s").at = at
	}
	return lines
}

// A job that every language enqueues has one partition and one identity and is run once; other bytes under the same id
// are a conflict, whoever sends them.
func TestRealLanguages(t *testing.T) {
	r := newRig(t)
	lines := jobs()
	said := r.all(lines)
	want := said["go"]
	for name, rows := range said {
		for i, got := range rows {
			if got.offset = want[i].offset; got != want[i] {
				t.Errorf("%s of %q: %+v, want %+v", name, lines[i], got, want[i])
			}
		}
	}
	total := int64(len(lines) * len(r.languages))
	r.settled(total)
	r.once(want)
	r.same(lines)

	// Each language sends another payload under the id of a job that all have sent: one space more is another payload.
	var others []line
	for i, l := range r.languages {
		other := lines[i]
		other.payload = strings.Replace(other.payload, ":", ": ", 1)
		if l.enqueue(t, []line{other}) == nil {
			t.FailNow()
		}
		others = append(others, other)
	}
	r.settled(total + int64(len(others)))
	r.once(want)
	r.conflicts(others)
	for _, task := range r.consumer.Status().Tasks {
		if task.Stats.Misrouted != 0 {
			t.Errorf("%d records of partition %d belong elsewhere", task.Stats.Misrouted, task.Partition)
		}
	}
}

// once sees that the handler ran once for each of these jobs, under the identity the languages know, and for no other.
func (r *rig) once(jobs []row) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range jobs {
		if n := r.ran[j.identity]; n != 1 {
			r.t.Errorf("%s (%s) ran %d times", j.id, j.identity, n)
		}
	}
	if len(r.ran) != len(jobs) {
		r.t.Errorf("%d jobs ran of %d", len(r.ran), len(jobs))
	}
}

// same sees that the records of one job say the same, whoever wrote them, and what they were asked to.
func (r *rig) same(lines []line) {
	r.t.Helper()
	times := map[job.Identity]int{}
	said := map[string]*job.Envelope{}
	for _, rec := range r.read(r.topic) {
		var e job.Envelope
		job.Decode(&e, &job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value},
			rec.Headers, job.TrustJob, "")
		e.Identify(e.Kind, e.Kind)
		if e.Fault != "" || e.ContentType != "application/json" || len(e.Headers) != 0 || rec.Partition != job.PartitionOf(rec.Key, partitions) {
			r.t.Errorf("%v: fault %q, content type %q, headers %v", &e.Message, e.Fault, e.ContentType, e.Headers)
		}
		times[e.Identity]++
		if first, ok := said[e.ID]; !ok {
			said[e.ID] = &e
		} else if first.Identity != e.Identity || first.Digest != e.Digest || !first.At.Equal(e.At) {
			r.t.Errorf("two records of one job differ: %+v, %+v", first, e)
		}
	}
	for identity, n := range times {
		if n != len(r.languages) {
			r.t.Errorf("%d records of job %v", n, identity)
		}
	}
	for _, l := range lines {
		if e := said[l.id]; l.id != "" && (e == nil || string(e.Payload) != l.payload || !e.At.Equal(l.at) || l.key != "" && string(e.Key) != l.key) {
			r.t.Errorf("%q was written as %+v", l, e)
		}
	}
}

// conflicts sees that these payloads, and no others, were filed.
func (r *rig) conflicts(want []line) {
	r.t.Helper()
	var got, ids []string
	for _, rec := range r.read(retrytopics.DeadLetterTopic(r.topic, r.group)) {
		l, err := dlq.Decode(&job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}, rec.Headers)
		if err != nil {
			r.t.Fatal(err)
		}
		if l.Disposition != dlq.Conflict || l.Code != job.CodeConflict {
			r.t.Errorf("%s was filed as %s, %s: %s", l.ID, l.Disposition, l.Code, l.Text)
		}
		got = append(got, l.ID+" "+string(l.Payload))
	}
	for _, l := range want {
		ids = append(ids, l.id+" "+l.payload)
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		r.t.Errorf("the letters are %q, want %q", got, ids)
	}
}
