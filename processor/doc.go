// Package processor is where handlers live: a Mux collects them, Compile checks them and makes an immutable Set, and a
// Processor runs one attempt, or one batch of them, and says how it ended.
//
// Users call NewMux, Handle and Register; the engine calls Compile, Lookup, Run, RunBatch and Serve. Nothing here knows
// Kafka, decides what becomes of a job, waits for a retry or keeps anything between two attempts.
//
// An attempt passes these layers, outermost first:
//
//	global middleware    Mux.Use, in the order given
//	middleware of kind   Kind.Use, in the order given
//	deadline             Policy.Timeout
//	recover              a panic becomes a *PanicError, with its stack
//	decode               content type, Kind.Upcast, Kind.Codec
//	handler              Kind.Handle or Kind.Batch
//
// So middleware sees panics, deadlines and undecodable payloads as errors, and its own time is not the handler's. A panic
// in middleware itself is recovered too, outside of everything.
//
// How an attempt ends, first match first:
//
//	not called            the attempt's context had already ended: VerdictCancelled; or the version is newer: VerdictDead
//	nil                   VerdictDone, also when the deadline has passed meanwhile
//	panic, Goexit         VerdictRetry, CodePanic
//	stopped               the caller's context ended and the error is that context's: VerdictCancelled, whatever it is wrapped in
//	job.Dead and others   what they say; job.RetryAfter past the deadline keeps its delay and has CodeDeadline
//	deadline              VerdictRetry, CodeDeadline
//	undecodable           VerdictDead, CodeDecode or CodeContentType
//	any other error       VerdictRetry, CodeHandlerError
//
// A handler that ignores its context is not torn from its goroutine: that is the business of whoever waits for it.
package processor
