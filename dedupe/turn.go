package dedupe

// Turn is what long work takes for as long as it uses a processor, piece by piece: of all that share one, only as many as it has places
// work at a time, whoever waited longest next. Restores and the writing of a store on disk share one, so that they leave processors to
// jobs, and to the runtime's look at what the network has. Who waits for anything else, a broker or a disk, gives it back first.
// It is safe for concurrent use.
type Turn interface {
	// Take waits for a place. Only holders are waited for, which keep theirs for milliseconds.
	Take()
	// Give gives the place back.
	Give()
}
