// Package sim runs whole groups against the embedded broker in virtual time, attacks them as a seed says, and has the
// checker judge what happened. `go test ./internal/sim -seed N` replays one seed; the choice of faults, jobs and times
// follows from it alone (goroutines still interleave as they like, so a rare failure may need -count).
//
// The instances are the real consumer, producer and dead-letter client. What is simulated is the world: time, the network
// (cut, frozen, landing late), kills, brokers that refuse or move partitions, operators who rewind or lose offsets.
package sim
