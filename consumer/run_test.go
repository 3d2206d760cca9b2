package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Every way a job can end, through one instance.
func TestEveryEnd(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			var native *kgo.Record
			if !j.As(&native) || native.Offset != j.Offset || string(native.Key) != string(j.Key) {
				t.Errorf("the record behind %v is %v", j.Message, native)
			}
			switch {
			case j.Args.Text == "retry" && j.Attempt < 3:
				return errors.New("not yet")
			case j.Args.Text == "snooze" && j.Hop == 0:
				return job.Snooze(time.Minute)
			case j.Args.Text == "panic" && j.Attempt < 2:
				panic("no")
			case j.Args.Text == "dead":
				return job.Dead(errors.New("never"))
			case j.Args.Text == "discard":
				return job.Discard("superseded")
			}
			return nil
		}
		c := r.start("a")
		texts := []string{"done", "retry", "snooze", "panic", "dead", "discard"}
		for i, text := range texts {
			for p := range int32(4) {
				r.put(p, fmt.Sprintf("%s-%d", text, i), text)
			}
		}
		time.Sleep(30 * time.Minute)
		for i, runs := range []int{1, 3, 2, 2, 1, 1} {
			r.expectRuns(fmt.Sprintf("%s-%d", texts[i], i), 4*runs)
		}
		if got := r.values(topicName + "." + groupName + ".dlq"); len(got) != 4 {
			t.Errorf("%d letters, want 4", len(got))
		}
		audit := r.values(groupName + ".audit")
		if len(audit) != 4 || !strings.Contains(string(audit[0].Value), "superseded") {
			t.Errorf("%d audit entries, want 4", len(audit))
		}
		for p := range int32(4) {
			if at, meta := r.committed(topicName, p); at != 6 || meta != "wb1" {
				t.Errorf("partition %d is committed at %d (%q), want 6", p, at, meta)
			}
			states := map[dedupe.State]int{}
			for _, s := range r.receipts(p) {
				states[s]++
			}
			if states[dedupe.Done] != 4 || states[dedupe.Dead] != 1 || states[dedupe.Discarded] != 1 {
				t.Errorf("partition %d: receipts %v", p, states)
			}
		}
		for p, s := range c.tasks() {
			if s.Phase != "running" || s.Stats.Held != 0 || s.Receipts != 6 {
				t.Errorf("task %d: %+v", p, s)
			}
		}
		c.clean()
	})
}

// What is due between two ticks starts when it is due, of each of many tasks.
func TestDueBetweenTicks(t *testing.T) {
	const tick = 20 * time.Second
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			if d, err := time.ParseDuration(j.Args.Text); err == nil && j.Hop == 0 {
				return job.Snooze(d)
			}
			return nil
		}
		c := r.start("a", func(c *consumer.Config) { c.Tick = tick })
		time.Sleep(tick)
		waits := []time.Duration{5 * time.Second, 8 * time.Second, 6 * time.Second, 37 * time.Second}
		for p, d := range waits {
			r.put(int32(p), fmt.Sprint("p", p, "-"), d.String())
			r.put(int32(p), fmt.Sprint("p", p, "-later"), (d + 3*time.Second).String())
		}
		time.Sleep(2 * time.Minute)
		for p, d := range waits {
			for i, id := range []string{fmt.Sprint("p", p, "-"), fmt.Sprint("p", p, "-later")} {
				var runs []attempt
				for _, a := range r.attempts(id) {
					if a.id == id {
						runs = append(runs, a)
					}
				}
				if want := d + time.Duration(i)*3*time.Second; len(runs) != 2 || runs[1].start.Sub(runs[0].end) < want || runs[1].start.Sub(runs[0].end) > want+time.Second {
					t.Errorf("%s, to wait for %v: %+v", id, want, runs)
				}
			}
		}
		c.clean()
	})
}

// What runs when SIGTERM comes finishes; what waits is the next owner's; the group is left at once and not when the
// session has ended.
func TestDrain(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			if j.Args.Text == "slow" {
				time.Sleep(8 * time.Second)
			}
			return nil
		}
		one := func(c *consumer.Config) { c.Workers = 1 }
		a := r.start("a", one)
		r.put(0, "slow", "slow")
		time.Sleep(time.Second)
		for i := range 20 {
			r.put(int32(i%4), fmt.Sprint("job-", i), "")
		}
		time.Sleep(time.Second)
		start := time.Now()
		a.clean()
		if took := time.Since(start); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("Run returned after %v, want what the handler still needed", took)
		}
		if got := r.attempts(""); len(got) != 1 || got[0].id != "slow" || got[0].err != nil {
			t.Errorf("attempts: %+v", got)
		}
		if at, meta := r.committed(topicName, 0); at != 1 || meta != "wb1" {
			t.Errorf("partition 0 is committed at %d (%q), want 1", at, meta)
		}
		b := r.start("b", one)
		r.expectRuns("job-", 20)
		r.expectRuns("slow", 1)
		b.clean()
	})
}

