package consumer

import "runtime"

// turns is the dedupe.Turn that restores and the store on disk share. It has half as many places as there are processors: the others are
// left to jobs. With all of them busy, what a broker sends would be noticed only when the runtime looks after the network by itself, each
// ten milliseconds.
type turns chan struct{}

func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// Take implements dedupe.Turn. The runtime lets who was waited for run at once: first those that were ready before.
func (t turns) Take() {
	t <- struct{}{}
	runtime.Gosched()
}

// Give implements dedupe.Turn.
func (t turns) Give() { <-t }
