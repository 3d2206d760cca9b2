// Package task is the heart of Waybill: the state machine of one task, which is partition i of a job topic together with
// partition i of its retry tiers and of its receipt log.
//
// A Machine is pure. Its inputs are methods (records read, outcomes, acks, ticks, revocation), each given the time; its
// outputs gather in Effects, which the owning shard carries out and clears. It knows no Kafka, no goroutine, no clock and
// no randomness, so that a test can put every order of events to it and a failing order replays.
//
//	        Assign          Owned            ReadDone          Proved(true)
//	new ───────────▶ owning ──────▶ restoring ───────▶ proving ───────────▶ running
//	                   ▲                                                     │    │
//	                   │   a later ownership record found in a gap           │    │ Revoke
//	                   └─────────────────────────────────────────────────────┘    ▼
//	                                          Lost, Abandon              draining ──▶ gone
//
// The way of one record: admit (decode, window) → lane (the queue of its key) → decide (receipts, gates) → offered to a
// pool, with what may follow it (chain.go) → outcome → write (copy, letter or audit entry, awaited) → settle (receipt) → segment → ack → commit.
//
// Rules that hold at every step, by the numbers of the design: a frontier passes only what is settled in a segment that
// was acked (I1, I3); a source is settled only after the ack of what replaces it (I4); one lane runs one entry at a time,
// in the order of admission (I5); no stale record is offered (I6); nothing is released before it is due (I7); admitted =
// settled + held + set aside (I8); frontiers are claimed only under the newest epoch (I9). The first success of an AtLeastOnce kind has
// no receipt (I3): a segment only moves the frontier over it, and none runs further ahead of that than Limits.Reruns.
//
// What a hot key has beyond its share is set aside and read again later, see aside.go.
//
// Kinds that keep their order through retries are seen to in strict.go; a task without one pays nothing for it.
//
// How an ownership ends is in release.go, and what is done about one that did not end in order in suspect.go.
//
// Only package consumer may import it. It never blocks, never allocates per job beyond the entry itself, and never fails:
// what it cannot decide it holds, with a pause reason that says why.
package task