// A handler that is not done when the drain timeout ends is cancelled, and its job runs again, no attempt burnt.
func TestDrainTimeout(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(ctx context.Context, j *job.Job[note]) error {
			if len(r.attempts("job")) > 0 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		a := r.start("a", func(c *consumer.Config) { c.DrainTimeout = 3 * time.Second })
		r.put(0, "job", "")
		time.Sleep(time.Second)
		start := time.Now()
		a.clean()
		if took := time.Since(start); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("Run returned after %v, want the drain timeout", took)
		}
		b := r.start("b")
		got := r.attempts("job")
		if len(got) != 2 || !errors.Is(got[0].err, context.Canceled) || got[1].number != 1 || got[1].who != "b" {
			t.Errorf("attempts: %+v", got)
		}
		b.clean()
	})
}

// A handler that does not return when cancelled keeps Run, but not the group: another owns the task meanwhile. Its success
// is in the log all the same.
func TestLateSuccess(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			time.Sleep(time.Minute)
			return nil
		}
		a := r.start("a", func(c *consumer.Config) { c.DrainTimeout = 3 * time.Second })
		b := r.start("b", func(c *consumer.Config) { c.DrainTimeout = 3 * time.Second })
		var mine int32
		for p := range a.epochs() {
			mine = p
		}
		at := r.put(mine, "job", "")
		time.Sleep(time.Second)
		a.cancel()
		time.Sleep(20 * time.Second)
		if _, ok := b.epochs()[mine]; !ok {
			t.Errorf("the task is not taken over while a handler hangs: %+v", b.tasks()[mine])
		}
		if len(a.done) > 0 {
			t.Error("Run returned before its handler")
		}
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		if s := r.receipts(mine)[at]; s != dedupe.Done {
			t.Errorf("the log says %v of a late success", s)
		}
		time.Sleep(2 * time.Minute)
		r.expectRuns("job", 2) // b ran it meanwhile: it could not know
		b.clean()
		c := r.start("c")
		time.Sleep(2 * time.Minute)
		r.expectRuns("job", 2)
		c.clean()
	})
}

// A late success alone is enough: whoever owns the task next does not run the job again.
func TestLateSuccessIsRead(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(context.Context, *job.Job[note]) error { time.Sleep(time.Minute); return nil }
		a := r.start("a", func(c *consumer.Config) { c.DrainTimeout = 3 * time.Second })
		r.put(1, "job", "")
		time.Sleep(time.Second)
		a.clean()
		if at, _ := r.committed(topicName, 1); at > 0 {
			t.Errorf("committed at %d: the late success is not its owner's to commit", at)
		}
		b := r.start("b")
		time.Sleep(time.Minute)
		r.expectRuns("job", 1)
		if at, _ := r.committed(topicName, 1); at != 1 {
			t.Errorf("committed at %d, want 1", at)
		}
		b.clean()
	})
}

// A rebalance that comes while an instance stops waits for what still runs there: two owners never run one job at a time.
func TestRebalanceWhileStopping(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(context.Context, *job.Job[note]) error { time.Sleep(15 * time.Second); return nil }
		a := r.start("a")
		for p := range int32(4) {
			r.put(p, fmt.Sprint("job-", p), "")
		}
		time.Sleep(time.Second)
		a.cancel()
		b := r.start("b")
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		r.expectRuns("job-", 4)
		b.clean()
	})
}

func TestRunTwice(t *testing.T) {
	within(t, func(r *rig) {
		a := r.start("a")
		if err := a.Run(r.t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("the second Run: %v", err)
		}
		a.clean()
		if err := a.Run(r.t.Context()); err == nil {
			t.Error("a third Run works")
		}
	})
}

func TestHandler(t *testing.T) {
	within(t, func(r *rig) {
		hold := make(chan struct{})
		r.handle = func(context.Context, *job.Job[note]) error { <-hold; return nil }
		get := func(i *instance, path string) (int, string) {
			w := httptest.NewRecorder()
			i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			return w.Code, w.Body.String()
		}
		expect := func(i *instance, path string, code int, part string) {
			t.Helper()
			if got, body := get(i, path); got != code || !strings.Contains(body, part) {
				t.Errorf("%s: %d %s, want %d with %q", path, got, body, code, part)
			}
		}
		a := r.launch("a")
		expect(a, "/readyz", http.StatusServiceUnavailable, "not yet a member")
		expect(a, "/healthz", http.StatusOK, "ok")
		expect(a, "/status", http.StatusOK, `"group":"mailer"`)
		time.Sleep(settled)
		expect(a, "/readyz", http.StatusOK, "ready")
		r.put(0, "job", "")
		time.Sleep(time.Second)
		expect(a, "/status", http.StatusOK, `"pools":[{"class":"default","workers":100,"running":1,"waiting":0}]`)
		expect(a, "/status", http.StatusOK, `"instance":"a"`)
		expect(a, "/nothing", http.StatusNotFound, "")
		a.cancel()
		time.Sleep(time.Second)
		expect(a, "/readyz", http.StatusServiceUnavailable, "draining")
		expect(a, "/healthz", http.StatusOK, "")
		close(hold)
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		expect(a, "/status", http.StatusOK, `"ready":"draining"`)

		// A member without tasks is ready: there are more instances than partitions.
		var spare []*instance
		for i := range 6 {
			spare = append(spare, r.launch(fmt.Sprint("b", i)))
		}
		time.Sleep(time.Minute)
		for _, i := range spare {
			expect(i, "/readyz", http.StatusOK, "ready")
		}
		for _, i := range spare {
			i.clean()
		}
	})
}
