package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The poller waits for room only where waiting makes room.
func TestEasing(t *testing.T) {
	type shot struct {
		after   time.Duration
		held    int64
		crowded bool
	}
	for name, c := range map[string]struct {
		first, second []shot // what the shards say of two tasks, in the order of time
		want          time.Duration
	}{
		"there is room":        {first: []shot{{0, 10, false}}, want: 0},
		"room comes":           {first: []shot{{0, 9000, true}, {4 * time.Millisecond, 4000, false}}, want: 4 * time.Millisecond},
		"one gets on, slowly":  {first: []shot{{0, 9000, true}, {8 * time.Millisecond, 8000, true}, {18 * time.Millisecond, 4000, false}}, want: 18 * time.Millisecond},
		"one stands still":     {first: []shot{{0, 9000, true}}, want: easeStep},
		"one stops getting on": {first: []shot{{0, 9000, true}, {8 * time.Millisecond, 8000, true}}, want: 2 * easeStep},
		"the other runs dry": {first: []shot{{0, 9000, true}, {8 * time.Millisecond, 8000, true}},
			second: []shot{{0, 9000, true}, {3 * time.Millisecond, 0, false}}, want: 3 * time.Millisecond},
		"the other has little": {first: []shot{{0, 9000, true}, {8 * time.Millisecond, 8000, true}, {15 * time.Millisecond, 5000, false}},
			second: []shot{{0, 10, false}}, want: 15 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &easing{eased: make(chan struct{}, 1)}
				play := func(shots []shot) {
					if len(shots) == 0 {
						return
					}
					h := &handle{}
					e.fed(h, 100)
					began := time.Now()
					say := func(s shot) {
						time.Sleep(s.after - time.Since(began)) // virtual, as all of this: until the shard says it
						h.load.coming.Store(0)
						h.load.show(s.held, s.crowded, e)
					}
					say(shots[0])
					go func() {
						for _, s := range shots[1:] {
							say(s)
						}
					}()
				}
				play(c.first)
				play(c.second)
				began := time.Now()
				e.wait(t.Context())
				if took := time.Since(began); took != c.want {
					t.Errorf("waits %v, want %v", took, c.want)
				}
				began = time.Now()
				if e.wait(t.Context()); time.Since(began) != 0 {
					t.Error("waits for tasks that got nothing")
				}
				time.Sleep(time.Second) // the shards have said all
			})
		})
	}
}

func TestEasingEndsWithTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &easing{eased: make(chan struct{}, 1)}
		e.fed(&handle{}, 1000) // and no shard takes them
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		if e.wait(ctx); time.Since(began) != time.Millisecond {
			t.Errorf("waits %v", time.Since(began))
		}
	})
}
