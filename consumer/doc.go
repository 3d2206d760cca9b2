// Package consumer runs jobs: one Consumer is one instance of a group.
//
//	poller ──batches──▶ shard (owns tasks) ──entries──▶ pool ──outcomes──▶ shard ──copies, letters, segments──▶ broker
//	                      ▲                                                  │                    │
//	                      └───────────────── ticks, acks ────────────────────┴──frontiers──▶ commit manager
//
// Data flows one way. The poller never waits for work; a shard is one goroutine that owns the state machines of its tasks
// (consumer/internal/task) and carries out their effects; pools run handlers; everything a broker must answer is asked
// without blocking and comes back to the shard as another input. The rooms under internal/ know nothing of each other:
// task decides, pool runs, commit mirrors offsets, group deals tasks out.
//
// This package may be imported by programs, by jobtest, by console and by cmd; it imports none of them.
package consumer
