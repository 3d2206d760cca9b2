// Package job is the leaf of Waybill: what a job is, on the wire and in a handler's hands.
//
// It holds the typed Job[T] and the untyped Message a handler receives, the Policy of a kind, the errors by which a
// handler steers what happens next (RetryAfter, Snooze, Dead, Discard), the closed set of failure codes, the wire headers
// and the payload codecs, and the arithmetic of identity (who is this job, is that payload the same).
//
// Every other package may import job; job imports none of them and knows no Kafka client. Nothing here reads a clock,
// starts a goroutine or keeps state.
package job
