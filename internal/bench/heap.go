package bench

import (
	"bytes"
	"context"
	"os"
	"runtime/metrics"
	"runtime/pprof"
	"time"
)

// heapWatch sees how much of a process is live, beside what the collector has not come to yet. One goroutine works it; wait
// for done before reading the rest.
type heapWatch struct {
	file string // for the heap profile at the peak; empty for none
	done chan struct{}

	live  uint64 // the most that a collection left, bytes
	fresh uint64 // the most that was in use at any time, garbage included
	err   error
	at    []byte // profile of the peak
}

// heapEvery is how often it looks.
const heapEvery = 20 * time.Millisecond

func watchHeap(ctx context.Context, file string) *heapWatch {
	h := &heapWatch{file: file, done: make(chan struct{})}
	go h.run(ctx)
	return h
}

func (h *heapWatch) run(ctx context.Context) {
	defer close(h.done)
	for look := (time.Duration(0)); ; look = heapEvery {
		if sleep(ctx, look); ctx.Err() != nil {
			break
		}
		h.look()
	}
	if h.file != "" && h.at != nil {
		h.err = os.WriteFile(h.file, h.at, 0o644)
	}
}

func (h *heapWatch) look() {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	h.fresh = max(h.fresh, s[1].Value.Uint64())
	live := s[0].Value.Uint64()
	if live <= h.live {
		return
	}
	known := h.live
	h.live = live
	if h.file == "" || live < known+known/20 { // a profile is of the last collection, as live is
		return
	}
	var b bytes.Buffer
	if h.err = pprof.Lookup("heap").WriteTo(&b, 0); h.err == nil {
		h.at = b.Bytes()
	}
}
