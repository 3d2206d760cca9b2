package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
)

// A job of three steps: one attempt fails in the second, one dies with its instance in the third. Each step that is done
// stays done, wherever the job goes on.
func TestStepsSurvive(t *testing.T) {
	within(t, func(r *rig) {
		calls := map[string]int{}
		var hang chan struct{}
		r.handle = func(ctx context.Context, j *job.Job[note]) error {
			for _, name := range []string{"one", "two", "three"} {
				_, err := job.Step(ctx, j.Message, name, func(context.Context) (int, error) {
					r.mu.Lock()
					calls[name]++
					n := calls[name]
					r.mu.Unlock()
					if name == "two" && n == 1 {
						return 0, errors.New("down")
					}
					if name == "three" && n == 1 {
						close(hang)
						<-ctx.Done()
						return 0, ctx.Err()
					}
					return n, nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		hang = make(chan struct{})
		a := r.start("a")
		r.put(1, "j", "")
		<-hang
		a.wire.cut() // as if killed
		b := r.start("b")
		time.Sleep(5 * time.Minute)
		b.clean()
		_ = a.stop()
		r.mu.Lock()
		defer r.mu.Unlock()
		if calls["one"] != 1 || calls["two"] != 2 || calls["three"] != 2 {
			t.Errorf("%v", calls)
		}
	})
}

func TestCheckpointSurvivesAnInstance(t *testing.T) {
	within(t, func(r *rig) {
		began := make(chan int, 10)
		r.handle = func(ctx context.Context, j *job.Job[note]) error {
			var line int
			if _, err := j.Resume(&line); err != nil {
				return err
			}
			began <- line
			for ; line < 10; line++ {
				if err := j.Checkpoint(ctx, line); err != nil {
					return err
				}
				if line == 6 && j.Correlation == "" {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(time.Minute):
					}
				}
			}
			return nil
		}
		a := r.start("a")
		r.put(0, "j", "")
		if at := <-began; at != 0 {
			t.Errorf("began at line %d", at)
		}
		time.Sleep(time.Second)
		a.wire.cut()
		b := r.start("b")
		if at := <-began; at != 6 {
			t.Errorf("went on at line %d, want 6", at)
		}
		time.Sleep(2 * time.Minute)
		b.clean()
		_ = a.stop()
	})
}

// A chain of three jobs, the first of which runs twice: what it emits is emitted again, and runs once.
func TestEmittedJobsRunOnce(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			n := len(j.Args.Text)
			if n == 3 {
				return nil
			}
			if _, err := j.Emit(note{j.Args.Text + "x"}, &job.Options{Key: []byte("key")}); err != nil {
				return err
			}
			if n == 1 && j.Attempt == 1 {
				return errors.New("after it has emitted")
			}
			return nil
		}
		a := r.start("a")
		r.put(2, "first", "x")
		time.Sleep(time.Minute)
		a.clean()
		if got := r.values(topicName); len(got) != 3 {
			t.Fatalf("%d records, want 3: a failed attempt emits nothing", len(got))
		}
		// The group goes back to the start, with its receipts lost: everything runs again, and emits what it emitted.
		if _, err := r.admin.DeleteGroup(r.t.Context(), groupName); err != nil {
			t.Fatal(err)
		}
		other := func(c *consumer.Config) { c.Group = "another" }
		b := r.start("b", other)
		time.Sleep(time.Minute)
		b.clean()
		ids := map[string]int{}
		for _, rec := range r.values(topicName) {
			for _, h := range rec.Headers {
				if h.Key == job.HeaderID {
					ids[string(h.Value)]++
				}
			}
		}
		if len(ids) != 3 {
			t.Errorf("ids of all that was enqueued: %v", ids)
		}
		runs := map[string]int{}
		for _, a := range r.attempts("") {
			if a.who == "b" && a.err == nil {
				runs[a.id]++
			}
		}
		for id, n := range runs {
			if n != 1 {
				t.Errorf("%s was done %d times", id, n)
			}
		}
	})
}

// What cannot be enqueued files the job that emits it, what is not taken holds it back.
func TestEmittedJobsThatAreRefused(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			switch j.Args.Text {
			case "large":
				_, err := j.EmitRaw("note", make([]byte, 3<<20), "", nil)
				return err
			case "expired":
				_, err := j.Emit(note{}, &job.Options{Expires: time.Now().Add(-time.Hour)})
				return err
			case "missing":
				_, err := j.Emit(note{}, &job.Options{Topic: "elsewhere"})
				return err
			}
			return nil
		}
		a := r.start("a")
		r.put(0, "1", "large")
		r.put(1, "2", "expired")
		r.put(2, "3", "missing")
		time.Sleep(time.Minute)
		var texts []string
		for _, l := range r.values(topicName + "." + groupName + ".dlq") {
			for _, h := range l.Headers {
				if h.Key == job.HeaderError {
					texts = append(texts, string(h.Value))
				}
			}
		}
		if len(texts) != 2 || !strings.HasPrefix(texts[0], "too_large: ") || !strings.HasPrefix(texts[1], "dead: ") || !strings.Contains(texts[1], "Expires") {
			t.Errorf("letters: %v", texts)
		}
		if at, _ := r.committed(topicName, 2); at != 0 {
			t.Errorf("committed %d although what the job emitted stands nowhere", at)
		}
		if _, err := r.admin.CreateTopics(r.t.Context(), 1, 1, nil, "elsewhere"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := r.values("elsewhere"); len(got) == 0 {
			t.Error("the emitted job never came")
		}
		if at, _ := r.committed(topicName, 2); at != 1 {
			t.Errorf("committed %d, want 1", at)
		}
		a.clean()
	})
}
