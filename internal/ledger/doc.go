// Package ledger is the record of what a run did, written from outside the engine: by producers, by handlers, by the fake
// downstream and by whoever injects faults, in simulations, the demo and end-to-end runs. Package checker judges it
// against the topics afterwards.
//
// A ledger is an append-only log of events. On disk it is NDJSON, one event a line, and several processes may share one
// file: each line is one O_APPEND write. In memory it is a Recorder. Both are reached through Sink, so that a handler
// does not know which it writes to.
//
// What the order of two events proves: a handler records `called` before it does anything and `returned` after it has
// done everything, so two intervals that overlap in the ledger did overlap; intervals that do not overlap may still have
// been closer than they look.
//
// The package imports nothing of the engine and never interprets events: it neither decides what is right nor drops what
// it does not expect. It is for tests, tools and drivers; the engine never writes to a ledger.
package ledger
